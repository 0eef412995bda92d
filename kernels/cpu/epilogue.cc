#include "kernels/cpu/epilogue.h"

#include <algorithm>

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/epilogue.cc"
#include "hwy/foreach_target.h"  // compiles the rest of this file once for each instruction set
#include "hwy/highway.h"
#include "kernels/cpu/vector_math-inl.h"

HWY_BEFORE_NAMESPACE();
namespace mlpserve::cpu {
namespace HWY_NAMESPACE {

using Kind = EpilogueStep::Kind;

constexpr int64_t kLanes = HWY_LANES(float);
constexpr int64_t kScratchStride = kPanelColumns;

// Where the values of one level are: in the tile itself, or in scratch memory.
struct Level {
  float* values;
  int64_t stride;
};

class Block {
 public:
  Block(const EpilogueTile& tile, int64_t first_row)
      : tile_(tile), first_row_(first_row), rows_(std::min(kEpilogueRows, tile.rows - first_row)) {}

  void Run(const EpilogueStep& step) const {
    const Level level = At(step.level);
    switch (step.kind) {
      case Kind::kMultiplyAdd:
        return RunMultiplyAdd(step, level);
      case Kind::kClamp: {
        const Vector min = Constant(step.a);
        const Vector max = Constant(step.b);
        return ForEach(level, [=](Vector z) HWY_ATTR { return AtMost(AtLeast(z, min), max); });
      }
      case Kind::kFunction:
        return RunFunction(step, level);
      case Kind::kAddInput: {
        const Level x{const_cast<float*>(tile_.x) + first_row_ * tile_.x_stride, tile_.x_stride};
        return Join(level, x, [](Vector z, Vector v) HWY_ATTR { return hn::Add(z, v); });
      }
      case Kind::kCopyUp:
        return Join(At(step.level + 1), level, [](Vector, Vector v) HWY_ATTR { return v; });
      case Kind::kAddDown:
        return Join(level, At(step.level + 1),
                    [](Vector z, Vector v) HWY_ATTR { return hn::Add(z, v); });
      case Kind::kMultiplyDown:
        return Join(level, At(step.level + 1),
                    [](Vector z, Vector v) HWY_ATTR { return hn::Mul(z, v); });
    }
  }

 private:
  Level At(int level) const {
    if (level == 0) return {tile_.z + first_row_ * tile_.z_stride, tile_.z_stride};
    return {tile_.scratch + (level - 1) * kEpilogueScratchPerLevel, kScratchStride};
  }

  template <typename F>
  HWY_INLINE void ForEach(const Level& level, F f) const {
    for (int64_t row = 0; row < rows_; ++row) {
      float* z = level.values + row * level.stride;
      for (int64_t c = 0; c < tile_.columns; c += kLanes) {
        hn::StoreU(f(hn::LoadU(Float(), z + c)), Float(), z + c);
      }
    }
  }

  template <typename F>
  HWY_INLINE void Join(const Level& to, const Level& from, F f) const {
    for (int64_t row = 0; row < rows_; ++row) {
      float* z = to.values + row * to.stride;
      const float* v = from.values + row * from.stride;
      for (int64_t c = 0; c < tile_.columns; c += kLanes) {
        hn::StoreU(f(hn::LoadU(Float(), z + c), hn::LoadU(Float(), v + c)), Float(), z + c);
      }
    }
  }

  void RunMultiplyAdd(const EpilogueStep& step, const Level& level) const {
    for (int64_t c = 0; c < tile_.columns; c += kLanes) {
      const Vector scale = Load(step.a_column, step.a, c);
      const Vector shift = Load(step.b_column, step.b, c);
      for (int64_t row = 0; row < rows_; ++row) {
        float* z = level.values + row * level.stride + c;
        hn::StoreU(hn::MulAdd(hn::LoadU(Float(), z), scale, shift), Float(), z);
      }
    }
  }

  HWY_INLINE Vector Load(const float* column, float constant, int64_t c) const {
    return column == nullptr ? Constant(constant)
                             : hn::LoadU(Float(), column + tile_.first_column + c);
  }

  void RunFunction(const EpilogueStep& step, const Level& level) const {
    const Vector a = Constant(step.a);
    switch (step.function) {
      case Function::kRelu:
        return ForEach(level, [](Vector z) HWY_ATTR { return AtLeast(z, Constant(0)); });
      case Function::kLeakyRelu:
        return ForEach(level, [a](Vector z) HWY_ATTR {
          return hn::IfThenElse(hn::Gt(z, Constant(0)), z, hn::Mul(z, a));
        });
      case Function::kElu:
        return ForEach(level, [a](Vector z) HWY_ATTR { return Elu(z, a); });
      case Function::kSigmoid:
        return ForEach(level, [](Vector z) HWY_ATTR { return Sigmoid(z); });
      case Function::kTanh:
        return ForEach(level, [](Vector z) HWY_ATTR { return Tanh(z); });
      case Function::kSilu:
        return ForEach(level, [](Vector z) HWY_ATTR { return Silu(z); });
      case Function::kMish:
        return ForEach(level, [](Vector z) HWY_ATTR { return Mish(z); });
      case Function::kSoftplus:
        return ForEach(level, [](Vector z) HWY_ATTR { return Softplus(z); });
      case Function::kHardsigmoid:
        return ForEach(level, [](Vector z) HWY_ATTR { return Hardsigmoid(z); });
      case Function::kHardswish:
        return ForEach(level, [](Vector z) HWY_ATTR { return hn::Mul(z, Hardsigmoid(z)); });
      case Function::kGeluErf:
        return ForEach(level, [](Vector z) HWY_ATTR { return GeluErf(z); });
      case Function::kGeluTanh:
        return ForEach(level, [](Vector z) HWY_ATTR { return GeluTanh(z); });
    }
  }

  const EpilogueTile& tile_;
  const int64_t first_row_;
  const int64_t rows_;
};

void RunEpilogue(const EpilogueProgram& program, const EpilogueTile& tile) {
  for (int64_t row = 0; row < tile.rows; row += kEpilogueRows) {
    const Block block(tile, row);
    for (const EpilogueStep& step : program.steps) block.Run(step);
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace mlpserve::cpu
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace mlpserve::cpu {

HWY_EXPORT(RunEpilogue);

void RunEpilogue(const EpilogueProgram& program, const EpilogueTile& tile) {
  if (program.steps.empty()) return;
  HWY_DYNAMIC_DISPATCH(RunEpilogue)(program, tile);
}

}  // namespace mlpserve::cpu
#endif
