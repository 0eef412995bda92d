#include "server/lifecycle/repository_control.h"

#include <spdlog/spdlog.h>

#include <utility>

#include "absl/strings/str_cat.h"
#include "kernels/status/status_macros.h"
#include "server/lifecycle/sent_block.h"
#include "server/model/model_json.h"

namespace mlpserve {
namespace {

absl::Status ShuttingDown() { return absl::UnavailableError("the server is shutting down"); }

// Every version, though it serves already.
std::set<int64_t> AllVersions(const RepositoryBlock& block) {
  std::set<int64_t> versions(block.versions.begin(), block.versions.end());
  versions.insert(block.fallbacks.begin(), block.fallbacks.end());
  return versions;
}

}  // namespace

RepositoryControl::RepositoryControl(Options options, Loader& loader)
    : options_(std::move(options)), loader_(loader) {}

RepositoryControl::~RepositoryControl() { RefuseAll(); }

void RepositoryControl::Load(LoadRequest request, Done done) {
  Enqueue({.load = std::move(request), .done = std::move(done)});
}

void RepositoryControl::Unload(const std::string& name, Done done) {
  Enqueue({.load = {.name = name}, .unload = true, .done = std::move(done)});
}

void RepositoryControl::Enqueue(Job job) {
  absl::Status refused;
  {
    MutexLock lock(mutex_);
    if (ended_) {
      refused = ShuttingDown();
    } else if (jobs_.size() >= kMostWaiting) {
      refused = absl::ResourceExhaustedError(absl::StrCat(
          "expected at most ", kMostWaiting, " requests to load that wait, found ", jobs_.size()));
    } else {
      jobs_.push_back(std::move(job));
      changed_.NotifyAll();
      return;
    }
  }
  job.done(refused);
}

void RepositoryControl::Run(const std::stop_token& stop) {
  const std::stop_callback wake(stop, [this] {
    MutexLock lock(mutex_);
    changed_.NotifyAll();
  });
  const bool polls = options_.poll_interval.count() > 0 && watch_.has_value();
  TimePoint next_poll = polls ? Clock::now() + options_.poll_interval : TimePoint::max();
  while (!stop.stop_requested()) {
    const std::optional<Job> job = Next(next_poll, stop);
    if (job.has_value()) Do(*job, stop);
    if (stop.stop_requested() || Clock::now() < next_poll) continue;
    Poll(stop);
    next_poll = Clock::now() + options_.poll_interval;
  }
  RefuseAll();
}

std::optional<RepositoryControl::Job> RepositoryControl::Next(TimePoint deadline,
                                                              const std::stop_token& stop) {
  MutexLock lock(mutex_);
  while (jobs_.empty() && !stop.stop_requested()) {
    if (deadline == TimePoint::max()) {
      changed_.Wait(mutex_);
    } else if (!changed_.WaitUntil(mutex_, deadline)) {
      break;
    }
  }
  if (jobs_.empty() || stop.stop_requested()) return std::nullopt;
  Job job = std::move(jobs_.front());
  jobs_.pop_front();
  return job;
}

void RepositoryControl::RefuseAll() {
  std::deque<Job> jobs;
  {
    MutexLock lock(mutex_);
    ended_ = true;
    jobs.swap(jobs_);
  }
  for (const Job& job : jobs) job.done(ShuttingDown());
}

void RepositoryControl::Do(const Job& job, const std::stop_token& stop) {
  const std::string& name = job.load.name;
  absl::Status status = job.unload ? loader_.UnloadAll(name) : LoadNow(job.load, stop);
  if (stop.stop_requested() && absl::IsCancelled(status)) status = ShuttingDown();
  if (!status.ok()) {
    spdlog::warn("{} of a block at a client's wish failed: {}",
                 job.unload ? "the unloading" : "the loading", std::string(status.message()));
  }
  Changed();
  job.done(status);
}

absl::Status RepositoryControl::LoadNow(const LoadRequest& request, const std::stop_token& stop) {
  if (!request.files.empty()) return LoadSent(request, stop);
  MLPSERVE_ASSIGN_OR_RETURN(RepositoryBlock block, ScanBlock(options_.repository, request.name));
  if (request.config.has_value()) {
    absl::StatusOr<BlockConfig> config = ParseModelJson(*request.config, request.name);
    if (!config.ok()) {
      return absl::InvalidArgumentError(
          absl::StrCat("parameter \"config\": ", config.status().message()));
    }
    SetConfig(*std::move(config), block);
  }
  return Update(block, AllVersions(block), stop);
}

// The files lie in a folder for as long as they are read.
absl::Status RepositoryControl::LoadSent(const LoadRequest& request, const std::stop_token& stop) {
  MLPSERVE_ASSIGN_OR_RETURN(const SentBlock sent, SentBlock::Write(request));
  MLPSERVE_ASSIGN_OR_RETURN(const RepositoryBlock block,
                            ScanBlock(sent.repository(), request.name));
  return Update(block, AllVersions(block), stop);
}

absl::Status RepositoryControl::Update(const RepositoryBlock& block,
                                       const std::set<int64_t>& changed,
                                       const std::stop_token& stop) {
  if (block.config.ok()) {
    const int64_t largest = LargestRequestBytes({.blocks = {block}});
    if (largest > options_.max_message_bytes) {
      spdlog::warn(
          "block {}: its largest request takes {} bytes, but messages of at most {} are accepted, "
          "as is fixed at start (--max-message-bytes)",
          block.name, largest, options_.max_message_bytes);
    }
  }
  return loader_.Update(block, changed, stop);
}

RepositoryWatch::Signatures RepositoryControl::SignaturesOf(const RepositoryScan& scan) {
  RepositoryWatch::Signatures signatures;
  for (const RepositoryBlock& block : scan.blocks) signatures[block.name] = SignatureOf(block);
  return signatures;
}

void RepositoryControl::Poll(const std::stop_token& stop) {
  const absl::StatusOr<RepositoryScan> scan = ScanRepository(options_.repository);
  const bool was_readable = std::exchange(readable_, scan.ok());
  if (!scan.ok()) {
    if (!was_readable) return;  // it is said once
    spdlog::warn("the repository cannot be looked at; what serves goes on: {}",
                 std::string(scan.status().message()));
    return;
  }
  const auto changes = watch_->Look(SignaturesOf(*scan));
  for (const RepositoryWatch::Change& change : changes) {
    if (stop.stop_requested()) return;
    if (change.gone) {
      spdlog::info("block {} has left the repository", change.name);
      (void)loader_.UnloadAll(change.name);
      continue;
    }
    for (const RepositoryBlock& block : scan->blocks) {
      // What fails is in the log, the index and the metrics by then.
      if (block.name == change.name) (void)Update(block, change.versions, stop);
    }
  }
  if (!changes.empty()) Changed();
}

}  // namespace mlpserve
