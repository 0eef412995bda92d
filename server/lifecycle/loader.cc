#include "server/lifecycle/loader.h"

#include <spdlog/spdlog.h>

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "kernels/status/status_macros.h"
#include "server/model/file_signature.h"
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
    const Outcome outcome = LoadVersions(block, {}, {.stop = stop});
    summary.loaded += static_cast<int>(outcome.serving.size());
    for (const int64_t version : outcome.failed) {
      summary.failed.push_back(Label(block.name, version));
    }
    if (stop.stop_requested()) break;
  }
  return summary;
}

absl::Status Loader::Update(const RepositoryBlock& block, const std::set<int64_t>& changed,
                            const std::stop_token& stop) {
  const bool served = !Serving(block.name).empty();
  if (!block.config.ok()) {
    if (served) {
      KeepServing(block.name, block.config.status());
    } else {
      BlockConfig unreadable;
      unreadable.name = block.name;
      Fail(unreadable, 0, block.config.status());
    }
    return block.config.status();
  }
  // Measuring would slow the traffic, and the traffic would falsify the measurements.
  const Outcome outcome = LoadVersions(block, changed, {.stop = stop, .may_measure = false});
  if (stop.stop_requested()) return absl::CancelledError("the server is shutting down");
  needs_.catalog.Remove(block.name, 0, BlockState::kFailed);
  if (!outcome.serving.empty()) {
    Retire(block, outcome);
    if (served && outcome.loaded > 0) needs_.metrics.RecordReload(block.name);
  }
  return outcome.first_error;
}

// A version that fails is replaced by the next older one that there is.
Loader::Outcome Loader::LoadVersions(const RepositoryBlock& block, const std::set<int64_t>& changed,
                                     const LoadControl& control) {
  Outcome outcome;
  size_t missing = 0;
  const auto load = [&](int64_t version) {
    if (Serves(block.name, version) && !changed.contains(version)) {
      outcome.serving.insert(version);
      return true;
    }
    return TryVersion(*block.config, version, control, outcome).ok() ||
           outcome.serving.contains(version);
  };
  for (const int64_t version : block.versions) {
    if (control.stop.stop_requested()) return outcome;
    if (!load(version)) ++missing;
  }
  for (const int64_t version : block.fallbacks) {
    if (missing == 0 || control.stop.stop_requested()) return outcome;
    if (load(version)) --missing;
  }
  return outcome;
}

absl::Status Loader::TryVersion(const BlockConfig& config, int64_t version,
                                const LoadControl& control, Outcome& outcome) {
  absl::Status status = LoadVersion(config, version, control);
  if (status.ok()) {
    outcome.serving.insert(version);
    outcome.loaded++;
    return status;
  }
  if (control.stop.stop_requested() && absl::IsCancelled(status)) return status;
  Fail(config, version, status);
  if (Serves(config.name, version)) outcome.serving.insert(version);
  outcome.failed.push_back(version);
  outcome.first_error.Update(status);
  return status;
}

