// What a layer must give, in float64, and whether an output is that.
//
// Two gates. Every value lies within the oracle's bound for it (kernels/reference/oracle.h), and,
// for the epilogues with a name, the 2-norm of the error is one that rounding explains: a kernel
// that truncates TF32 operands passes the first and not the second.
#pragma once

#include <optional>
#include <span>
#include <string>
#include <vector>

#include "kernels/reference/oracle.h"
#include "kernels/spec/block.h"
#include "server/tools/bench/problem.h"

namespace mlpserve::tools {

// Products in float64. `stored`: of the operands as they are stored, where a kernel rounds what it
// reads (TF32); nothing: `rounded` are these.
struct Products {
  ProductSums rounded;
  std::optional<ProductSums> stored;
};

// Of x [m, k] and weight [n, k], rounded to `rounded_to`, by plain loops on all processors.
ProductSums MultiplyOnHost(std::span<const float> x, std::span<const float> weight, int64_t m,
                           int64_t n, int64_t k, ComputeType rounded_to);

struct Expected {
  OracleResult values;                 // with the bound of each
  std::optional<OracleResult> stored;  // as in Products: what the error's 2-norm is taken against
};

// Of the layer, or (plain) of its bare product.
Expected Expect(const Problem& problem, const LayerSpec& layer, std::span<const float> x,
                const Products& products);
Expected ExpectPlain(const Problem& problem, const Products& products);

// The 2-norm of the error over that of the values, which rounding alone explains: measured on
// kernels that round to nearest, with room.
double MostRelativeError(const Problem& problem);

struct Verdict {
  bool is_right = false;
  double relative_error = 0;
  std::string reason;  // where it is wrong
};
// `y` is [m, n]. `bounds_error`: the second gate applies.
Verdict Judge(const Problem& problem, const Expected& expected, std::span<const float> y,
              bool bounds_error);

}  // namespace mlpserve::tools
