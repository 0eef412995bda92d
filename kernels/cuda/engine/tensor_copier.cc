#include "kernels/cuda/engine/tensor_copier.h"

#include <algorithm>
#include <atomic>
#include <thread>
#include <utility>

#include "kernels/cuda/driver/status.h"
#include "kernels/status/status_macros.h"

namespace mlpserve::cuda {
namespace {

// Large enough for a copy's start not to count, small enough to stay in a core's caches.
constexpr int64_t kPieceBytes = int64_t{2} << 20;
// A core reads from the page cache at 5 to 10 GB/s, and PCIe takes some 50.
constexpr unsigned kMostCarriers = 8;

absl::Status CopyAtOnce(const Tensor& tensor, void* to) {
  std::vector<std::byte> bytes(static_cast<size_t>(tensor.bytes()));
  MLPSERVE_RETURN_IF_ERROR(tensor.ReadBytes(0, bytes));
  return CopyToDevice(to, bytes.data(), bytes.size());
}

}  // namespace

class TensorCopier::Work {
 public:
  Work(const Tensor& tensor, void* to) : tensor_(tensor), to_(static_cast<std::byte*>(to)) {}

  // The offset of a piece that nobody has taken, or -1.
  int64_t Take() {
    const int64_t offset = next_.fetch_add(kPieceBytes, std::memory_order_relaxed);
    return offset < tensor_.bytes() ? offset : -1;
  }
  // What is left need not be copied: one of the pieces could not be.
  void GiveUp() { next_.store(tensor_.bytes(), std::memory_order_relaxed); }

  absl::Status Copy(int64_t offset, std::byte* piece, const Stream& stream) const {
    const auto size = static_cast<size_t>(std::min(kPieceBytes, tensor_.bytes() - offset));
    MLPSERVE_RETURN_IF_ERROR(tensor_.ReadBytes(offset, {piece, size}));
    MLPSERVE_RETURN_IF_CUDA_ERROR(
        cudaMemcpyAsync(to_ + offset, piece, size, cudaMemcpyHostToDevice, stream.get()));
    return absl::OkStatus();
  }

 private:
  const Tensor& tensor_;
  std::byte* const to_;
  std::atomic<int64_t> next_ = 0;
};

absl::Status TensorCopier::AddCarriers() {
  const unsigned count = std::clamp(std::thread::hardware_concurrency(), 1U, kMostCarriers);
  while (carriers_.size() < count) {
    Carrier carrier;
    MLPSERVE_ASSIGN_OR_RETURN(carrier.pieces, PinnedMemory::Allocate(kPieces * kPieceBytes));
    MLPSERVE_ASSIGN_OR_RETURN(carrier.stream, Stream::Create());
    for (int i = 0; i < kPieces; ++i) {
      MLPSERVE_ASSIGN_OR_RETURN(Event event, Event::Create());
      carrier.travelled.push_back(std::move(event));
    }
    carriers_.push_back(std::move(carrier));
  }
  return absl::OkStatus();
}

absl::Status TensorCopier::Carry(const Carrier& carrier, Work& work) {
  size_t turn = 0;
  for (int64_t offset = work.Take(); offset >= 0; offset = work.Take()) {
    const Event& travelled = carrier.travelled[turn];
    MLPSERVE_RETURN_IF_CUDA_ERROR(cudaEventSynchronize(travelled.get()));
    std::byte* const piece = carrier.pieces.get() + static_cast<int64_t>(turn) * kPieceBytes;
    MLPSERVE_RETURN_IF_ERROR(work.Copy(offset, piece, carrier.stream));
    MLPSERVE_RETURN_IF_ERROR(travelled.Record(carrier.stream));
    turn = (turn + 1) % kPieces;
  }
  return carrier.stream.Synchronize();
}

absl::Status TensorCopier::Copy(const Tensor& tensor, void* to) {
  if (tensor.bytes() <= kPieceBytes) return CopyAtOnce(tensor, to);
  MLPSERVE_RETURN_IF_ERROR(AddCarriers());
  int device = 0;
  MLPSERVE_RETURN_IF_CUDA_ERROR(cudaGetDevice(&device));
  Work work(tensor, to);
  std::vector<absl::Status> statuses(carriers_.size());
  const auto carry = [&](size_t i) {
    statuses[i] = StatusOf(cudaSetDevice(device), "cudaSetDevice");
    if (statuses[i].ok()) statuses[i] = Carry(carriers_[i], work);
    if (!statuses[i].ok()) work.GiveUp();
  };
  {
    std::vector<std::jthread> helpers;
    for (size_t i = 1; i < carriers_.size(); ++i) helpers.emplace_back(carry, i);
    carry(0);
  }
  absl::Status first;
  for (const absl::Status& status : statuses) first.Update(status);
  return first;
}

}  // namespace mlpserve::cuda
