#include "kernels/cuda/sheet/measuring_plan.h"

#include <algorithm>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "kernels/cuda/tiles/choose.h"
#include "kernels/cuda/tiles/device_limits.h"
#include "kernels/cuda/tiles/tuning_space.h"

namespace mlpserve::cuda {
namespace {

constexpr ComputeType kTypes[] = {ComputeType::kBf16, ComputeType::kFp16, ComputeType::kTf32,
                                  ComputeType::kFp32};
constexpr int kColumns = 2;  // the most of the three blocks' epilogues

std::string LowerName(ComputeType type) {
  return absl::AsciiStrToLower(std::string(mlpserve::Name(type)));
}

// What writes it, and how.
constexpr char kHeading[] = "# Written by kernel_sheet (kernels/cuda/sheet): ";

}  // namespace

std::string VariantText(const KernelConfig& config) {
  constexpr const char* kLetters[] = {"f:", "m:", "n:"};
  if (config.tile.index() >= std::size(kLetters)) return "";
  const std::string tile = std::visit([](const auto& t) { return Name(t); }, config.tile);
  return absl::StrCat(kLetters[config.tile.index()], tile,
                      config.split_k > 1 ? absl::StrCat(".k", config.split_k) : "");
}

std::string TimingPlan() {
  std::string plan = absl::StrCat(
      kHeading,
      "for each type and number of rows all\n# kernels that a server on an RTX 4090 would",
      " time at load, with the epilogues of the three blocks.\n");
  for (const ComputeType type : kTypes) {
    for (const int64_t rows : kMeasuredRows) {
      absl::StrAppend(&plan, "time seconds=0.3 m=", rows, " n=", kMeasuredWidth,
                      " k=", kMeasuredWidth, " type=", LowerName(type),
                      " epilogue=gelu,sigmoid,affine");
      for (const Proposal& proposal :
           ChooseConfigs({.m = rows, .n = kMeasuredWidth, .k = kMeasuredWidth}, type,
                         StorageType(type), {.columns = kColumns}, Rtx4090())) {
        absl::StrAppend(&plan, " ", VariantText(proposal.config));
      }
      plan += "\n";
    }
  }
  return plan;
}

std::string CheckPlan() {
  std::string plan = absl::StrCat(
      kHeading, "every tile of the tuning space of sm_89, whole and\n# split, at shapes",
      " that are no multiple of any tile, with padded rows.\n");
  for (const ComputeType type : kTypes) {
    std::string whole, split;
    for (const Tile& tile : TuningSpace(type, Rtx4090())) {
      absl::StrAppend(&whole, " ", VariantText({.tile = tile}));
      absl::StrAppend(&split, " ", VariantText({.tile = tile, .split_k = 4}));
    }
    const std::string name = LowerName(type);
    absl::StrAppend(&plan, "check m=1,33,130 n=520 k=264 type=", name,
                    " epilogue=gelu,affine pad=8", whole, "\n");
    absl::StrAppend(&plan, "check m=9,300 n=329 k=33 type=", name, " epilogue=affine,input pad=7",
                    whole, "\n");
    absl::StrAppend(&plan, "check m=5,140 n=520 k=2056 type=", name,
                    " epilogue=sigmoid,input pad=8", split, "\n");
  }
  return plan;
}

}  // namespace mlpserve::cuda
