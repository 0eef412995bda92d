#include "kernels/cuda/sheet/sass.h"

#include <stdlib.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <map>
#include <memory>
#include <optional>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"

namespace mlpserve::cuda {
namespace {

constexpr int kLanes = 32;

// A file that is removed when the object is destroyed.
class TemporaryFile {
 public:
  explicit TemporaryFile(const std::string& bytes) {
    const int file = mkstemp(path_.data());
    if (file < 0) return;
    is_written_ = write(file, bytes.data(), bytes.size()) == static_cast<ssize_t>(bytes.size());
    close(file);
  }
  ~TemporaryFile() { unlink(path_.c_str()); }
  TemporaryFile(const TemporaryFile&) = delete;
  TemporaryFile& operator=(const TemporaryFile&) = delete;

  bool is_written() const { return is_written_; }
  const std::string& path() const { return path_; }

 private:
  std::string path_ = "/tmp/mlpserve-cubin-XXXXXX";
  bool is_written_ = false;
};

// The text between two marks, the first one found.
std::optional<absl::string_view> Between(absl::string_view text, absl::string_view before,
                                         absl::string_view after) {
  const size_t start = text.find(before);
  if (start == absl::string_view::npos) return std::nullopt;
  text.remove_prefix(start + before.size());
  const size_t end = text.find(after);
  if (end == absl::string_view::npos) return std::nullopt;
  return text.substr(0, end);
}

struct Line {
  absl::string_view predicate, opcode, operands;

  bool is_jump() const { return opcode == "BRA" || absl::StartsWith(opcode, "BRA."); }
  // "BRA P0, `(.L_x_1)" depends on its operand.
  bool falls_through() const {
    if (!predicate.empty()) return true;
    return is_jump() ? !absl::StartsWith(absl::StripLeadingAsciiWhitespace(operands), "`")
                     : opcode != "EXIT";
  }
};

// "/*0e60*/  @!P1 BRA `(.L_x_1) ;" without its address. Nothing: no instruction.
std::optional<Line> ParseLine(absl::string_view line) {
  const std::optional<absl::string_view> address = Between(line, "/*", "*/");
  if (!address || !std::ranges::all_of(*address, absl::ascii_isxdigit)) return std::nullopt;
  line = line.substr(line.find("*/") + 2);
  line = absl::StripAsciiWhitespace(line.substr(0, line.find(';')));
  Line parsed;
  if (absl::ConsumePrefix(&line, "@")) {
    parsed.predicate = line.substr(0, line.find(' '));
    line = absl::StripLeadingAsciiWhitespace(line.substr(parsed.predicate.size()));
  }
  parsed.opcode = line.substr(0, line.find(' '));
  parsed.operands = line.substr(parsed.opcode.size());
  if (parsed.opcode.empty() || !absl::ascii_isupper(parsed.opcode[0])) return std::nullopt;
  return parsed;
}

// The 64 bits of "... /* 0x000fe200078e00ff */" behind an instruction or below it.
std::optional<uint64_t> Encoding(absl::string_view line) {
  const size_t start = line.rfind("/* 0x");
  uint64_t bits = 0;
  if (start == absl::string_view::npos || line.size() < start + 5 + 16) return std::nullopt;
  if (!absl::SimpleHexAtoi(line.substr(start + 5, 16), &bits)) return std::nullopt;
  return bits;
}

// Of the upper half of an instruction.
Control ControlOf(uint64_t upper) {
  const auto field = [upper](int first, int bits) {
    return static_cast<int>(upper >> (first - 64) & ((1u << bits) - 1));
  };
  return {.stall = field(105, 4),
          .write_barrier = field(110, 3),
          .read_barrier = field(113, 3),
          .waits = field(116, 6)};
}

void Count(const Instruction& instruction, std::string_view product, InstructionCounts& counts) {
  ++counts.all;
  if (instruction.is_never) return;
  if (Is(instruction, product)) {
    ++counts.products;
  } else if (Is(instruction, "LDSM") || Is(instruction, "LDS")) {
    ++counts.shared_loads;
    counts.shared_bytes += BytesOf(instruction);
  } else if (Is(instruction, "LDGSTS")) {
    ++counts.copies;
    counts.shared_bytes += BytesOf(instruction);
    counts.copied_bytes += BytesOf(instruction);
  } else if (Is(instruction, "LDG")) {
    ++counts.copies;
    counts.copied_bytes += BytesOf(instruction);
  }
}

using Edges = std::vector<std::vector<size_t>>;  // of each instruction, those it leads to

// The instructions that paths of edges lead to from `start`; `start` is among them only if a path
// leads back to it.
std::vector<bool> Reached(const Edges& edges, size_t start) {
  std::vector<bool> reached(edges.size());
  std::vector<size_t> open = edges[start];
  while (!open.empty()) {
    const size_t next = open.back();
    open.pop_back();
    if (reached[next]) continue;
    reached[next] = true;
    open.insert(open.end(), edges[next].begin(), edges[next].end());
  }
  return reached;
}

struct Flow {
  Edges forward, backward;

