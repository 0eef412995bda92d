// The functions of one value that an epilogue may apply, one row each: what model.json, the texts
// of epilogues, the CUDA emitter and the tests say of a function is said here. Tests go through the
// table, so that a new row is tested by all of them; what computes it is a `switch` in
// kernels/cpu/epilogue.cc and kernels/reference/bounded.h, which do not compile without it, and the
// function of that name in kernels/cuda/device/math.cuh.
#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <string_view>

namespace mlpserve {

enum class Function : uint8_t {
  kRelu,
  kLeakyRelu,
  kElu,
  kSigmoid,
  kTanh,
  kSilu,
  kMish,
  kSoftplus,
  kHardsigmoid,
  kHardswish,
  kGeluErf,
  kGeluTanh,
};

struct FunctionInfo {
  Function function;
  std::string_view text;         // in an epilogue's text
  std::string_view op;           // the op of model.json (proto/mlp_model.proto, EpilogueOp)
  std::string_view variant;      // the value of the op's enumeration; empty: it has none
  std::string_view device_text;  // in kernels/cuda/device/math.cuh
  std::string_view parameter;    // the op's field for the parameter; empty: it takes none
  double default_parameter;      // where the field is left out
  double steepest;               // largest |f'(z)|, for parameters of at most 1

  constexpr bool takes_parameter() const { return !parameter.empty(); }
};

// In the order of Function.
inline constexpr std::array kFunctions = {
    FunctionInfo{Function::kRelu, "relu", "relu", "", "Relu", "", 0, 1},
    FunctionInfo{Function::kLeakyRelu, "leaky_relu", "leaky_relu", "", "LeakyRelu", "slope", 0.01,
                 1},
    FunctionInfo{Function::kElu, "elu", "elu", "", "Elu", "alpha", 1, 1},
    FunctionInfo{Function::kSigmoid, "sigmoid", "sigmoid", "", "Sigmoid", "", 0, 0.25},
    FunctionInfo{Function::kTanh, "tanh", "tanh", "", "Tanh", "", 0, 1},
    FunctionInfo{Function::kSilu, "silu", "silu", "", "Silu", "", 0, 1.10},
    FunctionInfo{Function::kMish, "mish", "mish", "", "Mish", "", 0, 1.09},
    FunctionInfo{Function::kSoftplus, "softplus", "softplus", "", "Softplus", "", 0, 1},
    FunctionInfo{Function::kHardsigmoid, "hardsigmoid", "hardsigmoid", "", "Hardsigmoid", "", 0,
                 1.0 / 6},
    FunctionInfo{Function::kHardswish, "hardswish", "hardswish", "", "Hardswish", "", 0, 1.5},
    FunctionInfo{Function::kGeluErf, "gelu_erf", "gelu", "NONE", "GeluErf", "", 0, 1.13},
    FunctionInfo{Function::kGeluTanh, "gelu_tanh", "gelu", "TANH", "GeluTanh", "", 0, 1.13},
};

constexpr const FunctionInfo& InfoOf(Function function) {
  return kFunctions[static_cast<size_t>(function)];
}

static_assert(
    [] {
      for (size_t i = 0; i < kFunctions.size(); ++i) {
        if (static_cast<size_t>(kFunctions[i].function) != i) return false;
      }
      return true;
    }(),
    "each function has its row, in the order of the enumeration");

// The largest |f'(z)|. A parameter multiplies what the function makes of some z, and nothing else.
inline double SteepestSlope(Function function, double parameter) {
  const FunctionInfo& info = InfoOf(function);
  return info.takes_parameter() ? std::max(info.steepest, std::fabs(parameter)) : info.steepest;
}

}  // namespace mlpserve
