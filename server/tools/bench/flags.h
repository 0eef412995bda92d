// The flags that say what to measure, on a command line and in a plan alike, as text: each is a
// list or a value. MakeStep checks and interprets them.
//
// A plan is a file of steps, one a line: a mode, then flags of mlpserve-bench kernels without their
// dashes. What a line leaves out is as on the command line; # begins a comment.
//
//   check   m=1,33 n=520 k=264 dtype=bf16,tf32 epilogue=gelu padding=8
//   variants=mma.64x64x64.w2x2.s3.b2 time    m=16,1024 n=8192 k=8192 dtype=bf16
//   epilogue=gelu,sigmoid variants=chosen seconds=0.3 profile m=16 n=8192 k=8192
//
// Threads: free functions without state. Errors are INVALID_ARGUMENT, one line, with what was
// expected and what was found.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "server/tools/bench/run.h"

namespace mlpserve::tools {

struct Flags {
  std::string mode = "time";
  std::string m = "1,16,64,256,1024", n = "8192", k = "8192";
  std::string dtype = "bf16", epilogue = "gelu,sigmoid,batch_norm", ops;
  std::string variants = "chosen", layers = "1", padding = "-1", seconds = "1";
};

// The flags that a line of a plan may set, and the fields that keep them.
std::vector<std::pair<std::string, std::string*>> NamedFlags(Flags& flags);

// Makes a step's problems: loops over format, n, k, m and epilogue, the last innermost.
absl::StatusOr<Step> MakeStep(const Flags& flags);

// `text` is the whole plan, `name` what errors call it.
absl::StatusOr<std::vector<Step>> ParsePlan(const std::string& text, const std::string& name,
                                            const Flags& defaults);

// The error of every flag of the benchmark: "FLAG: expected EXPECTED, found "FOUND"".
absl::Status FlagError(const std::string& flag, const std::string& expected,
                       const std::string& found);
// Reads a whole number from `least` to `most`.
absl::StatusOr<int> ParseNumber(const std::string& flag, const std::string& text, int64_t least,
                                int64_t most);

}  // namespace mlpserve::tools
