// What can be said of the kernels on an RTX 4090 without one, as a page of Markdown: what the
// compiler made of them, what a model of an SM predicts of their loops and of every layer of the
// suite, and the least times that arithmetic allows.
#pragma once

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "kernels/cuda/sheet/compiled_space.h"

namespace mlpserve::cuda {

// Where the tree keeps it, from its root.
inline constexpr char kSheetPath[] = "kernels/results/rtx4090-sheet.md";

// The kernels of sm_89 among `kernels`, which have compiled; `disassembler` as Disassemble's.
// `compiler`: its version. Errors: those of compiling and disassembling,
// and of a suite that cannot be read; where there is no disassembler, what to install.
// `suite`: the text of kernels/plans/suite.plan, whose layers are predicted.
absl::StatusOr<std::string> Sheet(const std::vector<SpaceKernel>& kernels,
                                  const std::string& disassembler, const std::string& compiler,
                                  const std::string& suite);

// The line of the sheet that names the compiler: another one makes other code, and another sheet.
std::string CompilerLine(const std::string& compiler);

}  // namespace mlpserve::cuda
