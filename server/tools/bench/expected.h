// What a layer must give, in float64, and whether an output is that. Some columns of y at a time,
// so that what the host holds is bounded: they are independent of one another, as rows are not
// where the batch's statistics are taken.
//
// Two gates. Every value lies within the oracle's bound for it (kernels/reference/oracle.h), and,
// for the epilogues with a name, the 2-norm of the error is one that rounding explains: a kernel
// that truncates TF32 operands passes the first and not the second. The second is for
// kLeastForNorm values and more: of a single one near zero, rounding explains any relative error.
#pragma once

#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "kernels/reference/oracle.h"
#include "kernels/spec/block.h"
#include "server/tools/bench/problem.h"

namespace mlpserve::tools {

// Columns of y, and so rows of W: [first, first + count).
struct Columns {
  int64_t first = 0;
  int64_t count = 0;

  bool operator==(const Columns&) const = default;
};

// The most values of y that are held at a time. Each takes some 130 bytes, with everything that is
// needed to judge it.
inline constexpr int64_t kMostHeldValues = int64_t{1} << 25;
// Cuts the problem's columns into ranges of at most `most_values` values of y each, but of at least
// one column.
std::vector<Columns> ColumnsAtATime(const Problem& problem, int64_t most_values = kMostHeldValues);

// Products in float64. `stored`: of the operands as they are stored, where a kernel rounds what it
// reads (TF32); nothing: `rounded` are these.
struct Products {
  ProductSums rounded;
  std::optional<ProductSums> stored;
};

// Multiplies x [m, k] by rows of the weight [n, k], both rounded to `rounded_to`, by plain loops on
// all processors: [m, columns.count].
ProductSums MultiplyOnHost(std::span<const float> x, const Tensor& weight, int64_t m, int64_t k,
                           Columns columns, ComputeType rounded_to);

struct Expected {
  OracleResult values;                 // with the bound of each
  std::optional<OracleResult> stored;  // as in Products: what the error's 2-norm is taken against
};

// The expected values of the layer, or (plain) of its bare product, in the columns that `products`
// cover. x holds all rows.
Expected Expect(const Problem& problem, const LayerSpec& layer, std::span<const float> x,
                Columns columns, const Products& products);
Expected ExpectPlain(const Problem& problem, Columns columns, const Products& products);

// The 2-norm of the error over that of the values, which rounding alone explains: measured on
// kernels that round to nearest, with room.
double MostRelativeError(const Problem& problem);

inline constexpr int64_t kLeastForNorm = 256;

struct Verdict {
  bool is_right = false;
  double relative_error = 0;
  std::string reason;  // where it is wrong
};

// Judges one output of a problem, some of its columns after the others.
class Judge {
 public:
  // `bounds_error`: the second gate applies.
  Judge(const Problem& problem, bool bounds_error)
      : most_error_(MostRelativeError(problem)),
        bounds_error_(bounds_error && problem.m * problem.n >= kLeastForNorm) {}

  // `y` is [m, columns.count].
  void Add(Columns columns, const Expected& expected, std::span<const float> y);
  // Whether the verdict is known already, so that no more columns need to be added.
  void Refuse(std::string reason) { reason_ = std::move(reason); }
  bool is_right_so_far() const { return reason_.empty(); }
  Verdict Finish() const;

 private:
  double most_error_;
  bool bounds_error_;
  SquaredError squares_;
  std::string reason_;
};

}  // namespace mlpserve::tools
