#include "kernels/cpu/convert.h"

#include <cstring>

#include "kernels/spec/rounding.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/convert.cc"
#include "hwy/foreach_target.h"  // compiles the rest of this file once for each instruction set
#include "hwy/highway.h"

HWY_BEFORE_NAMESPACE();
namespace mlpserve::cpu {
namespace HWY_NAMESPACE {

namespace hn = hwy::HWY_NAMESPACE;

using Float = hn::ScalableTag<float>;
using Bits = hn::RebindToUnsigned<Float>;
using Half = hn::Rebind<hwy::float16_t, Float>;
using Vector = hn::Vec<Float>;

constexpr int64_t kLanes = HWY_LANES(float);
// As RoundSignificand.
template <int kDropped>
HWY_INLINE Vector RoundBits(Vector value) {
  const Bits u;
  const auto bits = hn::BitCast(u, value);
  const auto mask = hn::Set(u, (uint32_t{1} << kDropped) - 1);
  const auto odd = hn::And(hn::ShiftRight<kDropped>(bits), hn::Set(u, 1));
  const auto half = hn::Set(u, (uint32_t{1} << (kDropped - 1)) - 1);
  const auto rounded = hn::AndNot(mask, hn::Add(hn::Add(bits, half), odd));
  return hn::IfThenElse(hn::IsNaN(value), value, hn::BitCast(Float(), rounded));
}

// Below 2^-14 the last bit is worth 2^-24, which is what adding and subtracting 1/2 rounds to.
HWY_INLINE Vector RoundFp16(Vector value) {
  const Float f;
  const Vector magnitude = hn::Abs(value);
  const Vector half = hn::Set(f, 0.5f);
  const Vector subnormal = hn::Sub(hn::Add(magnitude, half), half);
  const Vector normal = hn::IfThenElse(hn::Ge(magnitude, hn::Set(f, 65520.0f)),
                                       hn::Add(magnitude, hn::Inf(f)), RoundBits<13>(magnitude));
  const auto is_subnormal = hn::Lt(magnitude, hn::Set(f, 0x1p-14f));
  return hn::CopySign(hn::IfThenElse(is_subnormal, subnormal, normal), value);
}

template <typename F>
HWY_INLINE void ForEach(const float* from, int64_t from_stride, int64_t rows, int64_t columns,
                        float* to, int64_t to_stride, F f) {
  for (int64_t row = 0; row < rows; ++row) {
    for (int64_t c = 0; c < columns; c += kLanes) {
      const Vector value = hn::LoadU(Float(), from + row * from_stride + c);
      hn::StoreU(f(value), Float(), to + row * to_stride + c);
    }
  }
}

void RoundRows(ComputeType type, const float* from, int64_t from_stride, int64_t rows,
               int64_t columns, float* to, int64_t to_stride) {
  const auto run = [&](auto f) { ForEach(from, from_stride, rows, columns, to, to_stride, f); };
  switch (type) {
    case ComputeType::kFp32:
      return run([](Vector v) HWY_ATTR { return v; });
    case ComputeType::kTf32:
      return run([](Vector v) HWY_ATTR { return RoundBits<13>(v); });
    case ComputeType::kFp16:
      return run([](Vector v) HWY_ATTR { return RoundFp16(v); });
    case ComputeType::kBf16:
      return run([](Vector v) HWY_ATTR { return RoundBits<16>(v); });
  }
}

// The processor's conversions, from AVX2 on; Highway's emulations of them for older instruction
// sets are not exact. Returns how many elements were converted: the caller does the rest.
#if HWY_ARCH_X86 && HWY_TARGET <= HWY_AVX2
int64_t ReadFp16Vectors(const uint16_t* from, int64_t count, float* to) {
  const auto* halves = reinterpret_cast<const hwy::float16_t*>(from);
  int64_t i = 0;
  for (; i + kLanes <= count; i += kLanes) {
    hn::StoreU(hn::PromoteTo(Float(), hn::LoadU(Half(), halves + i)), Float(), to + i);
  }
  return i;
}
int64_t WriteFp16Vectors(const float* from, int64_t count, uint16_t* to) {
  auto* halves = reinterpret_cast<hwy::float16_t*>(to);
  int64_t i = 0;
  for (; i + kLanes <= count; i += kLanes) {
    hn::StoreU(hn::DemoteTo(Half(), hn::LoadU(Float(), from + i)), Half(), halves + i);
  }
  return i;
}
#else
int64_t ReadFp16Vectors(const uint16_t*, int64_t, float*) { return 0; }
int64_t WriteFp16Vectors(const float*, int64_t, uint16_t*) { return 0; }
#endif

void ReadRow(DataType type, const std::byte* from, int64_t count, float* to) {
  if (type == DataType::kFp32) {
    std::memcpy(to, from, count * sizeof(float));
    return;
  }
  const auto* elements = reinterpret_cast<const uint16_t*>(from);
  if (type == DataType::kFp16) {
    for (int64_t i = ReadFp16Vectors(elements, count, to); i < count; ++i) {
      to[i] = FloatFromFp16(elements[i]);
    }
  } else {
    for (int64_t i = 0; i < count; ++i) to[i] = FloatFromBf16(elements[i]);
  }
}

void WriteRow(DataType type, const float* from, int64_t count, std::byte* to) {
  if (type == DataType::kFp32) {
    std::memcpy(to, from, count * sizeof(float));
    return;
  }
  auto* elements = reinterpret_cast<uint16_t*>(to);
  if (type == DataType::kFp16) {
    for (int64_t i = WriteFp16Vectors(from, count, elements); i < count; ++i) {
      elements[i] = Fp16FromFloat(from[i]);
    }
  } else {
    for (int64_t i = 0; i < count; ++i) elements[i] = Bf16FromFloat(from[i]);
  }
}

void ReadRows(DataType type, const std::byte* from, int64_t rows, int64_t columns, float* to,
              int64_t to_stride) {
  const int64_t row_bytes = columns * static_cast<int64_t>(ByteSize(type));
  for (int64_t row = 0; row < rows; ++row) {
    ReadRow(type, from + row * row_bytes, columns, to + row * to_stride);
  }
}

void WriteRows(DataType type, const float* from, int64_t from_stride, int64_t rows, int64_t columns,
               std::byte* to, int64_t to_stride) {
  const int64_t row_bytes = to_stride * static_cast<int64_t>(ByteSize(type));
  for (int64_t row = 0; row < rows; ++row) {
    WriteRow(type, from + row * from_stride, columns, to + row * row_bytes);
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace mlpserve::cpu
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace mlpserve::cpu {

HWY_EXPORT(ReadRows);
HWY_EXPORT(WriteRows);
HWY_EXPORT(RoundRows);

void ReadRows(DataType type, const std::byte* from, int64_t rows, int64_t columns, float* to,
              int64_t to_stride) {
  HWY_DYNAMIC_DISPATCH(ReadRows)(type, from, rows, columns, to, to_stride);
}

void WriteRows(DataType type, const float* from, int64_t from_stride, int64_t rows, int64_t columns,
               std::byte* to, int64_t to_stride) {
  HWY_DYNAMIC_DISPATCH(WriteRows)(type, from, from_stride, rows, columns, to, to_stride);
}

void RoundRows(ComputeType type, const float* from, int64_t from_stride, int64_t rows,
               int64_t columns, float* to, int64_t to_stride) {
  HWY_DYNAMIC_DISPATCH(RoundRows)(type, from, from_stride, rows, columns, to, to_stride);
}

}  // namespace mlpserve::cpu
#endif
