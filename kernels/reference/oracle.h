// The oracle: a block evaluated as written, in float64, slowly and plainly, with a bound on the
// error that a backend may make in each value. What every backend is tested against.
//
// x and the weights are rounded to the block's compute type first; activations between layers are
// not (their rounding is part of the bound), so that the values are those of exact arithmetic on
// rounded inputs. Batch statistics are taken over all rows given: they are one request.
//
// Threads: free functions without state. Cost: rows * sum(inputs * outputs) multiply-adds.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "kernels/spec/block.h"

namespace mlpserve {

struct OracleResult {
  int64_t rows = 0;
  int64_t columns = 0;
  std::vector<double> values;  // [rows, columns]
  std::vector<double> bounds;  // [rows, columns], of |actual - value| as read back from the wire's
                               // output type; infinity: FP32 may overflow, nothing is claimed
};

// `x` is [rows, input features] as it stands on the wire: rounded to the input type already.
// The block has passed Validate. The tolerance is defined in tests/goldens/README.md.
OracleResult EvaluateOracle(const BlockSpec& block, std::span<const float> x, int64_t rows);

// A layer's product in float64 without its bias, each [rows, outputs].
struct ProductSums {
  std::vector<double> sums;        // x·Wᵀ, operands rounded to the compute type
  std::vector<double> magnitudes;  // |x|·|W|ᵀ of the same
};

// EvaluateOracle of a block of this one layer, from a product that was computed elsewhere: on a
// GPU, where it takes plain loops too long. layer.weight is not read, and no operand may have been
// subnormal. `input` is what AddInput adds, [rows, outputs], or empty where nothing does. Columns
// are independent: a layer may be given in slices of its outputs.
OracleResult FinishOracle(const LayerSpec& layer, ComputeType compute, DataType output,
                          const ProductSums& product, std::span<const float> input, int64_t rows);

// The block in plain FP32 loops, whatever its compute type: the measure for the second gate, the
// 2-norm of the error.
std::vector<float> EvaluatePlainFp32(const BlockSpec& block, std::span<const float> x,
                                     int64_t rows);

// The value of `actual` that is furthest out of its bound. Where NaN is expected it must be NaN,
// where an infinity is expected the same infinity.
struct WorstValue {
  int64_t row = 0;
  int64_t column = 0;
  double expected = 0;
  double actual = 0;
  double bound = 0;
  double ratio = 0;  // |actual - expected| / bound; infinity where NaN or infinity is misplaced

  bool ok() const { return ratio <= 1; }
};
WorstValue FindWorst(const OracleResult& expected, std::span<const float> actual);
std::string ToString(const WorstValue& worst);

// Sums of squares over the values that are finite in float64; those of parts add up.
struct SquaredError {
  double error = 0;      // of actual - expected
  double reference = 0;  // of expected

  SquaredError& operator+=(const SquaredError& other) {
    error += other.error;
    reference += other.reference;
    return *this;
  }
  // |actual - expected| / |expected| in the 2-norm; |actual - expected| where all is zero.
  double Relative() const;
};
SquaredError FindSquaredError(const OracleResult& expected, std::span<const float> actual);

double RelativeError(const OracleResult& expected, std::span<const float> actual);

}  // namespace mlpserve
