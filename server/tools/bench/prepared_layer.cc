#include "server/tools/bench/prepared_layer.h"

#include <algorithm>
#include <utility>

#include "kernels/cuda/driver/memory.h"
#include "kernels/spec/rounding.h"
#include "kernels/status/status_macros.h"
#include "server/tools/bench/cuda_device.h"
#include "server/tools/bench/in_turn.h"

namespace mlpserve::tools {

namespace {

constexpr size_t kGuardBytes = size_t{64} << 10;
constexpr int64_t kUploadedBytes = int64_t{64} << 20;  // of x, at a time
constexpr std::byte kPoison{0xFF};

}  // namespace

ProblemRows RowsOf(const Problem& p) {
  const auto stride = [&p](int64_t features) { return cuda::AlignedStride(features, p.stored()); };
  return {.x = {.buffer = cuda::Buffer::kInput,
                .features = p.k,
                .stride = stride(p.k + std::max<int64_t>(0, p.padding)),
                .type = p.stored()},
          .y = {.buffer = cuda::Buffer::kWireOutput,
                .features = p.n,
                .stride = p.padding < 0 ? stride(p.n) : p.n + p.padding,
                .type = p.stored()}};
}

cuda::RowsPlan PreparedLayer::Rows(cuda::Buffer buffer, int64_t features, int64_t stride) const {
  return {.buffer = buffer, .features = features, .stride = stride, .type = problem_.stored()};
}

cuda::LayerPlan PreparedLayer::Plan(const LayerSpec& layer, const cuda::RowsPlan& x,
                                    const cuda::RowsPlan& y) const {
  return cuda::PlanLayer(layer, {.x = x, .block_input = x_, .y = y},
                         {.compute = problem_.compute, .buckets = {problem_.m}}, store_.limits());
}

absl::Status PreparedLayer::AllocateY() {
  const auto bytes = static_cast<size_t>(y_.bytes(problem_.m));
  MLPSERVE_ASSIGN_OR_RETURN(y_memory_, cuda::DeviceMemory::Allocate(bytes + 2 * kGuardBytes));
  memory_.Borrow(y_.buffer, static_cast<std::byte*>(y_memory_.get()) + kGuardBytes, bytes);
  return absl::OkStatus();
}

// Fills the gaps between rows with NaN, so that a kernel which reads them is found out.
absl::Status PreparedLayer::UploadRows(std::span<const float> x) {
  const DataType type = problem_.stored();
  const size_t size = ByteSize(type);
  const size_t row_bytes = static_cast<size_t>(x_.stride) * size;
  const int64_t at_once = std::max<int64_t>(1, kUploadedBytes / static_cast<int64_t>(row_bytes));
  std::vector<std::byte> rows;
  for (int64_t first = 0; first < problem_.m; first += at_once) {
    const int64_t count = std::min(at_once, problem_.m - first);
    rows.assign(static_cast<size_t>(count) * row_bytes, kPoison);
    for (int64_t row = 0; row < count; ++row) {
      for (int64_t i = 0; i < problem_.k; ++i) {
        WriteElement(type, x[static_cast<size_t>((first + row) * problem_.k + i)],
                     &rows[static_cast<size_t>(row) * row_bytes + static_cast<size_t>(i) * size]);
      }
    }
    MLPSERVE_RETURN_IF_ERROR(cuda::CopyToDevice(
        static_cast<std::byte*>(memory_.at(x_)) + static_cast<size_t>(first) * row_bytes,
        rows.data(), rows.size()));
  }
  return absl::OkStatus();
}

absl::Status PreparedLayer::Upload(const LayerSpec& layer, std::span<const float> x) {
  const ProblemRows rows = RowsOf(problem_);
  x_ = rows.x;
  y_ = rows.y;
  cuda::BufferBytes bytes;
  bytes[x_.buffer] = x_.bytes(problem_.m);
  MLPSERVE_RETURN_IF_ERROR(Reserve(bytes));
  MLPSERVE_RETURN_IF_ERROR(AllocateY());
  MLPSERVE_RETURN_IF_ERROR(UploadRows(x));
  layer_ = Plan(layer, x_, y_);
  plain_ = layer_;
  plain_.epilogue = {};
  plain_.norms.clear();
  plain_.y = y_;
  const int copies = ColdCopies(static_cast<size_t>(problem_.weight_bytes()));
  for (int i = 0; i < copies; ++i) {
    MLPSERVE_ASSIGN_OR_RETURN(cuda::LayerData data,
                              cuda::UploadLayer(layer, layer_, store_, copier_, stream_));
    copies_.push_back(std::move(data));
  }
  return problem_.layers == 1 ? absl::OkStatus() : BuildChain(layer);
}

absl::Status PreparedLayer::BuildChain(const LayerSpec& layer) {
  const int64_t stride = cuda::AlignedStride(problem_.n, problem_.stored());
  cuda::RowsPlan from = x_;
  for (int i = 0; i < problem_.layers; ++i) {
    const auto buffer = i % 2 == 0 ? cuda::Buffer::kBetweenEven : cuda::Buffer::kBetweenOdd;
    const cuda::RowsPlan to = Rows(buffer, problem_.n, stride);
    cuda::BufferBytes bytes;
    bytes[buffer] = to.bytes(problem_.m);
    MLPSERVE_RETURN_IF_ERROR(Reserve(bytes));
    ChainLayer one{.plan = Plan(layer, from, to), .data = {}, .rows = to};
    MLPSERVE_ASSIGN_OR_RETURN(one.data,
                              cuda::UploadLayer(layer, one.plan, store_, copier_, stream_));
    chain_.push_back(std::move(one));
    from = to;
  }
  return absl::OkStatus();
}

void PreparedLayer::PoisonY() const { tools::Poison(y_memory_.get(), y_memory_.size()); }

void PreparedLayer::Poison(const cuda::RowsPlan& rows) const {
  tools::Poison(memory_.at(rows), static_cast<size_t>(rows.bytes(problem_.m)));
}

std::vector<std::byte> PreparedLayer::Download(const cuda::RowsPlan& from, int64_t rows,
                                               int64_t first, int64_t count) const {
  const size_t size = ByteSize(from.type);
  std::vector<std::byte> copied(static_cast<size_t>(rows * count) * size);
  CopyRowsToHost(
      copied.data(),
      static_cast<const std::byte*>(memory_.at(from)) + static_cast<size_t>(first) * size,
      static_cast<size_t>(from.stride) * size, static_cast<size_t>(count) * size,
      static_cast<size_t>(rows));
  return copied;
}

int64_t PreparedLayer::CountTrespasses() const {
  const auto* memory = static_cast<const std::byte*>(y_memory_.get());
  const auto count = [](const std::vector<std::byte>& bytes) {
    return std::ranges::count_if(bytes, [](std::byte b) { return b != kPoison; });
  };
  std::vector<std::byte> guard(kGuardBytes);
  CopyToHost(guard.data(), memory, kGuardBytes);
  int64_t trespasses = count(guard);
  CopyToHost(guard.data(), memory + y_memory_.size() - kGuardBytes, kGuardBytes);
  trespasses += count(guard);
  const int64_t used = std::min(y_.stride, cuda::AlignedStride(problem_.n, y_.type));
  return trespasses + count(Download(y_, problem_.m, used, y_.stride - used));
}

}  // namespace mlpserve::tools
