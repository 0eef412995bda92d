// Tensors brought to a GPU's memory: sizes round the pieces, one copier for many, a source that
// fails midway. Skips itself without a GPU.
#include <cuda_runtime.h>
#include <gtest/gtest.h>

#include <cstring>
#include <memory>
#include <vector>

#include "kernels/cuda/driver/device.h"
#include "kernels/cuda/engine/tensor_copier.h"

namespace mlpserve::cuda {
namespace {

constexpr int64_t kMiB = int64_t{1} << 20;

// The byte at an offset of a source.
std::byte ByteAt(int64_t offset) { return static_cast<std::byte>((offset * 2654435761U) >> 13U); }

class Source final : public TensorSource {
 public:
  // Reading at `fails_at` or beyond fails; -1: nothing does.
  explicit Source(int64_t fails_at = -1) : fails_at_(fails_at) {}

  absl::Status Read(int64_t offset, std::span<std::byte> to) const override {
    const auto end = offset + static_cast<int64_t>(to.size());
    if (fails_at_ >= 0 && end > fails_at_) return absl::UnavailableError("the disk is gone");
    for (std::byte& byte : to) byte = ByteAt(offset++);
    return absl::OkStatus();
  }

 private:
  const int64_t fails_at_;
};

class TensorCopierTest : public testing::Test {
 protected:
  void SetUp() override {
    const auto devices = FindDevices();
    if (!devices.ok()) GTEST_SKIP() << devices.status();
    ASSERT_TRUE(Use(devices->front()).ok());
  }

  // `size` is even.
  static Tensor Bytes(int64_t size, int64_t fails_at = -1) {
    return {DataType::kFp16, size / 2, std::make_shared<Source>(fails_at)};
  }

  TensorCopier copier_;
};

TEST_F(TensorCopierTest, EveryByteArrivesAndNoneBeyond) {
  for (const int64_t size : {int64_t{2}, int64_t{4098}, 2 * kMiB - 2, 2 * kMiB, 2 * kMiB + 2,
                             33 * kMiB + 6, 64 * kMiB, int64_t{6}}) {
    auto memory = DeviceMemory::Allocate(static_cast<size_t>(size + 1));
    ASSERT_TRUE(memory.ok()) << memory.status();
    const absl::Status status = copier_.Copy(Bytes(size), memory->get());
    ASSERT_TRUE(status.ok()) << status;
    std::vector<std::byte> copied(static_cast<size_t>(size + 1));
    ASSERT_EQ(cudaMemcpy(copied.data(), memory->get(), copied.size(), cudaMemcpyDeviceToHost),
              cudaSuccess);
    int64_t wrong = 0;
    for (int64_t i = 0; i < size; ++i) wrong += copied[static_cast<size_t>(i)] != ByteAt(i);
    EXPECT_EQ(wrong, 0) << size << " bytes";
    EXPECT_EQ(copied.back(), std::byte{0}) << size << " bytes";
  }
}

TEST_F(TensorCopierTest, AReadThatFailsIsTheAnswerAndTheNextCopyWorks) {
  auto memory = DeviceMemory::Allocate(static_cast<size_t>(40 * kMiB));
  ASSERT_TRUE(memory.ok()) << memory.status();
  for (const int64_t fails_at : {int64_t{0}, 17 * kMiB, 40 * kMiB - 1}) {
    EXPECT_EQ(copier_.Copy(Bytes(40 * kMiB, fails_at), memory->get()),
              absl::UnavailableError("the disk is gone"));
    EXPECT_TRUE(copier_.Copy(Bytes(40 * kMiB), memory->get()).ok());
  }
}

}  // namespace
}  // namespace mlpserve::cuda
