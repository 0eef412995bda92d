// A line of a kernel's struct Config.
#pragma once

#include <string>

namespace mlpserve::cuda {

inline std::string Constant(const char* name, int value) {
  return std::string("  static constexpr int ") + name + " = " + std::to_string(value) + ";\n";
}

}  // namespace mlpserve::cuda
