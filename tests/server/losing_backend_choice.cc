// Takes the place of server/backend_choice.cc in a program whose main is mlpserve's own: what it
// computes on is lost when a line on stdin says so. `--backend cuda` takes the GPU, on which a
// kernel then writes to address 0; anything else takes the fake, which holds requests until then.
//   lose    loses the device
//   stick   loses it, and nobody who waits for the backend to end comes back
#include <spdlog/spdlog.h>
#include <unistd.h>

#include <atomic>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include "kernels/status/status_macros.h"
#include "server/backend_choice.h"
#include "tests/server/engine/fake_backend.h"

#ifdef MLPSERVE_HAS_CUDA
#include "kernels/cuda/driver/device.h"
#include "kernels/cuda/driver/loaded_kernel.h"
#include "kernels/cuda/driver/stream.h"
#include "kernels/cuda/jit/nvrtc.h"
#include "server/engine/cuda_backend.h"
#endif

namespace mlpserve {
namespace {

std::atomic<bool> sticks{false};

// Another backend, whose end may never come.
class StickyBackend final : public Backend {
 public:
  explicit StickyBackend(std::unique_ptr<Backend> backend) : backend_(std::move(backend)) {}
  ~StickyBackend() override { sticks.wait(true); }

  std::string_view name() const override { return backend_->name(); }
  std::vector<std::string> devices() const override { return backend_->devices(); }
  absl::StatusOr<Placement> Prepare(const BlockSpec& block,
                                    const BatchingOptions& options) const override {
    return backend_->Prepare(block, options);
  }
  absl::StatusOr<std::unique_ptr<LoadedBlock>> Load(const BlockSpec& block,
                                                    const Placement& placement,
                                                    const LoadControl& control) override {
    return backend_->Load(block, placement, control);
  }

 private:
  const std::unique_ptr<Backend> backend_;
};

// On a thread that the end of the process ends. Not by way of std::cin: exit may wait for whoever
// reads from a stdio stream.
void LoseAtALine(std::function<void()> lose) {
  std::thread([lose = std::move(lose)] {
    char line[16];
    for (ssize_t bytes; (bytes = read(STDIN_FILENO, line, sizeof line)) > 0;) {
      sticks = std::string_view(line, static_cast<size_t>(bytes)) == "stick\n";
      lose();
    }
  }).detach();
}

std::unique_ptr<Backend> ChooseFake() {
  auto fake = std::make_unique<FakeBackend>(FakeBackend::Options{.mode = FakeMode::kHeld});
  LoseAtALine([raw = fake.get()] { raw->Lose(absl::UnavailableError("fell off the bus")); });
  return fake;
}

absl::StatusOr<std::unique_ptr<Backend>> ChooseGpu([[maybe_unused]] const Config& config) {
#ifdef MLPSERVE_HAS_CUDA
  MLPSERVE_ASSIGN_OR_RETURN(OpenedCudaBackend opened,
                            OpenCudaBackend({.cache_directory = config.kernel_cache}));
  const cuda::Device device = opened.devices.front();
  constexpr char kFault[] = "extern \"C\" __global__ void fault(int* word) { *word = 1; }";
  MLPSERVE_ASSIGN_OR_RETURN(const auto nvrtc, cuda::Nvrtc::Open());
  MLPSERVE_ASSIGN_OR_RETURN(
      const cuda::CompiledKernel compiled,
      nvrtc->Compile(kFault, "fault", {.arch = device.limits.arch, .kernel = "fault"}));
  MLPSERVE_ASSIGN_OR_RETURN(cuda::LoadedKernel loaded,
                            cuda::LoadedKernel::Load(compiled, "fault", 0));
  MLPSERVE_ASSIGN_OR_RETURN(cuda::Stream created, cuda::Stream::Create());
  const auto kernel = std::make_shared<const cuda::LoadedKernel>(std::move(loaded));
  const auto stream = std::make_shared<const cuda::Stream>(std::move(created));
  LoseAtALine([device, kernel, stream] {
    int* word = nullptr;
    void* arguments[] = {static_cast<void*>(&word)};
    absl::Status status = cuda::Use(device);
    status.Update(kernel->Launch({}, arguments, *stream));
    status.Update(stream->Synchronize());
    spdlog::info("the kernel that faults: {}", status.ToString());
  });
  return std::move(opened.backend);
#else
  return absl::UnavailableError("this program was built without CUDA");
#endif
}

}  // namespace

absl::StatusOr<ChosenBackend> ChooseBackend(const Config& config, const std::string&, Metrics&) {
  std::unique_ptr<Backend> backend;
  if (config.backend == BackendChoice::kCuda) {
    MLPSERVE_ASSIGN_OR_RETURN(backend, ChooseGpu(config));
  } else {
    backend = ChooseFake();
  }
  return ChosenBackend{.backend = std::make_unique<StickyBackend>(std::move(backend)),
                       .losses = {}};
}

}  // namespace mlpserve
