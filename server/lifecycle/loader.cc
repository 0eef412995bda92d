#include "server/lifecycle/loader.h"

#include <spdlog/spdlog.h>

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "kernels/status/status_macros.h"
#include "server/model/model_reader.h"
#include "server/text/utf8.h"

namespace mlpserve {
namespace {

// Names, shapes and parameters beside a request's rows.
constexpr int64_t kEnvelopeBytes = int64_t{1} << 20;

constexpr auto kProgressInterval = std::chrono::milliseconds(200);

std::string Label(const std::string& name, int64_t version) {
  return version == 0 ? name : absl::StrCat(name, "/", version);
}

double Milliseconds(Duration duration) {
  return std::chrono::duration<double, std::milli>(duration).count();
}

}  // namespace

void Loader::Announce(const RepositoryScan& scan) {
  for (const RepositoryBlock& block : scan.blocks) {
    if (!block.config.ok()) {
      BlockConfig unreadable;
      unreadable.name = block.name;
      Fail(unreadable, 0, block.config.status());
      continue;
    }
    for (const int64_t version : block.versions) {
      needs_.catalog.Put(
          {.config = *block.config, .version = version, .state = BlockState::kLoading});
    }
  }
}

LoadSummary Loader::Load(const RepositoryScan& scan, const std::stop_token& stop) {
  LoadSummary summary;
  for (const RepositoryBlock& block : scan.blocks) {
    if (!block.config.ok()) {
      summary.failed.push_back(block.name);
      continue;
    }
    for (const int64_t version : block.versions) {
      if (stop.stop_requested()) return summary;
      const absl::Status status = LoadVersion(*block.config, version, stop);
      if (stop.stop_requested() && absl::IsCancelled(status)) return summary;
      if (status.ok()) {
        summary.loaded++;
      } else {
        Fail(*block.config, version, status);
        summary.failed.push_back(Label(block.name, version));
      }
    }
  }
  return summary;
}

absl::Status Loader::LoadVersion(const BlockConfig& config, int64_t version,
                                 const std::stop_token& stop) {
  const TimePoint begin = Clock::now();
  MLPSERVE_ASSIGN_OR_RETURN(const BlockSpec block, ReadBlock(config, version));
  const Duration reading = Clock::now() - begin;
  const auto metrics = needs_.metrics.AddBlock(config.name, version);
  auto served = ServedBlock::Create(
      {.backend = needs_.backend, .threads = needs_.threads, .on_lost = needs_.on_lost}, block,
      config.batching, Control(config, version, stop), metrics);
  if (!served.ok()) {
    needs_.metrics.RemoveBlock(config.name, version);
    return served.status();
  }
  const Duration took = Clock::now() - begin;
  needs_.metrics.RecordLoad(config.name, version, took);
  Serve(config, version, *std::move(served), metrics);
  spdlog::info(
      "block {} is ready: {} layers, {} -> {} features, loaded in {:.0f} ms, {:.0f} of them "
      "for reading it",
      Label(config.name, version), config.layers.size(), config.input.features,
      config.output.features, Milliseconds(took), Milliseconds(reading));
  return absl::OkStatus();
}

void Loader::Serve(const BlockConfig& config, int64_t version, std::unique_ptr<ServedBlock> block,
                   std::shared_ptr<BlockMetrics> metrics) {
  const std::string name = config.name;
  const std::shared_ptr<ServedBlock> served =
      needs_.retirer.Share(std::move(block), [&catalog = needs_.catalog, name, version] {
        catalog.Remove(name, version, BlockState::kUnloading);
        spdlog::info("block {} has ended", Label(name, version));
      });
  needs_.metrics.SetVariants(name, version, served->variants());
  needs_.metrics.SetQueue(name, version, [served] { return served->stats(); });
  needs_.metrics.SetMemory(name, version, [served] { return served->memory(); });
  {
    MutexLock lock(mutex_);
    served_[{name, version}] = served;
  }
  needs_.catalog.Put({.config = config,
                      .version = version,
                      .state = BlockState::kReady,
                      .sink = ServedBlock::Sink(served),
                      .metrics = std::move(metrics)});
}

// A load that takes long says in the catalog how far it is, for people who ask why it is not ready.
LoadControl Loader::Control(const BlockConfig& config, int64_t version,
                            const std::stop_token& stop) {
  const auto tell = [this, config, version,
                     told = Clock::now()](const LoadProgress& progress) mutable {
    if (Clock::now() - told < kProgressInterval) return;
    told = Clock::now();
    needs_.catalog.Put({.config = config,
                        .version = version,
                        .state = BlockState::kLoading,
                        .reason = absl::StrCat(std::string(progress.step), ", ", progress.done,
                                               " of ", progress.total)});
  };
  return {.stop = stop, .progress = tell};
}

absl::Status Loader::Unload(const std::string& name, int64_t version) {
  std::shared_ptr<ServedBlock> served;
  {
    MutexLock lock(mutex_);
    const auto found = served_.find({name, version});
    if (found == served_.end()) {
      return absl::NotFoundError(
          absl::StrCat("block \"", name, "\" has no version ", version, " that is loaded"));
    }
    served = std::move(found->second);
    served_.erase(found);
  }
  const auto entry = needs_.catalog.FindAny(name, absl::StrCat(version));
  if (entry.ok()) {
    needs_.catalog.Put(
        {.config = (*entry)->config, .version = version, .state = BlockState::kUnloading});
  }
  needs_.metrics.RemoveBlock(name, version);
  return absl::OkStatus();
}

void Loader::Fail(const BlockConfig& config, int64_t version, const absl::Status& status) {
  const std::string reason = Printable(std::string(status.message()));
  spdlog::error("block {} is not served: {}", Label(config.name, version), reason);
  needs_.metrics.RecordLoadFailure(config.name);
  needs_.catalog.Put(
      {.config = config, .version = version, .state = BlockState::kFailed, .reason = reason});
}

void Loader::Finish() {
  std::map<Version, std::shared_ptr<ServedBlock>> served;
  {
    MutexLock lock(mutex_);
    served.swap(served_);
  }
  for (const auto& [version, block] : served) block->Drain();
  for (const Catalog::Entry& entry : needs_.catalog.All()) {
    needs_.metrics.RemoveBlock(entry->config.name, entry->version);
  }
  needs_.catalog.Clear();
}

int64_t LargestRequestBytes(const RepositoryScan& scan) {
  int64_t largest = 0;
  for (const RepositoryBlock& block : scan.blocks) {
    if (!block.config.ok()) continue;
    const BlockConfig& config = *block.config;
    largest = std::max(largest, config.batching.max_rows * config.input.row_bytes());
  }
  return largest + kEnvelopeBytes;
}

}  // namespace mlpserve
