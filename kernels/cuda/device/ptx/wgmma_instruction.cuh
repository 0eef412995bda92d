// wgmma: one warpgroup multiplies a 64-row tile of a by an n-row tile of b, both in shared memory
// as rows of 128 bytes of k with 128-byte swizzle (what a tensor copy with a box of 128 bytes
// leaves), into FP32 registers. sm_90a only.
//
// Accumulators (PTX ISA, wgmma D fragment): thread t of the warpgroup, with lane = t % 32, holds in
//   d[4 * i + 0, 1]  row 16 * (t / 32) + lane / 4,     columns 8 * i + 2 * (lane % 4) + {0, 1}
//   d[4 * i + 2, 3]  row 16 * (t / 32) + lane / 4 + 8, the same columns
#pragma once

#include "kernels/cuda/device/prelude.cuh"
#include "kernels/cuda/device/ptx/checks.cuh"

namespace mlpserve::cuda {

// A tile's slot must begin at a multiple of 1024 bytes; `bytes` along k inside the 128-byte row.
__device__ __forceinline__ uint64_t MatrixDescriptor(uint32_t slot, int bytes = 0) {
  RequireAligned(slot, 1024);
  constexpr uint64_t kSwizzle128 = 1ull << 62;
  constexpr uint64_t kEightRows = 1024 >> 4;  // from one group of eight rows to the next
  return kSwizzle128 | kEightRows << 32 | 1ull << 16 | ((slot + bytes) & 0x3FFFF) >> 4;
}

__device__ __forceinline__ void BeginWgmma() {
  asm volatile("wgmma.fence.sync.aligned;" ::: "memory");
}

__device__ __forceinline__ void CommitWgmma() {
  asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory");
}

// Returns when all but the latest `pending` committed groups are complete.
template <int pending>
__device__ __forceinline__ void WaitWgmma() {
  Pause();
  asm volatile("wgmma.wait_group.sync.aligned %0;" ::"n"(pending) : "memory");
}

// Keeps the compiler from reading accumulators before the wait above it in the source.
template <int count>
__device__ __forceinline__ void FenceAccumulators(float (&d)[count]) {
#pragma unroll
  for (int i = 0; i < count; i++) asm volatile("" : "+f"(d[i])::"memory");
}

template <Type type, int n>
struct Wgmma {
  static_assert(n < 0, "no wgmma of this type and number of columns: add it below");
};

// Lists of n / 2 registers, as text of the instruction and as operands.
#define MLP_TEN(t) \
  "%" #t "0,%" #t "1,%" #t "2,%" #t "3,%" #t "4,%" #t "5,%" #t "6,%" #t "7,%" #t "8,%" #t "9,"
#define MLP_TEXT_4 "%0,%1,%2,%3"
#define MLP_TEXT_8 MLP_TEXT_4 ",%4,%5,%6,%7"
#define MLP_TEXT_16 MLP_TEXT_8 ",%8,%9,%10,%11,%12,%13,%14,%15"
#define MLP_TEXT_32 MLP_TEXT_8 ",%8,%9," MLP_TEN(1) MLP_TEN(2) "%30,%31"
#define MLP_TEXT_64 \
  MLP_TEXT_8 ",%8,%9," MLP_TEN(1) MLP_TEN(2) MLP_TEN(3) MLP_TEN(4) MLP_TEN(5) "%60,%61,%62,%63"
#define MLP_TEXT_96                                                                      \
  MLP_TEXT_8 ",%8,%9," MLP_TEN(1) MLP_TEN(2) MLP_TEN(3) MLP_TEN(4) MLP_TEN(5) MLP_TEN(6) \
      MLP_TEN(7) MLP_TEN(8) "%90,%91,%92,%93,%94,%95"
#define MLP_TEXT_128                                                                     \
  MLP_TEXT_8 ",%8,%9," MLP_TEN(1) MLP_TEN(2) MLP_TEN(3) MLP_TEN(4) MLP_TEN(5) MLP_TEN(6) \
      MLP_TEN(7) MLP_TEN(8) MLP_TEN(9) MLP_TEN(10)                                       \
          MLP_TEN(11) "%120,%121,%122,%123,%124,%125,%126,%127"
#define MLP_D4(i) "+f"(d[i]), "+f"(d[i + 1]), "+f"(d[i + 2]), "+f"(d[i + 3])
#define MLP_D8(i) MLP_D4(i), MLP_D4(i + 4)
#define MLP_D16(i) MLP_D8(i), MLP_D8(i + 8)
#define MLP_D32(i) MLP_D16(i), MLP_D16(i + 16)
#define MLP_D64(i) MLP_D32(i), MLP_D32(i + 32)
#define MLP_OPERANDS_4 MLP_D4(0)
#define MLP_OPERANDS_8 MLP_D8(0)
#define MLP_OPERANDS_16 MLP_D16(0)
#define MLP_OPERANDS_32 MLP_D32(0)
#define MLP_OPERANDS_64 MLP_D64(0)
#define MLP_OPERANDS_96 MLP_D64(0), MLP_D32(64)
#define MLP_OPERANDS_128 MLP_D64(0), MLP_D64(64)

// Run(d, a, b, accumulate): d = a·bᵀ over 32 bytes of k, plus d where `accumulate`.
#define MLP_WGMMA(TYPE, FORMAT, K, TRANSPOSE, N, COUNT, A, B, P)                           \
  template <>                                                                              \
  struct Wgmma<TYPE, N> {                                                                  \
    static __device__ __forceinline__ void Run(float (&d)[COUNT], uint64_t a, uint64_t b,  \
                                               int accumulate) {                           \
      asm volatile("{\n.reg .pred p;\nsetp.ne.b32 p, %" #P                                 \
                   ", 0;\n"                                                                \
                   "wgmma.mma_async.sync.aligned.m64n" #N "k" #K ".f32." FORMAT "." FORMAT \
                   " {" MLP_TEXT_##COUNT "}, %" #A ", %" #B ", p, 1, 1" TRANSPOSE ";\n}"   \
                   : MLP_OPERANDS_##COUNT                                                  \
                   : "l"(a), "l"(b), "r"(accumulate));                                     \
    }                                                                                      \
  };

#define MLP_WGMMA_ALL(TYPE, FORMAT, K, TRANSPOSE)            \
  MLP_WGMMA(TYPE, FORMAT, K, TRANSPOSE, 8, 4, 4, 5, 6)       \
  MLP_WGMMA(TYPE, FORMAT, K, TRANSPOSE, 16, 8, 8, 9, 10)     \
  MLP_WGMMA(TYPE, FORMAT, K, TRANSPOSE, 32, 16, 16, 17, 18)  \
  MLP_WGMMA(TYPE, FORMAT, K, TRANSPOSE, 64, 32, 32, 33, 34)  \
  MLP_WGMMA(TYPE, FORMAT, K, TRANSPOSE, 128, 64, 64, 65, 66) \
  MLP_WGMMA(TYPE, FORMAT, K, TRANSPOSE, 192, 96, 96, 97, 98) \
  MLP_WGMMA(TYPE, FORMAT, K, TRANSPOSE, 256, 128, 128, 129, 130)

MLP_WGMMA_ALL(Type::kBf16, "bf16", 16, ", 0, 0")
MLP_WGMMA_ALL(Type::kFp16, "f16", 16, ", 0, 0")
MLP_WGMMA_ALL(Type::kTf32, "tf32", 8, "")

#undef MLP_WGMMA_ALL
#undef MLP_WGMMA
#undef MLP_OPERANDS_128
#undef MLP_OPERANDS_96
#undef MLP_OPERANDS_64
#undef MLP_OPERANDS_32
#undef MLP_OPERANDS_16
#undef MLP_OPERANDS_8
#undef MLP_OPERANDS_4
#undef MLP_D64
#undef MLP_D32
#undef MLP_D16
#undef MLP_D8
#undef MLP_D4
#undef MLP_TEXT_128
#undef MLP_TEXT_96
#undef MLP_TEXT_64
#undef MLP_TEXT_32
#undef MLP_TEXT_16
#undef MLP_TEXT_8
#undef MLP_TEXT_4
#undef MLP_TEN

}  // namespace mlpserve::cuda
