// An epilogue in float64, with the error that FP32 arithmetic may make: the rule of
// tests/goldens/README.md.
#pragma once

#include "kernels/spec/epilogue.h"

namespace mlpserve::cuda {

struct BoundedValue {
  double value = 0;
  double error = 0;  // absolute, of the FP32 result
};

// The canonical `epilogue` of z at one column; `x` is the block's input there.
BoundedValue Evaluate(const EpilogueSpec& epilogue, BoundedValue z, int column, double x);

}  // namespace mlpserve::cuda
