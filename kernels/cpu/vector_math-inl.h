// Elementwise functions over SIMD vectors, for inclusion under foreach_target only. NaN and
// infinity pass as they pass in PyTorch. Errors: a few units in the last place where the result is
// not tiny.
//
// exp by argument reduction to |r| <= ln(2)/2 and its Taylor series (degree 7: 5e-9). Comparisons
// and selects stand where min and max would do, since those drop a NaN on x86.
#if defined(MLPSERVE_KERNELS_CPU_VECTOR_MATH_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef MLPSERVE_KERNELS_CPU_VECTOR_MATH_INL_H_
#undef MLPSERVE_KERNELS_CPU_VECTOR_MATH_INL_H_
#else
#define MLPSERVE_KERNELS_CPU_VECTOR_MATH_INL_H_
#endif

#include "hwy/highway.h"

HWY_BEFORE_NAMESPACE();
namespace mlpserve::cpu {
namespace HWY_NAMESPACE {

namespace hn = hwy::HWY_NAMESPACE;

using Float = hn::ScalableTag<float>;
using Vector = hn::Vec<Float>;

HWY_INLINE Vector Constant(float value) { return hn::Set(Float(), value); }

// Values beyond a limit are set to it; NaN stays.
HWY_INLINE Vector AtMost(Vector z, Vector limit) {
  return hn::IfThenElse(hn::Gt(z, limit), limit, z);
}
HWY_INLINE Vector AtLeast(Vector z, Vector limit) {
  return hn::IfThenElse(hn::Lt(z, limit), limit, z);
}

// 2^n for n in -127 .. 128 (a whole number; 0 and infinity at the ends).
HWY_INLINE Vector PowerOfTwo(hn::Vec<hn::RebindToSigned<Float>> n) {
  const hn::RebindToSigned<Float> i;
  return hn::BitCast(Float(), hn::ShiftLeft<23>(hn::Add(n, hn::Set(i, 127))));
}

// 1 / d for 1 <= d < infinity, to about one unit in the last place. A division takes longer than a
// whole exp; one Newton step on the processor's estimate (12 bits at least) costs a third.
HWY_INLINE Vector ReciprocalOfFinite(Vector d) {
#if HWY_ARCH_X86
  const Vector estimate = hn::ApproximateReciprocal(d);
  const Vector error = hn::NegMulAdd(d, estimate, Constant(1));  // NaN where d is infinite
  return hn::MulAdd(estimate, error, estimate);
#else
  return hn::Div(Constant(1), d);
#endif
}

// The same for d <= infinity.
HWY_INLINE Vector Reciprocal(Vector d) {
  return hn::IfThenElse(hn::Eq(d, hn::Inf(Float())), hn::Zero(Float()), ReciprocalOfFinite(d));
}

struct Reduced {  // e^z = 2^n * (1 + tail)
  hn::Vec<hn::RebindToSigned<Float>> n;
  Vector tail;  // e^r - 1
};

HWY_INLINE Reduced ReduceExp(Vector z) {
  const hn::RebindToSigned<Float> i;
  const Vector rounded = hn::Round(hn::Mul(z, Constant(1.44269504088896341f)));
  // ln(2) in two parts; the first has few enough bits for rounded * part to be exact.
  Vector r = hn::NegMulAdd(rounded, Constant(0.693359375f), z);
  r = hn::NegMulAdd(rounded, Constant(-2.12194440e-4f), r);
  Vector p = Constant(1.0f / 5040);
  p = hn::MulAdd(p, r, Constant(1.0f / 720));
  p = hn::MulAdd(p, r, Constant(1.0f / 120));
  p = hn::MulAdd(p, r, Constant(1.0f / 24));
  p = hn::MulAdd(p, r, Constant(1.0f / 6));
  p = hn::MulAdd(p, r, Constant(0.5f));
  return {hn::ConvertTo(i, rounded), hn::MulAdd(hn::Mul(p, r), r, r)};
}

HWY_INLINE Vector Exp(Vector z) {
  // Beyond these, infinity and zero; 2^n is applied in two halves, which reach both.
  const Reduced e = ReduceExp(AtLeast(AtMost(z, Constant(89.0f)), Constant(-104.0f)));
  const auto half = hn::ShiftRight<1>(e.n);
  const Vector scaled = hn::MulAdd(e.tail, PowerOfTwo(half), PowerOfTwo(half));
  return hn::Mul(scaled, PowerOfTwo(hn::Sub(e.n, half)));
}

// e^z - 1 for z <= 0, exact to the last places around 0.
HWY_INLINE Vector Expm1OfNegative(Vector z) {
  const Reduced e = ReduceExp(AtLeast(z, Constant(-30.0f)));
  const Vector power = PowerOfTwo(e.n);
  return hn::MulAdd(e.tail, power, hn::Sub(power, Constant(1)));
}

// ln(1 + u) for 0 <= u <= 1: 2 artanh(u / (2 + u)) by its series.
HWY_INLINE Vector Log1pOfFraction(Vector u) {
  const Vector s = hn::Mul(u, Reciprocal(hn::Add(u, Constant(2))));
  const Vector q = hn::Mul(s, s);
  Vector p = Constant(1.0f / 15);
  p = hn::MulAdd(p, q, Constant(1.0f / 13));
  p = hn::MulAdd(p, q, Constant(1.0f / 11));
  p = hn::MulAdd(p, q, Constant(1.0f / 9));
  p = hn::MulAdd(p, q, Constant(1.0f / 7));
  p = hn::MulAdd(p, q, Constant(1.0f / 5));
  p = hn::MulAdd(p, q, Constant(1.0f / 3));
  const Vector twice = hn::Add(s, s);
  return hn::MulAdd(hn::Mul(p, q), twice, twice);
}

// erfc(a) for a >= 0 as t P(t) exp(-a^2) with t = 1 / (1 + 0.4 a). P is our own minimax fit of
// erfcx(a) / t over 0 <= a <= 10 (degree 9, relative error 8e-9 before rounding); beyond, erfc is 0
// in FP32.
HWY_INLINE Vector ErfcOfPositive(Vector a) {
  const Vector t = Reciprocal(hn::MulAdd(a, Constant(0.4f), Constant(1)));
  Vector p = Constant(-0.029595408588647842f);
  p = hn::MulAdd(p, t, Constant(0.19801875948905945f));
  p = hn::MulAdd(p, t, Constant(-0.4988238513469696f));
  p = hn::MulAdd(p, t, Constant(0.5474509596824646f));
  p = hn::MulAdd(p, t, Constant(-0.2843788266181946f));
  p = hn::MulAdd(p, t, Constant(0.27207234501838684f));
  p = hn::MulAdd(p, t, Constant(0.1296776384115219f));
  p = hn::MulAdd(p, t, Constant(0.21491949260234833f));
  p = hn::MulAdd(p, t, Constant(0.22495198249816895f));
  p = hn::MulAdd(p, t, Constant(0.22570690512657166f));
  return hn::Mul(hn::Mul(p, t), Exp(hn::Neg(hn::Mul(a, a))));
}

HWY_INLINE Vector Relu6(Vector z) { return AtMost(AtLeast(z, Constant(0)), Constant(6)); }

HWY_INLINE Vector Elu(Vector z, Vector alpha) {
  const Vector negative = Expm1OfNegative(AtMost(z, Constant(0)));
  return hn::IfThenElse(hn::Gt(z, Constant(0)), z, hn::Mul(alpha, negative));
}

// Between the limits exp(-z) is a finite 2^n * (1 + tail); below them the result is 0 in FP32.
HWY_INLINE Vector Sigmoid(Vector z) {
  const Vector least = Constant(-88.3f);
  const Reduced e = ReduceExp(hn::Neg(AtLeast(AtMost(z, Constant(87)), least)));
  const Vector power = PowerOfTwo(e.n);
  const Vector d = hn::MulAdd(e.tail, power, hn::Add(power, Constant(1)));
  return hn::IfThenElse(hn::Lt(z, least), hn::Zero(Float()), ReciprocalOfFinite(d));
}

// With e = exp(-2|z|) - 1: tanh|z| = -e / (2 + e).
HWY_INLINE Vector Tanh(Vector z) {
  const Vector magnitude = hn::Abs(z);
  const Vector e = Expm1OfNegative(hn::Neg(hn::Add(magnitude, magnitude)));
  return hn::CopySign(hn::Mul(hn::Neg(e), Reciprocal(hn::Add(e, Constant(2)))), z);
}

HWY_INLINE Vector Silu(Vector z) { return hn::Mul(z, Sigmoid(z)); }

// tanh(ln(1 + e)) = (e^2 + 2e) / (e^2 + 2e + 2), 1 in FP32 from z = 20 on.
HWY_INLINE Vector Mish(Vector z) {
  const Vector e = Exp(AtMost(z, Constant(20)));
  const Vector numerator = hn::Mul(e, hn::Add(e, Constant(2)));
  return hn::Mul(z, hn::Mul(numerator, Reciprocal(hn::Add(numerator, Constant(2)))));
}

HWY_INLINE Vector Softplus(Vector z) {
  const Vector tail = Log1pOfFraction(Exp(hn::Neg(hn::Abs(z))));
  return hn::Add(hn::IfThenElse(hn::Gt(z, Constant(0)), z, Constant(0)), tail);
}

HWY_INLINE Vector Hardsigmoid(Vector z) {
  return hn::Mul(Relu6(hn::Add(z, Constant(3))), Constant(1.0f / 6));
}

HWY_INLINE Vector GeluErf(Vector z) {
  const Vector half =
      hn::Mul(Constant(0.5f), ErfcOfPositive(hn::Mul(hn::Abs(z), Constant(0.70710678118654752f))));
  const Vector factor = hn::IfThenElse(hn::Gt(z, Constant(0)), hn::Sub(Constant(1), half), half);
  return hn::Mul(z, factor);
}

// z (1 + tanh(u)) / 2 = z / (1 + exp(-2u)): no cancellation for negative u.
HWY_INLINE Vector GeluTanh(Vector z) {
  const Vector cubic =
      hn::MulAdd(hn::Mul(z, z), Constant(2 * 0.0356774081f), Constant(2 * 0.7978845608f));
  return hn::Mul(z, Sigmoid(hn::Mul(z, cubic)));
}

}  // namespace HWY_NAMESPACE
}  // namespace mlpserve::cpu
HWY_AFTER_NAMESPACE();

#endif  // toggled for each target
