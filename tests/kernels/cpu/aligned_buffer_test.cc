#include "kernels/cpu/aligned_buffer.h"

#include <algorithm>
#include <cstdint>

#include "gtest/gtest.h"

namespace mlpserve::cpu {
namespace {

TEST(AlignedBufferTest, StartsAtACacheLineAndIsZeroedWhateverItsSize) {
  for (int64_t size : {0, 1, 15, 16, 17, 1000, (2 << 20) / 4 - 1, (2 << 20) / 4, 3 << 20}) {
    AlignedBuffer<float> buffer(size);
    EXPECT_EQ(buffer.size(), size);
    EXPECT_EQ(reinterpret_cast<uintptr_t>(buffer.get()) % 64, 0u) << size;
    EXPECT_TRUE(std::all_of(buffer.get(), buffer.get() + size, [](float v) { return v == 0; }));
    std::fill_n(buffer.get(), size, 1.0f);
  }
}

}  // namespace
}  // namespace mlpserve::cpu
