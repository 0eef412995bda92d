#include "tests/kernels/cuda/jit/random_chain.h"

#include <limits>
#include <random>

namespace mlpserve::cuda {
namespace {

class ChainMaker {
 public:
  explicit ChainMaker(uint32_t seed) : random_(seed) {}

  EpilogueSpec Make() {
    spec_.ops = Ops(1 + Below(5), 0);
    return std::move(spec_);
  }

 private:
  // Not std::uniform_int_distribution: libraries differ in what it draws.
  uint32_t Below(uint32_t n) { return static_cast<uint32_t>(random_()) % n; }
  double Number() { return (static_cast<double>(Below(4001)) - 2000) / 1000; }  // -2 .. 2

  Operand Number(double identity) {
    switch (Below(3)) {
      case 0:
        return {.value = identity};
      case 1:
        return {.value = Number()};
      default:
        std::vector<float> column(kChainColumns);
        for (float& c : column) c = static_cast<float>(Number());
        spec_.columns.push_back(std::move(column));
        return {.column = static_cast<int>(spec_.columns.size()) - 1};
    }
  }

  Clamp RandomClamp() {
    constexpr double kInfinity = std::numeric_limits<double>::infinity();
    const double low = Number();
    const uint32_t bounds = Below(3);
    return {.min = bounds == 1 ? -kInfinity : low, .max = bounds == 2 ? kInfinity : low + 1.5};
  }

  Pointwise RandomPointwise() {
    const FunctionInfo& info = kFunctions[Below(static_cast<uint32_t>(kFunctions.size()))];
    return {.function = info.function, .parameter = info.takes_parameter() ? Number() : 0};
  }

  std::vector<Op> Ops(uint32_t count, int depth) {
    std::vector<Op> ops;
    ops.reserve(count);
    for (uint32_t i = 0; i < count; ++i) ops.push_back(RandomOp(depth));
    return ops;
  }

  Op RandomOp(int depth) {
    const uint32_t kind = Below(depth < 3 ? 10 : 8);
    if (kind < 2) return {MultiplyAdd{.scale = Number(1), .shift = Number(0)}};
    if (kind == 2) return {RandomClamp()};
    if (kind < 7) return {RandomPointwise()};
    if (kind == 7) return {AddInput{}};
    std::vector<Op> inner = Ops(1 + Below(3), depth + 1);
    return kind == 8 ? Op{Residual{std::move(inner)}} : Op{Gate{std::move(inner)}};
  }

  std::mt19937 random_;
  EpilogueSpec spec_;
};

}  // namespace

EpilogueSpec RandomChain(uint32_t seed) { return ChainMaker(seed).Make(); }

}  // namespace mlpserve::cuda
