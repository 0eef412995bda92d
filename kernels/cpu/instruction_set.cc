#include "kernels/cpu/instruction_set.h"

#include <cstdint>

#include "hwy/highway.h"
#include "hwy/targets.h"

namespace mlpserve::cpu {
namespace {

// Highway's targets are bits; a lower bit is a better set.
int64_t LowestBit(int64_t targets) { return targets & -targets; }

}  // namespace

std::string InstructionSet() {
  return hwy::TargetName(LowestBit(hwy::SupportedTargets() & HWY_TARGETS));
}

std::string CommonInstructionSetName() {
  // Highway's AVX3 and what it adds with later processors are all steps of AVX-512.
  const std::string name = InstructionSet();
  return name.starts_with("AVX3") ? "AVX-512" : name;
}

std::vector<std::string> InstructionSets() {
  std::vector<std::string> names;
  int64_t targets = hwy::SupportedTargets() & HWY_TARGETS;
  for (; targets != 0; targets &= targets - 1) names.push_back(hwy::TargetName(LowestBit(targets)));
  return names;
}

void UseInstructionSet(const std::string& name) {
  hwy::SetSupportedTargetsForTest(0);
  int64_t chosen = 0;
  for (int64_t targets = hwy::SupportedTargets() & HWY_TARGETS; targets != 0;
       targets &= targets - 1) {
    if (name == hwy::TargetName(LowestBit(targets))) chosen = LowestBit(targets);
  }
  hwy::SetSupportedTargetsForTest(chosen);
  hwy::GetChosenTarget().Update(hwy::SupportedTargets());
}

}  // namespace mlpserve::cpu
