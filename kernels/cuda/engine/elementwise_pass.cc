#include "kernels/cuda/engine/elementwise_pass.h"

#include <algorithm>
#include <utility>

#include "kernels/cuda/tiles/ceil_divide.h"

namespace mlpserve::cuda {
namespace {

// As elementwise.cuh has them.
constexpr int kThreads = 256;
constexpr int kColumnsAtOnce = 256;
constexpr int kRowsAtOnce = 8;
constexpr int kMostGridY = 65535;

}  // namespace

ElementwisePass::ElementwisePass(SharedKernel kernel, const GemmArgs& args)
    : kernel_(std::move(kernel)),
      args_(args),
      shape_{.grid_x = CeilDivide(args.n, kColumnsAtOnce), .threads = kThreads} {}

void ElementwisePass::SetRows(int32_t m) {
  args_.m = m;
  shape_.grid_y = std::min(CeilDivide(m, kRowsAtOnce), kMostGridY);
}

absl::Status ElementwisePass::Launch(const Stream& stream) {
  void* arguments[] = {&args_};
  return kernel_->Launch(shape_, arguments, stream);
}

}  // namespace mlpserve::cuda
