#include "server/transport/shared_tensors.h"

#include <utility>

#include "kernels/status/status_macros.h"

namespace mlpserve {
namespace {

absl::Status Find(const SharedRegions& regions, const SharedTensor& tensor, SharedRange& range) {
  if (!tensor.is_shared()) return absl::OkStatus();
  MLPSERVE_ASSIGN_OR_RETURN(range, regions.Find(tensor.region, tensor.offset, tensor.bytes));
  return absl::OkStatus();
}

}  // namespace

absl::Status SharedTensors::Open(const SharedRegions* regions, const SharedTensor& input,
                                 const SharedTensor& output) {
  if (regions == nullptr) return SharedMemoryIsOff();
  MLPSERVE_RETURN_IF_ERROR(Find(*regions, input, input_));
  return Find(*regions, output, output_);
}

void SharedTensors::Read(size_t offset, std::span<std::byte> to) {
  absl::Status status = input_.region->Read(input_.offset + offset, to);
  if (status.ok()) return;
  MutexLock lock(mutex_);
  failure_.Update(std::move(status));
  failed_.store(true, std::memory_order_relaxed);
}

absl::Status SharedTensors::Place(std::string_view input, std::string_view output,
                                  std::span<const OutputRows> rows) {
  if (failed_.load(std::memory_order_relaxed)) {
    MutexLock lock(mutex_);
    return OfRegion(input, failure_);
  }
  if (!has_output()) return absl::OkStatus();
  uint64_t at = output_.offset;
  for (const OutputRows& piece : rows) {
    MLPSERVE_RETURN_IF_ERROR(OfRegion(output, output_.region->Write(at, piece.bytes)));
    at += piece.bytes.size();
  }
  return absl::OkStatus();
}

void SharedTensors::Clear() {
  input_ = {};
  output_ = {};
  if (!failed_.exchange(false, std::memory_order_relaxed)) return;
  MutexLock lock(mutex_);
  failure_ = absl::OkStatus();
}

}  // namespace mlpserve