absl::Status Loader::LoadVersion(const BlockConfig& config, int64_t version,
                                 const LoadControl& control) {
  const bool again = Serves(config.name, version);
  if (!again) {
    needs_.catalog.Put({.config = config, .version = version, .state = BlockState::kLoading});
  }
  const TimePoint begin = Clock::now();
  const std::string file = WeightsPath(config.directory, version);
  const FileSignature before = SignatureOf(file);
  MLPSERVE_ASSIGN_OR_RETURN(
      const BlockSpec block,
      ReadBlock(config, version, {.allow_non_finite = needs_.allow_non_finite}));
  const Duration reading = Clock::now() - begin;
  const auto metrics = needs_.metrics.AddBlock(config.name, version);
  auto served = ServedBlock::Create(
      {.backend = needs_.backend, .threads = needs_.threads, .on_lost = needs_.on_lost}, block,
      config.batching, WithProgress(control, config, version), metrics);
  absl::Status status = served.status();
  if (status.ok() && SignatureOf(file) != before) {
    status = absl::UnavailableError(absl::StrCat(file, ": it was changed while it was read"));
  }
  if (!status.ok()) {
    if (!again) needs_.metrics.RemoveBlock(config.name, version);
    return status;
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

// Ends the versions that are not asked for any more, and forgets the failures of others than now.
void Loader::Retire(const RepositoryBlock& block, const Outcome& outcome) {
  for (const int64_t version : Serving(block.name)) {
    if (!outcome.serving.contains(version)) (void)Unload(block.name, version);
  }
  const std::set<int64_t> failed(outcome.failed.begin(), outcome.failed.end());
  for (const Catalog::Entry& entry : needs_.catalog.Versions(block.name)) {
    if (failed.contains(entry->version)) continue;
    needs_.catalog.Remove(block.name, entry->version, BlockState::kFailed);
  }
}

bool Loader::Serves(const std::string& name, int64_t version) {
  MutexLock lock(mutex_);
  return served_.contains({name, version});
}

std::vector<int64_t> Loader::Serving(const std::string& name) {
  std::vector<int64_t> versions;
  MutexLock lock(mutex_);
  for (auto at = served_.lower_bound({name, 0}); at != served_.end(); ++at) {
    if (at->first.first != name) break;
    versions.push_back(at->first.second);
  }
  return versions;
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
  needs_.catalog.Put({.config = config,
                      .version = version,
                      .state = BlockState::kReady,
                      .sink = ServedBlock::Sink(served),
                      .metrics = std::move(metrics)});
  std::shared_ptr<ServedBlock> old = served;  // goes after the lock
  MutexLock lock(mutex_);
  served_[{name, version}].swap(old);
}

// A load that takes long says in the catalog how far it is, for people who ask why it is not ready.
LoadControl Loader::WithProgress(const LoadControl& control, const BlockConfig& config,
                                 int64_t version) {
  if (Serves(config.name, version)) return control;  // it is ready, whatever this comes to
  LoadControl watched = control;
  watched.progress = [this, config, version,
                      told = Clock::now()](const LoadProgress& progress) mutable {
    if (Clock::now() - told < kProgressInterval) return;
    told = Clock::now();
    needs_.catalog.Put({.config = config,
                        .version = version,
                        .state = BlockState::kLoading,
                        .reason = absl::StrCat(std::string(progress.step), ", ", progress.done,
                                               " of ", progress.total)});
  };
  return watched;
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

absl::Status Loader::UnloadAll(const std::string& name) {
  bool found = false;
  for (const int64_t version : Serving(name)) found |= Unload(name, version).ok();
  for (const Catalog::Entry& entry : needs_.catalog.Versions(name)) {
    if (entry->state != BlockState::kFailed) continue;
    needs_.catalog.Remove(name, entry->version, BlockState::kFailed);
    found = true;
  }
  if (found) return absl::OkStatus();
  return absl::NotFoundError(absl::StrCat("no block is named ", Printable(QuotedShort(name))));
}

void Loader::Fail(const BlockConfig& config, int64_t version, const absl::Status& status) {
  if (Serves(config.name, version)) return KeepServing(config.name, status);
  const std::string reason = Printable(std::string(status.message()));
  spdlog::error("block {} is not served: {}", Label(config.name, version), reason);
  needs_.metrics.RecordLoadFailure(config.name);
  needs_.catalog.Put(
      {.config = config, .version = version, .state = BlockState::kFailed, .reason = reason});
}

// What serves goes on, and says what became of the attempt to replace it.
void Loader::KeepServing(const std::string& name, const absl::Status& status) {
  const std::string reason = absl::StrCat("it serves as it was loaded before; loading it again: ",
                                          Printable(std::string(status.message())));
  spdlog::error("block {}: {}", name, reason);
  needs_.metrics.RecordLoadFailure(name);
  for (const int64_t version : Serving(name)) needs_.catalog.SetReason(name, version, reason);
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
