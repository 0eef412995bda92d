#include "server/status/status.h"

#include <unistd.h>

#include <fstream>
#include <utility>

#include "absl/strings/str_cat.h"
#include "server/status/page.h"

namespace mlpserve {
namespace {

AllCounts Read(const std::vector<Catalog::Entry>& entries) {
  AllCounts counts;
  for (const Catalog::Entry& entry : entries) {
    if (entry->metrics == nullptr) continue;
    counts[{entry->config.name, entry->version}] = BlockCounts::Of(entry->metrics->Statistics());
  }
  return counts;
}

std::string Describe(const TensorConfig& tensor) {
  return absl::StrCat(tensor.name, " ", std::string(Name(tensor.datatype)), " [", tensor.features,
                      "]");
}

std::string Signature(const BlockConfig& config) {
  if (config.layers.empty()) return "";
  return absl::StrCat(Describe(config.input), " → ", Describe(config.output), ", ",
                      config.layers.size(), config.layers.size() == 1 ? " layer" : " layers", ", ",
                      std::string(Name(config.compute)));
}

int64_t ResidentBytes() {
  std::ifstream file("/proc/self/statm");
  int64_t pages = 0, resident = 0;
  if (!(file >> pages >> resident)) return 0;
  return resident * ::sysconf(_SC_PAGESIZE);
}

}  // namespace

Status::Status(StatusFacts facts, const Catalog& catalog, const Metrics& metrics,
               std::function<absl::Status()> readiness)
    : facts_(std::move(facts)),
      catalog_(catalog),
      metrics_(metrics),
      readiness_(std::move(readiness)),
      start_(std::chrono::steady_clock::now()),
      sampler_([this](const std::stop_token& stop) { Sample(stop); }) {}

void Status::Sample(const std::stop_token& stop) {
  const std::stop_callback wake(stop, [this] {
    MutexLock lock(mutex_);
    woken_.NotifyAll();
  });
  MutexLock lock(mutex_);
  while (!stop.stop_requested()) {
    const auto now = std::chrono::steady_clock::now();
    history_.Record(now, Read(catalog_.All()));
    woken_.WaitUntil(mutex_, now + History::kInterval);
  }
}

std::string Status::Page() {
  const absl::Status ready = readiness_();
  const std::vector<Catalog::Entry> entries = catalog_.All();
  const auto now = std::chrono::steady_clock::now();
  StatusView view{.version = facts_.version,
                  .backend = facts_.backend,
                  .devices = facts_.devices,
                  .losses = facts_.losses,
                  .device_states = metrics_.Devices(),
                  .ready = ready.ok(),
                  .reason = std::string(ready.message()),
                  .uptime = std::chrono::duration_cast<std::chrono::seconds>(now - start_),
                  .memory_bytes = ResidentBytes()};
  const AllCounts counts = Read(entries);
  MutexLock lock(mutex_);
  for (const Catalog::Entry& entry : entries) {
    const BlockKey key{entry->config.name, entry->version};
    BlockView block{.name = key.first,
                    .version = key.second,
                    .state = entry->state,
                    .reason = entry->reason,
                    .signature = Signature(entry->config),
                    .queue = metrics_.Queue(key.first, key.second),
                    .memory = metrics_.Memory(key.first, key.second)};
    if (const auto found = counts.find(key); found != counts.end()) {
      block.lately = history_.Since(now, key, found->second);
    }
    view.blocks.push_back(std::move(block));
  }
  return RenderPage(view);
}

}  // namespace mlpserve
