// kernel_sheet: writes the static sheet of the RTX 4090 and the plans to measure one with. Needs
// NVRTC and nvdisasm, and no GPU.
//
//   kernel_sheet [ROOT [NVDISASM]]      ROOT: the checkout (default: here)
#include <algorithm>
#include <cstdio>
#include <fstream>
#include <sstream>
#include <string>
#include <thread>

#include "kernels/cuda/sheet/compiled_space.h"
#include "kernels/cuda/sheet/measuring_plan.h"
#include "kernels/cuda/sheet/sheet.h"
#include "kernels/cuda/sheet/suite_shapes.h"

namespace mlpserve::cuda {
namespace {

bool Write(const std::string& path, const std::string& text) {
  std::ofstream file(path, std::ios::binary);
  file << text;
  file.close();
  std::printf("%s %s\n", file.good() ? "wrote" : "cannot write", path.c_str());
  return file.good();
}

int Run(const std::string& root, const std::string& disassembler) {
  std::ostringstream suite;
  suite << std::ifstream(root + "/" + kSuitePlanPath, std::ios::binary).rdbuf();
  const auto nvrtc = Nvrtc::Open();
  if (!nvrtc.ok()) {
    std::fprintf(stderr, "kernel_sheet: %s\n", nvrtc.status().ToString().c_str());
    return 1;
  }
  const int threads = static_cast<int>(std::max(1u, std::thread::hardware_concurrency()));
  const auto sheet = Sheet(CompileSpace(**nvrtc, {Rtx4090()}, threads), disassembler,
                           (*nvrtc)->version(), suite.str());
  if (!sheet.ok()) {
    std::fprintf(stderr, "kernel_sheet: %s\n", sheet.status().ToString().c_str());
    return 1;
  }
  const bool written = Write(root + "/" + kSheetPath, *sheet) &&
                       Write(root + "/" + kTimingPlanPath, TimingPlan()) &&
                       Write(root + "/" + kCheckPlanPath, CheckPlan());
  return written ? 0 : 1;
}

}  // namespace
}  // namespace mlpserve::cuda

int main(int argc, char** argv) {
  if (argc > 3 || (argc > 1 && argv[1][0] == '-')) {
    std::fprintf(stderr, "usage: kernel_sheet [ROOT [NVDISASM]]\n");
    return 2;
  }
  return mlpserve::cuda::Run(argc > 1 ? argv[1] : ".", argc > 2 ? argv[2] : MLPSERVE_NVDISASM);
}
