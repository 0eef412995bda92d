// What every kernel source builds on: fixed-width types and the number formats of Config, without
// any other header. First in a kernel's translation unit; host code may include it too.
#pragma once

#ifdef __CUDACC_RTC__
using int8_t = signed char;
using uint8_t = unsigned char;
using int16_t = short;
using uint16_t = unsigned short;
using int32_t = int;
using uint32_t = unsigned int;
using int64_t = long;
using uint64_t = unsigned long;
using size_t = unsigned long;
#else
#include <cstddef>
#include <cstdint>
#endif

namespace mlpserve::cuda {

// Formats of Config::kIn (kFp32 and kTf32 are both stored as float: a TF32 kernel rounds what it
// reads) and of Config::kOut (never kTf32).
enum class Type { kFp32, kTf32, kFp16, kBf16 };

// 16-bit floats by their bits: cuda_fp16.h and cuda_bf16.h would double the compile time.
struct Fp16 {
  uint16_t bits;
};
struct Bf16 {
  uint16_t bits;
};

template <Type>
struct StoredAs {
  using type = float;
};
template <>
struct StoredAs<Type::kFp16> {
  using type = Fp16;
};
template <>
struct StoredAs<Type::kBf16> {
  using type = Bf16;
};
template <Type type>
using Stored = typename StoredAs<type>::type;

}  // namespace mlpserve::cuda
