// An entry: one line "mlpserve-kernel-1 <digest of key and rest>", one line of seven numbers, the
// log, the cubin.
#include <array>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "kernels/cuda/jit/kernel_cache.h"
#include "kernels/cuda/jit/sha256.h"

namespace mlpserve::cuda {
namespace {

constexpr std::string_view kFormat = "mlpserve-kernel-1 ";

// Cuts `bytes` after its first line and returns that, without its end.
std::string_view TakeLine(std::string_view& bytes) {
  const size_t end = std::min(bytes.find('\n'), bytes.size());
  const std::string_view line = bytes.substr(0, end);
  bytes.remove_prefix(std::min(end + 1, bytes.size()));
  return line;
}

}  // namespace

std::string EncodeEntry(const std::string& key, const CompiledKernel& kernel) {
  const KernelResources& r = kernel.resources;
  const std::string rest =
      absl::StrCat(r.registers, " ", r.stack_bytes, " ", r.spill_store_bytes, " ",
                   r.spill_load_bytes, " ", r.static_shared_bytes, " ", kernel.log.size(), " ",
                   kernel.cubin.size(), "\n", kernel.log, kernel.cubin);
  return absl::StrCat(std::string(kFormat), Sha256Hex({key, rest}), "\n", rest);
}

std::optional<CompiledKernel> DecodeEntry(const std::string& key, std::string_view bytes) {
  std::string_view rest = bytes;
  const std::string_view heading = TakeLine(rest);
  if (heading != std::string(kFormat) + Sha256Hex({key, rest})) return std::nullopt;
  const std::string_view line = TakeLine(rest);
  std::array<int, 7> numbers = {};
  size_t count = 0;
  for (const absl::string_view word :
       absl::StrSplit(absl::string_view(line.data(), line.size()), ' ')) {
    if (count == numbers.size() || !absl::SimpleAtoi(word, &numbers[count++])) return std::nullopt;
  }
  const size_t log_size = numbers[5];
  const size_t cubin_size = numbers[6];
  if (count != numbers.size() || rest.size() != log_size + cubin_size) return std::nullopt;
  return CompiledKernel{.cubin = std::string(rest.substr(log_size)),
                        .log = std::string(rest.substr(0, log_size)),
                        .resources = {.registers = numbers[0],
                                      .stack_bytes = numbers[1],
                                      .spill_store_bytes = numbers[2],
                                      .spill_load_bytes = numbers[3],
                                      .static_shared_bytes = numbers[4]}};
}

}  // namespace mlpserve::cuda
