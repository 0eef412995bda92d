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

bool Is(const Instruction& instruction, absl::string_view name) {
  absl::string_view rest = instruction.opcode;
  return absl::ConsumePrefix(&rest, name) && (rest.empty() || rest[0] == '.');
}

// Bytes of shared memory that all lanes together read or write; LDSM.x4 reads four matrices of 128
// bytes.
int SharedBytes(const Instruction& instruction) {
  if (Is(instruction, "LDSM")) return absl::EndsWith(instruction.opcode, ".4") ? 512 : 256;
  const bool is_wide = absl::StrContains(instruction.opcode, ".128");
  return kLanes * (is_wide ? 16 : absl::StrContains(instruction.opcode, ".64") ? 8 : 4);
}

void Count(const Instruction& instruction, absl::string_view product, InstructionCounts& counts) {
  ++counts.all;
  if (instruction.is_never) return;
  if (Is(instruction, product)) {
    ++counts.products;
  } else if (Is(instruction, "LDSM") || Is(instruction, "LDS")) {
    ++counts.shared_loads;
    counts.shared_bytes += SharedBytes(instruction);
  } else if (Is(instruction, "LDGSTS")) {
    ++counts.copies;
    counts.shared_bytes += SharedBytes(instruction);
  } else if (Is(instruction, "LDG")) {
    ++counts.copies;
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

absl::StatusOr<std::string> Disassemble(const std::string& program, const std::string& cubin) {
  const TemporaryFile file(cubin);
  if (!file.is_written()) {
    return absl::UnavailableError(absl::StrCat("cannot write ", file.path()));
  }
  const std::string command = absl::StrCat("'", program, "' -c ", file.path(), " 2>&1");
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
    if (!parsed) continue;
    instructions.push_back({.opcode = std::string(parsed->opcode),
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
  const absl::string_view name(product.data(), product.size());
  const Flow flow(instructions);
  std::vector<bool> seen(instructions.size());
  std::optional<LoopCounts> best;
  for (size_t i = 0; i < instructions.size(); ++i) {
    if (seen[i] || !Is(instructions[i], name)) continue;
    const std::vector<bool> after = Reached(flow.forward, i);
    if (!after[i]) continue;
    const std::vector<bool> before = Reached(flow.backward, i);
    LoopCounts counts;
    for (size_t j = 0; j < instructions.size(); ++j) {
      const bool is_inside = after[j] && before[j];
      seen[j] = seen[j] || is_inside;
      Count(instructions[j], name, is_inside ? counts.inside : counts.outside);
    }
    if (!best || counts.inside.products > best->inside.products) best = counts;
  }
  if (!best) return absl::NotFoundError(absl::StrCat("no loop has ", std::string(product)));
  return *best;
}

}  // namespace mlpserve::cuda