  explicit Flow(const std::vector<Instruction>& instructions)
      : forward(instructions.size()), backward(instructions.size()) {
    for (size_t i = 0; i < instructions.size(); ++i) {
      if (instructions[i].falls_through && i + 1 < instructions.size()) Add(i, i + 1);
      if (instructions[i].target != Instruction::kNoTarget) {
        Add(i, static_cast<size_t>(instructions[i].target));
      }
    }
  }

  void Add(size_t from, size_t to) {
    forward[from].push_back(to);
    backward[to].push_back(from);
  }
};

}  // namespace

bool Is(const Instruction& instruction, std::string_view name) {
  std::string_view rest = instruction.opcode;
  if (!rest.starts_with(name)) return false;
  rest.remove_prefix(name.size());
  return rest.empty() || rest[0] == '.';
}

// LDSM.x4 reads four matrices of 128 bytes.
int BytesOf(const Instruction& instruction) {
  const std::string& opcode = instruction.opcode;
  if (Is(instruction, "LDSM")) return absl::EndsWith(opcode, ".4") ? 512 : 256;
  if (absl::StrContains(opcode, ".128")) return kLanes * 16;
  if (absl::StrContains(opcode, ".64")) return kLanes * 8;
  return kLanes * (absl::StrContains(opcode, ".U16") ? 2 : 4);
}

absl::StatusOr<std::string> Disassemble(const std::string& program, const std::string& cubin) {
  const TemporaryFile file(cubin);
  if (!file.is_written()) {
    return absl::UnavailableError(absl::StrCat("cannot write ", file.path()));
  }
  const std::string command = absl::StrCat("'", program, "' -c -hex ", file.path(), " 2>&1");
  const std::unique_ptr<FILE, int (*)(FILE*)> pipe(popen(command.c_str(), "r"), pclose);
  if (pipe == nullptr) return absl::UnavailableError(absl::StrCat("cannot run ", command));
  std::string text;
  std::vector<char> buffer(1 << 16);
  while (const size_t bytes = fread(buffer.data(), 1, buffer.size(), pipe.get())) {
    text.append(buffer.data(), bytes);
  }
  if (!absl::StrContains(text, ".text.")) {
    return absl::UnavailableError(absl::StrCat(command, " printed no code: ", text.substr(0, 200)));
  }
  return text;
}

absl::StatusOr<std::vector<Instruction>> ParseSass(std::string_view text) {
  std::vector<Instruction> instructions;
  std::vector<std::string> targets;  // of each, a label or nothing
  std::map<std::string, int> labels;
  for (const absl::string_view line :
       absl::StrSplit(absl::string_view(text.data(), text.size()), '\n')) {
    if (absl::StartsWith(line, ".L_") && absl::EndsWith(line, ":")) {
      labels[std::string(line.substr(0, line.size() - 1))] = static_cast<int>(instructions.size());
      continue;
    }
    const std::optional<Line> parsed = ParseLine(line);
    if (!parsed) {
      // The upper half of an instruction's encoding is alone on the next line.
      const std::optional<uint64_t> upper = Encoding(line);
      if (upper && !instructions.empty()) instructions.back().control = ControlOf(*upper);
      continue;
    }
    instructions.push_back({.opcode = std::string(parsed->opcode),
                            .operands = std::string(absl::StripAsciiWhitespace(parsed->operands)),
                            .is_never = parsed->predicate == "!PT",
                            .falls_through = parsed->falls_through()});
    targets.emplace_back(parsed->is_jump() ? Between(parsed->operands, "`(", ")").value_or("")
                                           : "");
  }
  if (instructions.empty()) return absl::InvalidArgumentError("no instructions were found");
  for (size_t i = 0; i < instructions.size(); ++i) {
    if (targets[i].empty()) continue;
    const auto label = labels.find(targets[i]);
    if (label == labels.end()) {
      return absl::InvalidArgumentError(absl::StrCat("no label ", targets[i], " was found"));
    }
    instructions[i].target = label->second;
  }
  return instructions;
}

absl::StatusOr<LoopCounts> CountMainLoop(const std::vector<Instruction>& instructions,
                                         std::string_view product) {
  const Flow flow(instructions);
  std::vector<bool> seen(instructions.size());
  std::optional<LoopCounts> best;
  for (size_t i = 0; i < instructions.size(); ++i) {
    if (seen[i] || !Is(instructions[i], product)) continue;
    const std::vector<bool> after = Reached(flow.forward, i);
    if (!after[i]) continue;
    const std::vector<bool> before = Reached(flow.backward, i);
    LoopCounts counts;
    for (size_t j = 0; j < instructions.size(); ++j) {
      const bool is_inside = after[j] && before[j];
      seen[j] = seen[j] || is_inside;
      Count(instructions[j], product, is_inside ? counts.inside : counts.outside);
      if (is_inside) counts.loop.push_back(instructions[j]);
    }
    if (!best || counts.inside.products > best->inside.products) best = counts;
  }
  if (!best) return absl::NotFoundError(absl::StrCat("no loop has ", std::string(product)));
  return *best;
}

}  // namespace mlpserve::cuda
