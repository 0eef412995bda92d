#include "kernels/cpu/instruction_set.h"
#include "server/engine/cpu_backend.h"
#include "tests/conformance/conformance.h"

namespace mlpserve {
namespace {

std::unique_ptr<Backend> OneThread() {
  cpu::UseInstructionSet("");
  return MakeCpuBackend({.threads = 1});
}

std::unique_ptr<Backend> FourThreads() {
  cpu::UseInstructionSet("");
  return MakeCpuBackend({.threads = 4});
}

// Where the processor does not have the set, these run with the best it has, as the others do.
template <int kPlace>  // from the end of the list: 0 is the oldest
std::unique_ptr<Backend> OlderProcessor() {
  const std::vector<std::string> sets = cpu::InstructionSets();
  const int place = static_cast<int>(sets.size()) - 1 - kPlace;
  cpu::UseInstructionSet(sets[static_cast<size_t>(place > 0 ? place : 0)]);
  return MakeCpuBackend({.threads = 2});
}

INSTANTIATE_TEST_SUITE_P(
    Cpu, BackendConformance,
    testing::Values(
        ConformanceBackend{.name = "OneThread", .make = OneThread, .random_blocks = 500},
        ConformanceBackend{.name = "FourThreads", .make = FourThreads, .random_blocks = 500},
        ConformanceBackend{.name = "OldestInstructions", .make = OlderProcessor<0>},
        ConformanceBackend{.name = "OlderInstructions", .make = OlderProcessor<1>},
        ConformanceBackend{.name = "OldInstructions", .make = OlderProcessor<2>}),
    BackendName);

}  // namespace
}  // namespace mlpserve
