// The instructions of a compiled kernel, as NVIDIA's nvdisasm prints them, and the loop over k
// among them.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace mlpserve::cuda {

struct Instruction {
  static constexpr int kNoTarget = -1;

  std::string opcode;         // "HMMA.16816.F32.BF16"
  bool is_never = false;      // predicated off for good: a filler
  bool falls_through = true;  // to the next one, always or sometimes
  int target = kNoTarget;     // of a branch: index of the instruction that it goes to
};

// What `program -c` prints of a cubin with one kernel; `program` is a path, or a name that the
// shell finds. Errors: UNAVAILABLE where it cannot be run, with what it said.
absl::StatusOr<std::string> Disassemble(const std::string& program, const std::string& cubin);

// Errors: INVALID_ARGUMENT where a branch goes to a label that is not there, or nothing is there.
absl::StatusOr<std::vector<Instruction>> ParseSass(std::string_view text);

// Instructions of one warp, by what they do.
struct InstructionCounts {
  int all = 0;
  int products = 0;      // HMMA or FFMA
  int shared_loads = 0;  // LDSM or LDS
  int copies = 0;        // LDGSTS, or LDG
  int shared_bytes = 0;  // that these read from and copy to shared memory, by all lanes

  int rest() const { return all - products - shared_loads - copies; }
};

struct LoopCounts {
  InstructionCounts inside;  // of the loop, each instruction once: loops in it are not multiplied
  InstructionCounts outside;
};

// The loop with the most `product` instructions ("HMMA"): all that lies on a way from one of them
// back to itself, wherever the compiler put it. Errors: NOT_FOUND, where no loop has any.
absl::StatusOr<LoopCounts> CountMainLoop(const std::vector<Instruction>& instructions,
                                         std::string_view product);

}  // namespace mlpserve::cuda
