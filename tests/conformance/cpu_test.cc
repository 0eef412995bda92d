#include "server/engine/cpu_backend.h"
#include "tests/conformance/conformance.h"

namespace mlpserve {
namespace {

std::unique_ptr<Backend> OneThread() { return MakeCpuBackend({.threads = 1}); }
std::unique_ptr<Backend> FourThreads() { return MakeCpuBackend({.threads = 4}); }

INSTANTIATE_TEST_SUITE_P(
    Cpu, BackendConformance,
    testing::Values(
        ConformanceBackend{.name = "OneThread", .make = OneThread, .random_blocks = 500},
        ConformanceBackend{.name = "FourThreads", .make = FourThreads, .random_blocks = 500}),
    BackendName);

}  // namespace
}  // namespace mlpserve
