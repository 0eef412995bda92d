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
  static_assert(n < 0, "expected 8 columns or a multiple of 16 up to 256, of a type listed below");
};

// Lists of n / 2 registers, as text of the instruction and as operands.
#define MLP_TEXT_4 "%0,%1,%2,%3"
#define MLP_TEXT_8 MLP_TEXT_4 ",%4,%5,%6,%7"
#define MLP_TEXT_16 MLP_TEXT_8 ",%8,%9,%10,%11,%12,%13,%14,%15"
#define MLP_TEXT_24 MLP_TEXT_16 ",%16,%17,%18,%19,%20,%21,%22,%23"
#define MLP_TEXT_32 MLP_TEXT_24 ",%24,%25,%26,%27,%28,%29,%30,%31"
#define MLP_TEXT_40 MLP_TEXT_32 ",%32,%33,%34,%35,%36,%37,%38,%39"
#define MLP_TEXT_48 MLP_TEXT_40 ",%40,%41,%42,%43,%44,%45,%46,%47"
#define MLP_TEXT_56 MLP_TEXT_48 ",%48,%49,%50,%51,%52,%53,%54,%55"
#define MLP_TEXT_64 MLP_TEXT_56 ",%56,%57,%58,%59,%60,%61,%62,%63"
#define MLP_TEXT_72 MLP_TEXT_64 ",%64,%65,%66,%67,%68,%69,%70,%71"
#define MLP_TEXT_80 MLP_TEXT_72 ",%72,%73,%74,%75,%76,%77,%78,%79"
#define MLP_TEXT_88 MLP_TEXT_80 ",%80,%81,%82,%83,%84,%85,%86,%87"
#define MLP_TEXT_96 MLP_TEXT_88 ",%88,%89,%90,%91,%92,%93,%94,%95"
#define MLP_TEXT_104 MLP_TEXT_96 ",%96,%97,%98,%99,%100,%101,%102,%103"
#define MLP_TEXT_112 MLP_TEXT_104 ",%104,%105,%106,%107,%108,%109,%110,%111"
#define MLP_TEXT_120 MLP_TEXT_112 ",%112,%113,%114,%115,%116,%117,%118,%119"
#define MLP_TEXT_128 MLP_TEXT_120 ",%120,%121,%122,%123,%124,%125,%126,%127"
#define MLP_D4(i) "+f"(d[i]), "+f"(d[i + 1]), "+f"(d[i + 2]), "+f"(d[i + 3])
#define MLP_D8(i) MLP_D4(i), MLP_D4(i + 4)
#define MLP_OPERANDS_4 MLP_D4(0)
#define MLP_OPERANDS_8 MLP_OPERANDS_4, MLP_D4(4)
#define MLP_OPERANDS_16 MLP_OPERANDS_8, MLP_D8(8)
#define MLP_OPERANDS_24 MLP_OPERANDS_16, MLP_D8(16)
#define MLP_OPERANDS_32 MLP_OPERANDS_24, MLP_D8(24)
#define MLP_OPERANDS_40 MLP_OPERANDS_32, MLP_D8(32)
#define MLP_OPERANDS_48 MLP_OPERANDS_40, MLP_D8(40)
#define MLP_OPERANDS_56 MLP_OPERANDS_48, MLP_D8(48)
#define MLP_OPERANDS_64 MLP_OPERANDS_56, MLP_D8(56)
#define MLP_OPERANDS_72 MLP_OPERANDS_64, MLP_D8(64)
#define MLP_OPERANDS_80 MLP_OPERANDS_72, MLP_D8(72)
#define MLP_OPERANDS_88 MLP_OPERANDS_80, MLP_D8(80)
#define MLP_OPERANDS_96 MLP_OPERANDS_88, MLP_D8(88)
#define MLP_OPERANDS_104 MLP_OPERANDS_96, MLP_D8(96)
#define MLP_OPERANDS_112 MLP_OPERANDS_104, MLP_D8(104)
#define MLP_OPERANDS_120 MLP_OPERANDS_112, MLP_D8(112)
#define MLP_OPERANDS_128 MLP_OPERANDS_120, MLP_D8(120)

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

