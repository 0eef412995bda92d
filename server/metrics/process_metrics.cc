#include "server/metrics/process_metrics.h"

#include <sys/resource.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <optional>
#include <sstream>
#include <string>
#include <system_error>

#include "server/metrics/family_writer.h"
#include "server/metrics/metric_table.h"

namespace mlpserve {
namespace {

// Fields of /proc/self/stat, by their numbers in proc(5); those before the third hold the name,
// which may have spaces.
struct Stat {
  double user_ticks = 0;      // 14
  double system_ticks = 0;    // 15
  double start_ticks = 0;     // 22, since the machine started
  double virtual_bytes = 0;   // 23
  double resident_pages = 0;  // 24
};

std::optional<Stat> ReadStat() {
  std::ifstream file("/proc/self/stat");
  std::string line;
  if (!std::getline(file, line) || line.rfind(')') == std::string::npos) return std::nullopt;
  std::istringstream fields(line.substr(line.rfind(')') + 1));
  Stat stat;
  std::string field;
  for (int number = 3; number <= 24 && fields >> field; ++number) {
    if (number == 14) stat.user_ticks = std::stod(field);
    if (number == 15) stat.system_ticks = std::stod(field);
    if (number == 22) stat.start_ticks = std::stod(field);
    if (number == 23) stat.virtual_bytes = std::stod(field);
    if (number == 24) stat.resident_pages = std::stod(field);
  }
  return stat;
}

// When the machine started, since the epoch.
std::optional<double> BootTime() {
  std::ifstream file("/proc/stat");
  std::string name;
  for (std::string line; std::getline(file, line);) {
    double seconds = 0;
    if (std::istringstream(line) >> name >> seconds && name == "btime") return seconds;
  }
  return std::nullopt;
}

std::optional<double> CountOpenFiles() {
  std::error_code error;
  std::filesystem::directory_iterator files("/proc/self/fd", error);
  double count = -1;  // the folder itself is open
  for (; !error && files != std::filesystem::directory_iterator(); files.increment(error)) ++count;
  if (error || count < 0) return std::nullopt;
  return count;
}

void WriteLimit(FamilyWriter& writer, MetricId id, int resource) {
  rlimit limit{};
  if (getrlimit(static_cast<__rlimit_resource>(resource), &limit) != 0) return;
  const bool none = limit.rlim_cur == RLIM_INFINITY;
  writer.Add(id, {}, none ? -1 : static_cast<double>(limit.rlim_cur));
}

}  // namespace

void WriteProcessMetrics(FamilyWriter& writer) {
  const auto ticks = static_cast<double>(sysconf(_SC_CLK_TCK));
  if (const auto stat = ReadStat()) {
    writer.Add(MetricId::kProcessCpu, {}, (stat->user_ticks + stat->system_ticks) / ticks);
    writer.Add(MetricId::kProcessVirtualMemory, {}, stat->virtual_bytes);
    writer.Add(MetricId::kProcessResidentMemory, {},
               stat->resident_pages * static_cast<double>(sysconf(_SC_PAGESIZE)));
    if (const auto boot = BootTime()) {
      writer.Add(MetricId::kProcessStartTime, {}, *boot + stat->start_ticks / ticks);
    }
  }
  if (const auto files = CountOpenFiles()) writer.Add(MetricId::kProcessOpenFiles, {}, *files);
  WriteLimit(writer, MetricId::kProcessMaxFiles, RLIMIT_NOFILE);
  WriteLimit(writer, MetricId::kProcessVirtualMemoryMax, RLIMIT_AS);
}

}  // namespace mlpserve
