#include "kernels/cuda/sheet/sheet.h"

#include <algorithm>
#include <variant>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "kernels/cuda/sheet/measuring_plan.h"
#include "kernels/cuda/sheet/roofline.h"
#include "kernels/cuda/sheet/sass.h"
#include "kernels/cuda/sheet/suite_page.h"
#include "kernels/cuda/sheet/suite_shapes.h"
#include "kernels/cuda/tiles/choose.h"
#include "kernels/status/status_macros.h"

namespace mlpserve::cuda {
namespace {

// The cycles that one instruction of a warp takes on its quarter of an SM: 4096 or 2048 operations
// of an HMMA at 128 or 64 a clock, 64 of an FFMA at 64 a clock; these are the published peaks over
// 128 SMs, 4 quarters and 2520 MHz.
constexpr int kHmmaCycles = 32;
constexpr int kFfmaCycles = 1;
constexpr int kSharedBytesPerClock = 128;  // of an SM
constexpr int kQuarters = 4;

struct BlockName {
  const char* text;
  int columns;  // of its canonical epilogue
};
constexpr BlockName kBlocks[] = {
    {"scale → hardtanh → GELU", 0}, {"z + s·sigmoid(z)", 0}, {"scale → batch norm", 2}};
constexpr ComputeType kTypes[] = {ComputeType::kBf16, ComputeType::kFp16, ComputeType::kTf32,
                                  ComputeType::kFp32};

// A pass of the loop over k.
struct Pass {
  int depth;     // of k
  int products;  // instructions of a warp
};

struct PassReader {
  int element_bytes;