#define MLP_WGMMA_ALL(TYPE, FORMAT, K, TRANSPOSE)                \
  MLP_WGMMA(TYPE, FORMAT, K, TRANSPOSE, 8, 4, 4, 5, 6)           \
  MLP_WGMMA(TYPE, FORMAT, K, TRANSPOSE, 16, 8, 8, 9, 10)         \
  MLP_WGMMA(TYPE, FORMAT, K, TRANSPOSE, 32, 16, 16, 17, 18)      \
  MLP_WGMMA(TYPE, FORMAT, K, TRANSPOSE, 48, 24, 24, 25, 26)      \
  MLP_WGMMA(TYPE, FORMAT, K, TRANSPOSE, 64, 32, 32, 33, 34)      \
  MLP_WGMMA(TYPE, FORMAT, K, TRANSPOSE, 80, 40, 40, 41, 42)      \
  MLP_WGMMA(TYPE, FORMAT, K, TRANSPOSE, 96, 48, 48, 49, 50)      \
  MLP_WGMMA(TYPE, FORMAT, K, TRANSPOSE, 112, 56, 56, 57, 58)     \
  MLP_WGMMA(TYPE, FORMAT, K, TRANSPOSE, 128, 64, 64, 65, 66)     \
  MLP_WGMMA(TYPE, FORMAT, K, TRANSPOSE, 144, 72, 72, 73, 74)     \
  MLP_WGMMA(TYPE, FORMAT, K, TRANSPOSE, 160, 80, 80, 81, 82)     \
  MLP_WGMMA(TYPE, FORMAT, K, TRANSPOSE, 176, 88, 88, 89, 90)     \
  MLP_WGMMA(TYPE, FORMAT, K, TRANSPOSE, 192, 96, 96, 97, 98)     \
  MLP_WGMMA(TYPE, FORMAT, K, TRANSPOSE, 208, 104, 104, 105, 106) \
  MLP_WGMMA(TYPE, FORMAT, K, TRANSPOSE, 224, 112, 112, 113, 114) \
  MLP_WGMMA(TYPE, FORMAT, K, TRANSPOSE, 240, 120, 120, 121, 122) \
  MLP_WGMMA(TYPE, FORMAT, K, TRANSPOSE, 256, 128, 128, 129, 130)

MLP_WGMMA_ALL(Type::kBf16, "bf16", 16, ", 0, 0")
MLP_WGMMA_ALL(Type::kFp16, "f16", 16, ", 0, 0")
MLP_WGMMA_ALL(Type::kTf32, "tf32", 8, "")

#undef MLP_WGMMA_ALL
#undef MLP_WGMMA
#undef MLP_OPERANDS_128
#undef MLP_OPERANDS_120
#undef MLP_OPERANDS_112
#undef MLP_OPERANDS_104
#undef MLP_OPERANDS_96
#undef MLP_OPERANDS_88
#undef MLP_OPERANDS_80
#undef MLP_OPERANDS_72
#undef MLP_OPERANDS_64
#undef MLP_OPERANDS_56
#undef MLP_OPERANDS_48
#undef MLP_OPERANDS_40
#undef MLP_OPERANDS_32
#undef MLP_OPERANDS_24
#undef MLP_OPERANDS_16
#undef MLP_OPERANDS_8
#undef MLP_OPERANDS_4
#undef MLP_D8
#undef MLP_D4
#undef MLP_TEXT_128
#undef MLP_TEXT_120
#undef MLP_TEXT_112
#undef MLP_TEXT_104
#undef MLP_TEXT_96
#undef MLP_TEXT_88
#undef MLP_TEXT_80
#undef MLP_TEXT_72
#undef MLP_TEXT_64
#undef MLP_TEXT_56
#undef MLP_TEXT_48
#undef MLP_TEXT_40
#undef MLP_TEXT_32
#undef MLP_TEXT_24
#undef MLP_TEXT_16
#undef MLP_TEXT_8
#undef MLP_TEXT_4

}  // namespace mlpserve::cuda
