#include "server/lifecycle/loader.h"

#include <spdlog/spdlog.h>

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "server/model/model_reader.h"
#include "server/text/utf8.h"

namespace mlpserve {
namespace {

// Names, shapes and parameters beside a request's rows.
constexpr int64_t kEnvelopeBytes = int64_t{1} << 20;

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
      catalog_.Put({.config = *block.config, .version = version, .state = BlockState::kLoading});
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
      const absl::Status status = LoadVersion(*block.config, version);
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

absl::Status Loader::LoadVersion(const BlockConfig& config, int64_t version) {
  const TimePoint begin = Clock::now();
  const absl::StatusOr<BlockSpec> block = ReadBlock(config, version);
  if (!block.ok()) return block.status();
  const Duration reading = Clock::now() - begin;
  const auto metrics = metrics_.AddBlock(config.name, version);
  auto served = Serve(config, *block, metrics);
  if (!served.ok()) {
    metrics_.RemoveBlock(config.name, version);
    return served.status();
  }
  metrics_.SetQueue(config.name, version, [served = *served] { return served->stats(); });
  metrics_.SetVariants(config.name, version, (*served)->variants());
  const Duration took = Clock::now() - begin;
  metrics_.RecordLoad(config.name, version, took);
  catalog_.Put({.config = config,
                .version = version,
                .state = BlockState::kReady,
                .sink = ServedBlock::Sink(*served),
                .metrics = metrics});
  served_.push_back(*std::move(served));
  spdlog::info(
      "block {} is ready: {} layers, {} -> {} features, loaded in {:.0f} ms, {:.0f} of them "
      "for reading it",
      Label(config.name, version), config.layers.size(), config.input.features,
      config.output.features, Milliseconds(took), Milliseconds(reading));
  return absl::OkStatus();
}

absl::StatusOr<std::shared_ptr<ServedBlock>> Loader::Serve(
    const BlockConfig& config, const BlockSpec& block,
    const std::shared_ptr<BlockMetrics>& metrics) {
  const LoadOptions load{.max_rows = config.batching.max_rows, .buckets = config.batching.buckets};
  return ServedBlock::Create(backend_, block, load,
                             BatchingOptionsOf(config.batching, UsesBatchStatistics(config)),
                             metrics);
}

void Loader::Fail(const BlockConfig& config, int64_t version, const absl::Status& status) {
  const std::string reason = Printable(std::string(status.message()));
  spdlog::error("block {} is not served: {}", Label(config.name, version), reason);
  metrics_.RecordLoadFailure(config.name);
  catalog_.Put(
      {.config = config, .version = version, .state = BlockState::kFailed, .reason = reason});
}

void Loader::Finish() {
  for (const auto& served : served_) served->Drain();
  for (const Catalog::Entry& entry : catalog_.All()) {
    metrics_.RemoveBlock(entry->config.name, entry->version);
  }
  served_.clear();
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
