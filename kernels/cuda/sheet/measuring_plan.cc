#include "kernels/cuda/sheet/measuring_plan.h"

#include <string>
#include <string_view>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
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

// The first line of a plan says how it was written.
constexpr char kHeading[] = "# Written by kernel_sheet (kernels/cuda/sheet): ";

}  // namespace

std::string VariantText(const KernelConfig& config) {
  const std::string tile = std::visit([](const auto& t) { return Name(t); }, config.tile);
  return absl::StrCat(std::string(MainLoopName(config.tile)), ".", tile,
                      config.split_k > 1 ? absl::StrCat(".k", config.split_k) : "");
}

std::string TimingPlan() {
  std::string plan = absl::StrCat(
      kHeading, "for each type and number of rows all\n# kernels that a server on an RTX 4090",
      " would time at load, with the epilogues of the three blocks.\n");
  for (const ComputeType type : kTypes) {
    for (const int64_t rows : kMeasuredRows) {
      std::vector<std::string> variants;
      for (const Proposal& proposal :
           ChooseConfigs({.m = rows, .n = kMeasuredWidth, .k = kMeasuredWidth}, type,
                         StorageType(type), {.columns = kColumns}, Rtx4090())) {
        variants.push_back(VariantText(proposal.config));
      }
      absl::StrAppend(&plan, "time m=", rows, " n=", kMeasuredWidth, " k=", kMeasuredWidth,
                      " dtype=", LowerName(type), " epilogue=gelu,sigmoid,batch_norm seconds=0.3",
                      " variants=", absl::StrJoin(variants, ","), "\n");
    }
  }
  return plan;
}

std::string CheckPlan() {
  std::string plan = absl::StrCat(
      kHeading, "every tile of the tuning space of sm_89, whole and\n# split, at shapes",
      " that are no multiple of any tile, with padded rows.\n");
  for (const ComputeType type : kTypes) {
    std::vector<std::string> whole, split;
    for (const Tile& tile : TuningSpace(type, Rtx4090())) {
      whole.push_back(VariantText({.tile = tile}));
      split.push_back(VariantText({.tile = tile, .split_k = 4}));
    }
    const auto check = [&](std::string_view shape, std::string_view epilogue, int padding,
                           const std::vector<std::string>& variants) {
      absl::StrAppend(&plan, "check ", std::string(shape), " dtype=", LowerName(type), " ",
                      std::string(epilogue), " padding=", padding,
                      " variants=", absl::StrJoin(variants, ","), "\n");
    };
    constexpr std::string_view kAddInput = "ops=[{\"add_input\":{}}]";
    check("m=1,33,130 n=520 k=264", "epilogue=gelu,batch_norm", 8, whole);
    check("m=9,300 n=329 k=33", "epilogue=batch_norm", 7, whole);
    check("m=9,300 n=33 k=33", kAddInput, 7, whole);
    check("m=5,140 n=520 k=2056", "epilogue=sigmoid", 8, split);
    check("m=5,140 n=520 k=520", kAddInput, 8, split);
  }
  return plan;
}

}  // namespace mlpserve::cuda
