// The instructions of a compiled kernel, as NVIDIA's nvdisasm prints them, and the loop over k
// among them.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace mlpserve::cuda {

// What the compiler tells the scheduler of an SM: bits 105 to 121 of an instruction of Volta and
// later (Jia et al., "Dissecting the NVIDIA Volta GPU Architecture via Microbenchmarking", 2018).
struct Control {
  static constexpr int kNoBarrier = 7;

  int stall = 0;                   // cycles until the warp may issue its next instruction
  int write_barrier = kNoBarrier;  // scoreboard that is held until the result is written,
  int read_barrier = kNoBarrier;   // and until the operands are read
  int waits = 0;                   // scoreboards that must be free first, a bit for each

  bool operator==(const Control&) const = default;
};

struct Instruction {
  static constexpr int kNoTarget = -1;

  std::string opcode;         // "HMMA.16816.F32.BF16"
  std::string operands;       // "R4, R8, R12, R4"
  Control control;            // all zero and none where the text has no encoding
  bool is_never = false;      // predicated off for good: a filler
  bool falls_through = true;  // to the next one, always or sometimes
  int target = kNoTarget;     // of a branch: index of the instruction that it goes to
};

// What `program -c -hex` prints of a cubin with one kernel; `program` is a path, or a name that the
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
  int copied_bytes = 0;  // that the copies bring from beyond the SM

  int rest() const { return all - products - shared_loads - copies; }
};

struct LoopCounts {
  InstructionCounts inside;  // of the loop, each instruction once: loops in it are not multiplied
  InstructionCounts outside;
  std::vector<Instruction> loop;  // those inside, as they lie in memory
};

// Whether it is `name`, with or without a suffix: "LDS" is "LDS.64" and not "LDSM".
bool Is(const Instruction& instruction, std::string_view name);

// Bytes of shared memory, or of what is copied, that all lanes together read or write.
int BytesOf(const Instruction& instruction);

// The loop with the most `product` instructions ("HMMA"): all that lies on a way from one of them
// back to itself, wherever the compiler put it. Errors: NOT_FOUND, where no loop has any.
absl::StatusOr<LoopCounts> CountMainLoop(const std::vector<Instruction>& instructions,
                                         std::string_view product);

}  // namespace mlpserve::cuda
