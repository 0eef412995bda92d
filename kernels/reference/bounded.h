// A float64 value and a bound on how far a backend's FP32 arithmetic may end up from it: what the
// oracle computes with. The same operations exist for float, for the block computed plainly in
// FP32.
//
// The rules: each op passes a bound on by its largest slope and adds 2^-22 of its result, and a
// product adds 2^-22 * sqrt(K) of the sum of its terms' magnitudes. Added to these, FP32's smallest
// step where the result underflows. A value that overflows FP32, or may, has bound infinity:
// nothing is claimed of it, or of what follows from it. NaN and infinity themselves are exact
// (bound 0).
#pragma once

#include <algorithm>
#include <cmath>
#include <limits>

#include "kernels/spec/epilogue.h"

namespace mlpserve::reference {

inline constexpr double kOpError = 0x1p-22;
inline constexpr double kSmallestFp32 = 0x1p-149;
inline constexpr double kUnknown = std::numeric_limits<double>::infinity();

struct Bounded {
  double value = 0;
  double bound = 0;

  bool is_unknown() const { return std::isinf(bound); }
};

// `value` as an FP32 register holds it, with the error it comes with and `rounding` of its own.
inline Bounded InFp32(double value, double carried, double rounding) {
  if (std::isinf(carried) || std::isnan(carried)) return {value, kUnknown};
  if (!std::isfinite(value)) return {value, 0};
  const double bound = carried + rounding + kSmallestFp32;
  if (std::fabs(value) + bound > std::numeric_limits<float>::max()) return {value, kUnknown};
  return {value, bound};
}

// f(z) for z of type double or float, as torch.nn.functional defines it: these expressions and no
// others, since they decide what NaN and infinity become (silu(-inf) is -inf / inf = NaN).
template <typename T>
T Evaluate(const Pointwise& op, T z) {
  const T one = 1;
  const auto relu6 = [](T v) { return v < 0 ? T{0} : v > 6 ? T{6} : v; };
  switch (op.function) {
    case Function::kRelu:
      return z < 0 ? T{0} : z;
    case Function::kLeakyRelu:
      return z > 0 ? z : z * static_cast<T>(op.parameter);
    case Function::kElu:
      return z > 0 ? z : std::expm1(z) * static_cast<T>(op.parameter);
    case Function::kSigmoid:
      return one / (one + std::exp(-z));
    case Function::kTanh:
      return std::tanh(z);
    case Function::kSilu:
      return z / (one + std::exp(-z));
    case Function::kMish:
      return z * std::tanh(std::log1p(std::exp(z)));
    case Function::kSoftplus:
      return z > 20 ? z : std::log1p(std::exp(z));
    case Function::kHardsigmoid:
      return relu6(z + 3) / 6;
    case Function::kHardswish:
      return z * (relu6(z + 3) / 6);
    case Function::kGeluErf:
      return z * T(0.5) * std::erfc(-z * T(0.70710678118654752440));
    case Function::kGeluTanh: {
      const T inner = T(0.79788456080286535588) * (z + T(0.044715) * z * z * z);
      return T(0.5) * z * (one + std::tanh(inner));
    }
  }
  return z;
}

inline Bounded Evaluate(const Pointwise& op, Bounded z) {
  const double value = Evaluate(op, z.value);
  return InFp32(value, SteepestSlope(op.function, op.parameter) * z.bound,
                kOpError * std::fabs(value));
}

inline float MultiplyAndAdd(float z, double scale, double shift) {
  return z * static_cast<float>(scale) + static_cast<float>(shift);
}

inline Bounded MultiplyAndAdd(Bounded z, double scale, double shift) {
  const double product = z.value * scale;
  const double value = product + shift;
  const double carried = z.bound == 0 ? 0 : std::fabs(scale) * z.bound;
  const double rounding = kOpError * (std::fabs(value) + (shift == 0 ? 0 : std::fabs(product)));
  return InFp32(value, z.is_unknown() ? kUnknown : std::isfinite(value) ? carried : 0, rounding);
}

template <typename T>
T ClampTo(T z, T min, T max) {
  return z < min ? min : z > max ? max : z;
}

inline float Limit(float z, const Clamp& op) {
  return ClampTo(z, static_cast<float>(op.min), static_cast<float>(op.max));
}

inline Bounded Limit(Bounded z, const Clamp& op) {
  const double value = ClampTo(z.value, op.min, op.max);
  return InFp32(value, z.bound, kOpError * std::fabs(value));
}

inline float Sum(float a, float b) { return a + b; }
inline Bounded Sum(Bounded a, Bounded b) {
  const double value = a.value + b.value;
  return InFp32(value, a.bound + b.bound, kOpError * std::fabs(value));
}

inline float Product(float a, float b) { return a * b; }
inline Bounded Product(Bounded a, Bounded b) {
  const double value = a.value * b.value;
  if (a.is_unknown() || b.is_unknown()) return {value, kUnknown};
  if (!std::isfinite(value)) return {value, 0};
  const double carried =
      std::fabs(a.value) * b.bound + std::fabs(b.value) * a.bound + a.bound * b.bound;
  return InFp32(value, carried, kOpError * std::fabs(value));
}

}  // namespace mlpserve::reference
