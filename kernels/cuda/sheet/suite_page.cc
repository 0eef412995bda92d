#include "kernels/cuda/sheet/suite_page.h"

#include <algorithm>
#include <map>
#include <numeric>
#include <variant>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "kernels/cuda/sheet/loop_model.h"
#include "kernels/cuda/sheet/measuring_plan.h"
#include "kernels/cuda/sheet/roofline.h"
#include "kernels/cuda/sheet/sass.h"
#include "kernels/cuda/tiles/choose.h"
#include "kernels/status/status_macros.h"

namespace mlpserve::cuda {
namespace {

constexpr char kLoopsText[] =
    "\n## Loops\n\n"
    "What a model of one SM predicts of the loop over k, in steady state (`loop_model.h`): each "
    "instruction of the loop, decoded from\nthe SASS with its stall count and scoreboards, is "
    "issued cycle by cycle, for all warps of the SM. *stalls*: the stall counts of\na warp's pass, "
    "added up; *cycles*: what a pass takes. Then the shares of these cycles in which the tensor "
    "pipe, the issue slots,\nshared memory and L2's delivery into the SM are busy, and the bytes "
    "that L2 delivers to the SM in a clock. *limited by*: the\nbusiest, if it is busy for nine "
    "tenths; otherwise latency. Its rates are published ones: NVIDIA's peaks, "
    "above; L2\n13.34 bytes a clock an SM (1708 over 128 SMs), and latencies of products 33, "
    "shared "
    "memory 30, L2 273, memory 541 cycles (Luo et al.,\n\"Benchmarking and Dissecting the Nvidia "
    "Hopper GPU Architecture\", arXiv 2402.13499, who measured an RTX 4090); shared memory and\nL1 "
    "128 bytes a clock, integer instructions 16 lanes a quarter (CUDA Programming Guide). 20 "
    "cycles "
    "for a barrier are an estimate.\nDoubling the latencies of memory, L2 and shared memory moves "
    "none of the six predictions below by 0.2 points.\n\n";

constexpr char kPublishedText[] =
    "\nHeld against spatters' published steps (github.com/spatters/mma-matmul: FP16, M = N = K = "
    "4096, clocks locked at 2520 MHz),\nwhole kernels, of the 165.2 TFLOP/s peak; a test computes "
    "the "
    "predictions anew from recorded SASS:\n\n"
    "| step | published | predicted | off by |\n| --- | ---: | ---: | ---: |\n"
    "| 1.0 naive | 17.8% | 19.8% | +11.5% |\n"
    "| 1.1 tiles of 2 x 2 | 34.7% | 39.6% | +14.1% |\n"
    "| 2.0 permuted shared memory | 77.0% | 78.2% | +1.6% |\n"
    "| 2.1 registers | 80.8% | 81.4% | +0.7% |\n"
    "| 3.0 three stages of cp.async | 83.2% | 81.5% | -2.0% |\n"
    "| 3.1 tiles of 4 x 4 | 93.0% | 97.9% | +5.3% |\n\n"
    "Within 3%: 2.0, 2.1 and 3.0. How far that counts: 2.1 and 3.0 are both limited by L2, and so "
    "confirm one number, 1708 over 128 SMs.\n2.0 depends on what a load through L1 (LDG) costs, "
    "for "
    "which four rules were tried with the published column in view, and one of\nthem kept: L1 "
    "filled by bytes and read line by line. Predictions of 1.0, 1.1 and 2.0 by each:\n\n"
    "| rule | 1.0 | 1.1 | 2.0 |\n| --- | ---: | ---: | ---: |\n"
    "| nothing | 28.3% | 56.4% | 81.5% |\n"
    "| filled and read by bytes | 22.0% | 44.0% | 81.5% |\n"
    "| filled by bytes, read by lines (kept) | 19.8% | 39.6% | 78.2% |\n"
    "| filled and read by lines | 18.1% | 35.9% | 71.3% |\n\n"
    "No rule brings all three within 3%. Our loops have no LDG, so that none of their figures "
    "depends on the choice; 2.1, 3.0 and 3.1 do\nnot either. 3.1, the step most like our tiles, is "
    "5.3% too high: it reaches the very figure of cuBLAS in the same table (93.0%), and\nnothing "
    "in "
    "its instructions says why not more. **So the model does not hold within 3% where it says "
    "\"tensor\": read such a share\nas at most that, 93% having been reached.** The tables of Luo "
    "et al. could not be opened when this was written: their latencies hardly\ncount, the L2 rate "
    "decides wherever L2 limits.\n";

constexpr char kSuiteText[] =
    "\n## Suite\n\n"
    "For every layer of `kernels/plans/suite.plan` the kernel that `ChooseConfigs` ranks first (a "
    "server times all it proposes), by the\nletter of its loop above (FP16 by BF16's), a number "
    "behind it: CTAs that share a sum. Then the share of the card's tensor pipe, in\npercent, that "
    "the model predicts over the whole launch: the loop, the start and end of tiles (of an "
    "epilogue "
    "heavier than any of\nthe three blocks, nothing of it hidden), rows and columns of tiles that "
    "y "
    "has not, and places for CTAs that have none in the\nlast wave. Such a place counts as idle, "
    "though the other CTA of its SM then goes faster: with few tiles the share is a lower "
    "bound.\nWith m, reading every operand once takes longer than all that, and the share is what "
    "memory leaves.\n";

struct Predicted {
  std::string letter;
  LoopWarps warps;
  LoopSpeed speed;
  InstructionCounts outside;
  int depth = 0;  // of k in a pass
};
using Predictions = std::map<std::pair<ComputeType, std::string>, Predicted>;

struct TileSize {
  int m = 0, n = 0, k = 0;
};
TileSize SizeOf(const Tile& tile) {
  if (const auto* t = std::get_if<MmaTile>(&tile)) return {t->tile_m, t->tile_n, t->tile_k};
  if (const auto* t = std::get_if<MmaRowsTile>(&tile)) return {t->tile_m, t->tile_n, t->tile_k};
  return {};
}

std::string LetterOf(size_t index) {
  constexpr size_t kLetters = 26;
  const std::string last(1, static_cast<char>('a' + index % kLetters));
  return index < kLetters ? last : LetterOf(index / kLetters - 1) + last;
}

absl::StatusOr<std::string> LoopRow(const SpaceKernel& kernel, const std::string& disassembler,
                                    Predicted& predicted) {
  MLPSERVE_RETURN_IF_ERROR(kernel.compiled.status());
  MLPSERVE_ASSIGN_OR_RETURN(const std::string text,
                            Disassemble(disassembler, kernel.compiled->cubin));
  MLPSERVE_ASSIGN_OR_RETURN(const std::vector<Instruction> instructions, ParseSass(text));
  MLPSERVE_ASSIGN_OR_RETURN(const LoopCounts counts, CountMainLoop(instructions, "HMMA"));
  predicted.warps = {.ctas = kernel.ctas_per_sm(), .warps_per_cta = kernel.planned.threads / 32};
  predicted.speed = SpeedOf(counts.loop, predicted.warps);
  predicted.outside = counts.outside;
  predicted.depth = SizeOf(kernel.config.tile).k;
  const int stalls = std::accumulate(
      counts.loop.begin(), counts.loop.end(), 0,
      [](int sum, const Instruction& i) { return sum + std::max(1, i.control.stall); });
  const LoopSpeed& s = predicted.speed;
  return absl::StrFormat(
      "| %s | %s | %d | %d | %.0f | %.0f%% | %.0f%% | %.0f%% | %.0f%% | %.1f | %s |\n",
      predicted.letter, VariantText(kernel.config), counts.inside.all, stalls, s.cycles,
      100 * s.tensor_share, 100 * s.issue_share, 100 * s.shared_share, 100 * s.l2_share,
      s.l2_bytes_per_clock, s.limit());
}

Proposal FirstOf(const GemmShape& shape, ComputeType type, int columns,
                 const DeviceLimits& limits) {
  const std::vector<Proposal> proposals =
      ChooseConfigs(shape, type, StorageType(type), {.columns = columns}, limits);
  return *std::ranges::min_element(proposals, {}, &Proposal::estimate_us);
}

double PredictedShare(const GemmShape& shape, ComputeType type, int columns, const Proposal& pick,
                      const Predicted& p, const DeviceLimits& limits, bool& is_memory) {
  const TileSize tile = SizeOf(pick.config.tile);
  const int split = pick.config.split_k;
  const double area = static_cast<double>(tile.m) * tile.n;
  // Sums that are shared go through L2 in FP32, there and back.
  const double written =
      area * (split > 1 ? 8.0 : static_cast<double>(ByteSize(StorageType(type))));
  const auto passes = static_cast<int>(CeilDivide(shape.k, int64_t{split} * p.depth));
  const double used = static_cast<double>(shape.m) * static_cast<double>(shape.n) *
                      static_cast<double>(split) /
                      (area * static_cast<double>(pick.ctas));  // of a tile's products
  const double share =
      TensorShareOfTiles(
          p.speed, p.warps,
          {.passes = passes, .instructions = p.outside.all, .written_bytes = written}) *
      pick.fill() * used;
  const Roofline least = RooflineOf(shape, type, columns, limits);
  const double by_memory = least.arithmetic_us / least.us();
  is_memory = by_memory < share;
  return std::min(share, by_memory);
}

std::string SuiteRow(const SuiteLine& line, const Predictions& predictions,
                     const DeviceLimits& limits) {
  std::string row =
      absl::StrCat("| ", std::string(mlpserve::Name(line.compute)), " ",
                   absl::StrJoin(line.blocks, ", "), " | ", line.outputs, " x ", line.inputs, " |");
  const int columns = std::ranges::find(line.blocks, "batch_norm") == line.blocks.end() ? 0 : 2;
  for (const int64_t rows : line.rows) {
    const GemmShape shape{.m = rows, .n = line.outputs, .k = line.inputs};
    const Proposal pick = FirstOf(shape, line.compute, columns, limits);
    const auto found = predictions.find({line.compute, VariantText({.tile = pick.config.tile})});
    if (found == predictions.end()) {  // no loop of tensor cores
      row += " – |";
      continue;
    }
    bool is_memory = false;
    const double share =
        PredictedShare(shape, line.compute, columns, pick, found->second, limits, is_memory);
    absl::StrAppendFormat(&row, " %s%s %.0f%s |", found->second.letter,
                          pick.config.split_k > 1 ? absl::StrCat(pick.config.split_k) : "",
                          100 * share, is_memory ? "m" : "");
  }
  return row + "\n";
}

}  // namespace

absl::StatusOr<std::string> SuitePage(const std::vector<SpaceKernel>& kernels,
                                      const std::string& disassembler,
                                      const std::vector<SuiteLine>& suite) {
  const DeviceLimits limits = Rtx4090();
  std::string page = absl::StrCat(
      kLoopsText,
      "| | loop | instructions | stalls | cycles | tensor | issue | shared | L2 | bytes a clock | "
      "limited by |\n",
      "| --- | --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | --- |\n");
  Predictions predictions;
  std::map<ComputeType, size_t> counts;
  for (const SpaceKernel& kernel : kernels) {
    const ComputeType type = kernel.config.compute;
    if (kernel.limits.arch != limits.arch || type == ComputeType::kFp32) continue;
    Predicted predicted{.letter = LetterOf(counts[type]++)};
    MLPSERVE_ASSIGN_OR_RETURN(const std::string row, LoopRow(kernel, disassembler, predicted));
    // FP16's loops are BF16's.
    if (type != ComputeType::kFp16) {
      absl::StrAppend(&page, row.substr(0, 2), std::string(mlpserve::Name(type)), " ",
                      row.substr(2));
    }
    predictions[{type, VariantText(kernel.config)}] = predicted;
  }
  absl::StrAppend(&page, kPublishedText, kSuiteText);
  std::vector<int64_t> rows;
  for (const SuiteLine& line : suite) {
    if (line.rows != rows) {
      rows = line.rows;
      absl::StrAppend(&page, "\n| block | outputs x inputs | ", absl::StrJoin(rows, " | "), " |\n",
                      "| --- | --- |");
      for (size_t i = 0; i < rows.size(); ++i) page += " --- |";
      page += "\n";
    }
    page += SuiteRow(line, predictions, limits);
  }
  return page;
}

}  // namespace mlpserve::cuda