  int Deep(int tile_k) const { return tile_k * element_bytes / 32; }  // products one behind another
  Pass operator()(const FfmaTile& t) const {
    return {t.tile_k, t.tile_m / t.threads_m * (t.tile_n / t.threads_n) * (t.tile_k / t.threads_k)};
  }
  Pass operator()(const MmaTile& t) const {
    return {t.tile_k, t.tile_m / t.warps_m / 16 * (t.tile_n / t.warps_n / 8) * Deep(t.tile_k)};
  }
  Pass operator()(const MmaRowsTile& t) const {
    return {t.tile_k, t.tile_n / t.warps_n / 16 * (t.tile_m / 8) * Deep(t.tile_k)};
  }
  template <typename OtherTile>
  Pass operator()(const OtherTile&) const {
    return {};
  }
};

int RoundedPercent(int part, int whole) { return (100 * part + whole / 2) / whole; }

absl::StatusOr<std::string> KernelRow(const SpaceKernel& kernel, const std::string& disassembler) {
  MLPSERVE_RETURN_IF_ERROR(kernel.compiled.status());
  const KernelConfig& config = kernel.config;
  if (!kernel.compiled->resources.in_registers()) {
    return absl::InternalError(absl::StrCat(CodeName(config), " spills registers"));
  }
  const bool is_ffma = config.compute == ComputeType::kFp32;
  MLPSERVE_ASSIGN_OR_RETURN(const std::string text,
                            Disassemble(disassembler, kernel.compiled->cubin));
  MLPSERVE_ASSIGN_OR_RETURN(const std::vector<Instruction> instructions, ParseSass(text));
  MLPSERVE_ASSIGN_OR_RETURN(const LoopCounts counts,
                            CountMainLoop(instructions, is_ffma ? "FFMA" : "HMMA"));
  const InstructionCounts& loop = counts.inside;
  const int element_bytes = static_cast<int>(ByteSize(StorageType(config.compute)));
  const Pass pass = std::visit(PassReader{element_bytes}, config.tile);
  if (loop.products != pass.products) {
    return absl::InternalError(absl::StrCat(CodeName(config), ": expected ", pass.products,
                                            " products in the loop, found ", loop.products));
  }
  const int product_cycles = loop.products * (is_ffma ? kFfmaCycles : kHmmaCycles);
  const int shared_cycles = loop.shared_bytes * kQuarters / kSharedBytesPerClock;
  const int64_t passes = kMeasuredWidth / pass.depth;
  const int ctas = kernel.ctas_per_sm();
  return absl::StrFormat(
      "| %s %s | %d | %d | %d | %d | %d | %d | %d | %d | %d | %d%% | %s | %d |\n",
      std::string(MainLoopName(config.tile)),
      std::visit([](const auto& t) { return Name(t); }, config.tile),
      kernel.compiled->resources.registers, kernel.planned.shared_bytes, ctas,
      ctas * kernel.planned.threads / 32, pass.depth, loop.products, loop.shared_loads, loop.copies,
      loop.rest(), RoundedPercent(loop.all, product_cycles),
      is_ffma ? "–" : absl::StrCat(RoundedPercent(shared_cycles, product_cycles), "%"),
      passes * loop.all + counts.outside.all);
}

std::string LayerRow(ComputeType type, int64_t rows, const DeviceLimits& limits) {
  const GemmShape shape{.m = rows, .n = kMeasuredWidth, .k = kMeasuredWidth};
  std::string row = absl::StrCat("| ", std::string(mlpserve::Name(type)), " | ", rows, " |");
  for (const BlockName& block : kBlocks) {
    absl::StrAppendFormat(&row, " %.1f |", RooflineOf(shape, type, block.columns, limits).us());
  }
  const Roofline roofline = RooflineOf(shape, type, 0, limits);
  const bool is_memory = roofline.memory_us > roofline.arithmetic_us;
  const std::vector<Proposal> proposals =
      ChooseConfigs(shape, type, StorageType(type), {.columns = kBlocks[2].columns}, limits);
  const Proposal& best = *std::ranges::min_element(
      proposals,
      [](const Proposal& a, const Proposal& b) { return a.estimate_us < b.estimate_us; });
  const std::string tile = std::visit([](const auto& t) { return Name(t); }, best.config.tile);
  const double tflops =
      2e-6 * static_cast<double>(rows) * kMeasuredWidth * kMeasuredWidth / roofline.us();
  absl::StrAppendFormat(&row, " %s | %.1f | %s %s%s | %d | %d | %.0f%% |\n",
                        is_memory ? "memory" : "products", tflops,
                        std::string(MainLoopName(best.config.tile)), tile,
                        best.config.split_k > 1 ? absl::StrCat(".k", best.config.split_k) : "",
                        best.ctas, best.waves(), 100 * best.fill());
  return row;
}

std::string Heading(const DeviceLimits& limits, const std::string& compiler) {
  return absl::StrFormat(
      "# RTX 4090: what can be said without one\n\n"
      "**Nothing on this page was run on an RTX 4090.** Registers, shared memory and instructions "
      "are "
      "the compiler's; times are\narithmetic over published peaks. "
      "`build/release/bin/kernel_sheet` "
      "writes this page, and a test holds it to the tree. An\nowner of the card gets the measured "
      "table "
      "with `deploy/measure-4090`.\n\n%s\n\n"
      "| of the card | | source |\n| --- | --- | --- |\n"
      "| multiprocessors (SMs) | %d, 4 quarters each | NVIDIA Ada GPU Architecture, appendix A, "
      "GeForce "
      "RTX 4090 |\n"
      "| BF16, FP16 products, FP32 sums, dense | %.1f TFLOP/s at 2520 MHz | the same |\n"
      "| TF32 products, dense | %.1f TFLOP/s | the same |\n"
      "| FP32 | %.1f TFLOP/s | the same |\n"
      "| memory | %.0f GB/s | the same |\n"
      "| L2 | 72 MiB: less than any of these weights (128 or 256 MiB) | the same |\n"
      "| shared memory of a CTA, of an SM | %d, %d bytes, 1024 of them taken by CUDA for each "
      "CTA | "
      "CUDA Programming Guide, Compute Capabilities, 8.9 |\n"
      "| registers, threads, CTAs of an SM | %d, %d, %d | the same |\n",
      CompilerLine(compiler), limits.multiprocessors, limits.flops_per_s / 1e12,
      limits.tf32_flops_per_s() / 1e12, limits.fp32_flops_per_s / 1e12, limits.bytes_per_s / 1e9,
      limits.sm.shared_per_cta, limits.sm.shared_per_sm, limits.sm.registers_per_sm,
      limits.sm.threads_per_sm, limits.sm.ctas_per_sm);
}

constexpr char kKernelsText[] =
    "\n## Kernels\n\n"
    "Every tile of the tuning space, compiled with an epilogue that uses everything that takes "
    "registers (three column vectors,\na nested op, the block's input); nothing is spilled. A tile "
    "reads m x n x k, threads or warps, stages, CTAs of an SM that\nthe compiler was promised; "
    "for "
    "mma_rows n x m x k. A pass of the loop over k goes `k` deep; its instructions are those "
    "of\none "
    "warp, out of the SASS. *issue*: the cycles in which they are issued, of those that the "
    "products "
    "take at the peak rate;\n*shared*: the cycles in which shared memory is read and filled, of "
    "the "
    "same. Above 100%, the products cannot reach their peak\n(of no consequence for few rows, "
    "where "
    "reading weights takes longer). *per tile*: instructions of a warp for a whole tile,\nk = "
    "8192, "
    "each one outside the loop counted once. What loads of ffma take depends on how many lanes "
    "read "
    "the\nsame: not reckoned.\n";

constexpr char kLayersText[] =
    "\n## Roofline\n\n"
    "A whole layer, n = k = 8192, each of the three blocks: the longer of its products at the peak "
    "rate and of every operand moved\nonce at the peak bandwidth, in microseconds; then the kernel "
    "that "
    "`ChooseConfigs` ranks first (a server times all it proposes),\nand how it fills the card.\n\n";

}  // namespace

std::string CompilerLine(const std::string& compiler) {
  return absl::StrCat("Compiled by NVRTC ", compiler, " for sm_89.");
}

absl::StatusOr<std::string> Sheet(const std::vector<SpaceKernel>& kernels,
                                  const std::string& disassembler, const std::string& compiler,
                                  const std::string& suite) {
  if (disassembler.empty()) {
    return absl::UnavailableError(
        "expected nvdisasm, found none: it comes with the CUDA toolkit, and with PyPI's "
        "nvidia-cuda-nvdisasm; name its path as the second argument");
  }
  MLPSERVE_ASSIGN_OR_RETURN(const std::vector<SuiteLine> layers, ParseSuite(suite));
  const DeviceLimits limits = Rtx4090();
  std::string sheet = absl::StrCat(Heading(limits, compiler), kKernelsText);
  for (const ComputeType type : kTypes) {
    absl::StrAppend(&sheet, "\n| ", std::string(mlpserve::Name(type)),
                    " | registers | shared memory | CTAs per SM | warps per SM | k | products | "
                    "shared loads | copies | rest | issue | shared | per tile |\n| --- |",
                    " ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | "
                    "---: |\n");
    for (const SpaceKernel& kernel : kernels) {
      if (kernel.limits.arch != limits.arch || kernel.config.compute != type) continue;
      MLPSERVE_ASSIGN_OR_RETURN(const std::string row, KernelRow(kernel, disassembler));
      sheet += row;
    }
  }
  MLPSERVE_ASSIGN_OR_RETURN(const std::string predicted, SuitePage(kernels, disassembler, layers));
  absl::StrAppend(&sheet, predicted, kLayersText);
  sheet += "| type | rows |";
  for (const BlockName& block : kBlocks) absl::StrAppend(&sheet, " ", block.text, " |");
  sheet += " limited by | TFLOP/s | kernel | CTAs | waves | full |\n";
  sheet += "| --- | ---: | ---: | ---: | ---: | --- | ---: | --- | ---: | ---: | ---: |\n";
  for (const ComputeType type : kTypes) {
    for (const int64_t rows : kMeasuredRows) sheet += LayerRow(type, rows, limits);
  }
  return sheet;
}

}  // namespace mlpserve::cuda
