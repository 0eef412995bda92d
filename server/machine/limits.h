// What this process may use of the machine: processors and memory, as its affinity and its cgroups
// (versions 1 and 2) allow, which in a container is far less than the machine has.
#pragma once

#include <cstdint>
#include <string>

namespace mlpserve {

struct MachineLimits {
  int processors = 1;        // the affinity's, or a quota's rounded up; never below 1
  int64_t memory_bytes = 0;  // the machine's or the smallest limit above this process; 0: unknown
};

// Reads /proc and /sys/fs/cgroup, a few files. `root` stands before every path, for tests; the
// affinity is always that of the calling thread.
MachineLimits ReadMachineLimits(const std::string& root = "");

// ReadMachineLimits().processors as the process started with it: read once.
int UsableProcessors();

}  // namespace mlpserve
