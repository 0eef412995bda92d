#include "tests/kernels/cuda/fake/fake_state.h"

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <utility>

#include "kernels/cuda/device/gemm_args.cuh"
#include "kernels/cuda/device/rows/host_rows_args.cuh"

namespace mlpserve::cuda::fake {
namespace {

void Product(const GemmArgs& args) {
  const auto* x = static_cast<const float*>(args.x);
  const auto* w = static_cast<const float*>(args.w);
  auto* y = static_cast<float*>(args.y);
  for (int64_t row = 0; row < args.m; ++row) {
    for (int64_t column = 0; column < args.n; ++column) {
      float sum = 0;
      for (int64_t i = 0; i < args.k; ++i) {
        sum += x[row * args.x_stride + i] * w[column * args.w_stride + i];
      }
      y[row * args.y_stride + column] = sum;
    }
  }
}

void Copy(const GemmArgs& args) {
  const auto* x = static_cast<const float*>(args.x);
  auto* y = static_cast<float*>(args.y);
  for (int64_t row = 0; row < args.m; ++row) {
    std::copy_n(x + row * args.x_stride, args.n, y + row * args.y_stride);
  }
}

void MoveRows(const void* from, void* to, int64_t bytes) {
  if (bytes > 0) std::memcpy(to, from, static_cast<size_t>(bytes));
}

void CountedProduct(const GemmArgs& args) {
  State& state = Global();
  {
    std::unique_lock lock(state.mutex);
    ++state.calls.products;
    state.calls.product_rows += args.m;
    state.calls.most_at_once = std::max(state.calls.most_at_once, ++state.products_at_once);
    state.changed.wait(lock, [&] { return !state.holds || state.lost != cudaSuccess; });
    --state.products_at_once;
    if (state.lost != cudaSuccess) return;
  }
  Product(args);
}

[[noreturn]] void Stop(const char* what) {
  std::fprintf(stderr, "fake CUDA runtime: %s\n", what);
  std::abort();
}

}  // namespace

State& Global() {
  static State state;
  return state;
}

FakeStream::FakeStream() : thread_(&FakeStream::Run, this) {}

FakeStream::~FakeStream() {
  {
    const std::lock_guard lock(mutex_);
    stop_ = true;
    changed_.notify_all();
  }
  thread_.join();
}

void FakeStream::Put(Work work) {
  if (captured_ != nullptr) {
    captured_->push_back(std::move(work));
    return;
  }
  const std::lock_guard lock(mutex_);
  work_.push_back(std::move(work));
  changed_.notify_all();
}

void FakeStream::Wait() {
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [this] { return work_.empty() && !busy_; });
}

void FakeStream::Run() {
  std::unique_lock lock(mutex_);
  for (;;) {
    changed_.wait(lock, [this] { return stop_ || !work_.empty(); });
    if (work_.empty()) return;
    const Work work = std::move(work_.front());
    work_.pop_front();
    busy_ = true;
    lock.unlock();
    if (!IsLost()) work();
    lock.lock();
    busy_ = false;
    changed_.notify_all();
  }
}

cudaError_t Fault(const char* function) {
  State& state = Global();
  const std::lock_guard lock(state.mutex);
  if (state.lost != cudaSuccess) return state.lost;
  const auto found = state.faults.find(function);
  if (found == state.faults.end() || found->second.first-- > 0) return cudaSuccess;
  const cudaError_t error = found->second.second;
  state.faults.erase(found);
  return error;
}

bool IsLost() {
  State& state = Global();
  const std::lock_guard lock(state.mutex);
  return state.lost != cudaSuccess;
}

Work KernelWork(const std::string& kernel, void** arguments) {
  if (kernel == "mlpserve_fetch_rows") {
    return [args = *static_cast<const HostRowsArgs*>(arguments[0])] {
      MoveRows(args.batch->input, args.input, args.batch->input_bytes);
    };
  }
  if (kernel == "mlpserve_send_rows") {
    return [args = *static_cast<const HostRowsArgs*>(arguments[0])] {
      MoveRows(args.output, args.batch->output, args.batch->output_bytes);
    };
  }
  const GemmArgs args = *static_cast<const GemmArgs*>(arguments[0]);
  if (kernel == "mlpserve_gemm") return [args] { CountedProduct(args); };
  if (kernel == "mlpserve_elementwise") return [args] { Copy(args); };
  Stop("expected a product, a pass value by value, or a move of rows");
}

void Reset(const Options& options) {
  State& state = Global();
  const std::lock_guard lock(state.mutex);
  if (!state.counts.nothing()) Stop("expected everything to be freed before Reset");
  state.options = options;
  state.calls = {};
  state.faults.clear();
  state.lost = cudaSuccess;
  state.holds = false;
}

void FailCall(const std::string& function, cudaError_t error, int calls) {
  State& state = Global();
  const std::lock_guard lock(state.mutex);
  state.faults[function] = {calls, error};
}

void Lose(cudaError_t error) {
  State& state = Global();
  const std::lock_guard lock(state.mutex);
  state.lost = error;
  state.changed.notify_all();
}

void HoldProducts(bool hold) {
  State& state = Global();
  const std::lock_guard lock(state.mutex);
  state.holds = hold;
  state.changed.notify_all();
}

Counts CountAll() {
  State& state = Global();
  const std::lock_guard lock(state.mutex);
  return state.counts;
}

Calls CountCalls() {
  State& state = Global();
  const std::lock_guard lock(state.mutex);
  return state.calls;
}

}  // namespace mlpserve::cuda::fake
