#include "server/machine/limits.h"

#include <sched.h>

#include <algorithm>
#include <cmath>
#include <fstream>
#include <limits>
#include <optional>
#include <sstream>
#include <string_view>
#include <thread>
#include <vector>

namespace mlpserve {
namespace {

constexpr int64_t kNone = std::numeric_limits<int64_t>::max();

// The first word of a file as a number; nothing where it is none, as "max" is.
std::optional<int64_t> ReadNumber(const std::string& path) {
  int64_t number = 0;
  if (std::ifstream file(path); file >> number) return number;
  return std::nullopt;
}

int AffinityProcessors() {
  // The kernel refuses a set that is too small for its processors.
  for (size_t processors = 1024; processors <= (size_t{1} << 20); processors *= 2) {
    std::vector<cpu_set_t> set(processors / CPU_SETSIZE);
    const size_t bytes = set.size() * sizeof(cpu_set_t);
    if (sched_getaffinity(0, bytes, set.data()) == 0) return CPU_COUNT_S(bytes, set.data());
  }
  return static_cast<int>(std::thread::hardware_concurrency());
}

// A hierarchy of cgroups: where it is mounted, and this process's path below that folder.
struct Hierarchy {
  bool unified = false;     // version 2
  std::string controllers;  // ",cpu,cpuacct," of version 1
  std::string mount;
  std::string path;
};

// A mount may show only a part of its hierarchy, as it does in a container without a cgroup
// namespace: "root" is then that part's path, and the process's path begins with it.
std::string Below(const std::string& root, const std::string& path) {
  if (root == "/") return path == "/" ? "" : path;
  if (path.compare(0, root.size(), root) != 0) return "";
  return path.substr(root.size());
}

// The path of this process in the hierarchy with `controllers`; version 2 has none.
std::string PathOf(const std::string& proc_cgroup, const std::string& controllers) {
  std::ifstream file(proc_cgroup);
  for (std::string line; std::getline(file, line);) {
    const size_t first = line.find(':');
    const size_t second = line.find(':', first + 1);
    if (first == std::string::npos || second == std::string::npos) continue;
    const std::string named = line.substr(first + 1, second - first - 1);
    if (named == controllers) return line.substr(second + 1);
  }
  return "/";
}

// https://man7.org/linux/man-pages/man5/proc_pid_mountinfo.5.html
std::vector<Hierarchy> ReadHierarchies(const std::string& root) {
  std::vector<Hierarchy> found;
  std::ifstream file(root + "/proc/self/mountinfo");
  for (std::string line; std::getline(file, line);) {
    const size_t dash = line.find(" - ");
    if (dash == std::string::npos) continue;
    std::string id, parent, device, part, mount, type, source, options;
    std::istringstream(line) >> id >> parent >> device >> part >> mount;
    std::istringstream(line.substr(dash + 3)) >> type >> source >> options;
    if (type != "cgroup" && type != "cgroup2") continue;
    Hierarchy hierarchy{.unified = type == "cgroup2", .mount = root + mount};
    // The mount's folder is named after the controllers as /proc/self/cgroup writes them.
    std::string controllers = hierarchy.unified ? "" : mount.substr(mount.rfind('/') + 1);
    hierarchy.controllers = "," + controllers + ",";
    hierarchy.path = Below(part, PathOf(root + "/proc/self/cgroup", controllers));
    found.push_back(std::move(hierarchy));
  }
  return found;
}

// The smallest value of `read` over the process's cgroup and those above it.
template <typename Read>
auto SmallestUpwards(const Hierarchy& hierarchy, Read read) {
  std::string path = hierarchy.path;
  auto smallest = read(hierarchy.mount + path);
  while (!path.empty()) {
    path.resize(path.rfind('/') == std::string::npos ? 0 : path.rfind('/'));
    smallest = std::min(smallest, read(hierarchy.mount + path));
  }
  return smallest;
}

double Quota(const Hierarchy& hierarchy, const std::string& folder) {
  constexpr double kAll = std::numeric_limits<double>::infinity();
  int64_t quota = 0, period = 0;
  if (hierarchy.unified) {
    std::ifstream file(folder + "/cpu.max");  // "max 100000" or "50000 100000"
    if (!(file >> quota >> period)) return kAll;
  } else {
    quota = ReadNumber(folder + "/cpu.cfs_quota_us").value_or(-1);
    period = ReadNumber(folder + "/cpu.cfs_period_us").value_or(0);
  }
  if (quota <= 0 || period <= 0) return kAll;
  return static_cast<double>(quota) / static_cast<double>(period);
}

int64_t Memory(const Hierarchy& hierarchy, const std::string& folder) {
  const char* const name = hierarchy.unified ? "/memory.max" : "/memory.limit_in_bytes";
  const int64_t bytes = ReadNumber(folder + name).value_or(kNone);
  return bytes > 0 ? bytes : kNone;
}

bool Has(const Hierarchy& hierarchy, std::string_view controller) {
  return hierarchy.unified || hierarchy.controllers.find(controller) != std::string::npos;
}

int64_t MachineMemory(const std::string& root) {
  std::ifstream file(root + "/proc/meminfo");
  std::string name;
  int64_t kib = 0;
  if (file >> name >> kib && name == "MemTotal:") return kib * 1024;
  return kNone;
}

}  // namespace

MachineLimits ReadMachineLimits(const std::string& root) {
  int64_t memory = MachineMemory(root);
  double quota = std::numeric_limits<double>::infinity();
  for (const Hierarchy& hierarchy : ReadHierarchies(root)) {
    if (Has(hierarchy, ",cpu,")) {
      quota = std::min(quota, SmallestUpwards(hierarchy, [&](const std::string& folder) {
                         return Quota(hierarchy, folder);
                       }));
    }
    if (Has(hierarchy, ",memory,")) {
      memory = std::min(memory, SmallestUpwards(hierarchy, [&](const std::string& folder) {
                          return Memory(hierarchy, folder);
                        }));
    }
  }
  int processors = std::max(1, AffinityProcessors());
  if (quota < processors) processors = static_cast<int>(std::ceil(quota));
  return {.processors = std::max(1, processors), .memory_bytes = memory == kNone ? 0 : memory};
}

int UsableProcessors() {
  static const int processors = ReadMachineLimits().processors;
  return processors;
}

}  // namespace mlpserve
