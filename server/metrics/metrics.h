// Everything that /metrics shows, for the whole process: the blocks' own figures and the gauges
// around them. One per process, made by main.cc.
//
// Not here: names, help texts and bucket bounds (metric_table.h), the hot path (block_metrics.h),
// HTTP (http_server.h).
//
// Figures that live elsewhere (queues, slots, connections, states of blocks) are read through a
// callback at each scrape, so that nothing is kept twice. A metric whose source was never given is
// not exported. Callbacks run on a thread of the HTTP server under this object's lock: they must be
// quick and must not call back into it. Once a callback has been replaced or removed, it is not
// running any more.
//
// Threads: all functions are thread-safe; none belongs on the path of a request, except the record
// functions of the BlockMetrics that AddBlock returns and RecordRefusal (one atomic add).
// Bounds: series grow with the blocks of the repository, their layers and buckets, and with nothing
// that a client sends. With more than kDetailedBlocks versions each shows less (Detail::kLean), so
// that a scrape of 300 blocks stays under 1.5 MB: what the histograms that are left out tell on
// average, the counters nv_inference_*, mlpserve_rows_total and mlpserve_batches_total still do.
#pragma once

#include <array>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "server/metrics/block_metrics.h"
#include "server/metrics/status_label.h"
#include "server/sync/mutex.h"
#include "server/vocabulary/block_memory.h"
#include "server/vocabulary/block_state.h"
#include "server/vocabulary/kernel_variant.h"
#include "server/vocabulary/queue_state.h"

namespace mlpserve {

class FamilyWriter;

struct ModelStatus {
  std::string model;
  int64_t version = 0;  // 0: failed before a version was chosen
  BlockState state = BlockState::kLoading;
};

// Something that makes the server slower or blinder than it was meant to be.
enum class Degradation : uint8_t { kNoGpu, kNoNvrtc, kNoCublasLt, kNoNvml };

// One accelerator, as its driver tells it; what it does not tell is left out.
struct DeviceState {
  std::string device;  // "0"
  std::string uuid;
  std::optional<double> memory_used_bytes;
  std::optional<double> memory_total_bytes;
  std::optional<double> utilization_ratio;  // 0..1
  std::optional<double> power_watts;
  std::optional<double> power_limit_watts;
  std::optional<double> clock_hertz;  // of the processors
  std::optional<double> memory_clock_hertz;
  std::optional<double> temperature_celsius;
  std::optional<double> ecc_corrected;  // errors of its memory since the driver was loaded
  std::optional<double> ecc_uncorrected;
  std::map<std::string, uint64_t> errors;  // since start, by the driver's name of the code
};

// The gRPC server's connections; refused ones since start, by reason.
struct ConnectionCounts {
  int64_t open = 0;
  int64_t limit = 0;
  int64_t refused_by_limit = 0;
  int64_t refused_by_address = 0;
  int64_t refused_by_descriptors = 0;
  int64_t unread_bytes = 0;  // of answers that are being sent
  int64_t unread_cancelled = 0;
};

struct BuildInfo {
  std::string version;
  std::string commit;
  std::string compiler;
};

class Metrics {
 public:
  static constexpr size_t kDetailedBlocks = 64;

  explicit Metrics(BuildInfo build);
  ~Metrics();
  Metrics(const Metrics&) = delete;
  Metrics& operator=(const Metrics&) = delete;

  // The block's figures, exported from now on. A version that is loaded again (a reload) gets the
  // object that it had: its counters go on.
  std::shared_ptr<BlockMetrics> AddBlock(const std::string& model, int64_t version);
  // Ends the export of everything that carries this model and version. Does nothing if there is no
  // such block. The object lives on for as long as somebody holds it.
  void RemoveBlock(const std::string& model, int64_t version);

  // The rest of a block's figures; the block must have been added, else nothing happens.
  // A reload replaces them. An empty `read` ends the export: call it so, unless it was replaced,
  // before what it reads is destroyed.
  void SetQueue(const std::string& model, int64_t version, std::function<QueueState()> read);
  void SetMemory(const std::string& model, int64_t version, std::function<BlockMemory()> read);
  void SetVariants(const std::string& model, int64_t version, std::vector<KernelVariant> variants);

  // What these readers say at this moment; of a block without one, nothing.
  std::optional<QueueState> Queue(const std::string& model, int64_t version) const;
  std::optional<BlockMemory> Memory(const std::string& model, int64_t version) const;
  std::vector<DeviceState> Devices() const;

  // How long the last load of a block took, files to warm, and how often loads failed or replaced
  // a version that was serving. A block whose load fails need not have been added.
  void RecordLoad(const std::string& model, int64_t version, std::chrono::nanoseconds duration);
  void RecordLoadFailure(const std::string& model);
  void RecordReload(const std::string& model);  // shown from the first on

  // A request that was answered with an error before its block was known.
  void RecordRefusal(absl::StatusCode code);

  // Every block and version that the server knows of, ready or not.
  void SetModelStates(std::function<std::vector<ModelStatus>()> read);
  void SetConnections(std::function<ConnectionCounts()> read);
  void SetDevices(std::function<std::vector<DeviceState>()> read);

  // "cpu", "cuda"; and what it computes on, in words.
  void SetBackend(const std::string& backend, const std::string& devices);
  void SetDegraded(Degradation reason, bool degraded);

  // The Prometheus text format, version 0.0.4; families sorted by name.
  std::string Text() const;
  static constexpr const char* kContentType = "text/plain; version=0.0.4; charset=utf-8";

 private:
  using Version = std::pair<std::string, int64_t>;
  struct Block {
    std::shared_ptr<BlockMetrics> metrics;
    std::function<QueueState()> queue;
    std::function<BlockMemory()> memory;
    std::vector<KernelVariant> variants;
  };

  void WriteProcess(FamilyWriter& writer) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void WriteBlocks(FamilyWriter& writer) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void WriteModels(FamilyWriter& writer) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  static constexpr int kDegradations = 4;

  const BuildInfo build_;
  const double start_time_seconds_;  // since the epoch
  std::array<std::atomic<uint64_t>, kStatusCodes> refusals_{};

  mutable Mutex mutex_;
  std::map<Version, Block> blocks_ ABSL_GUARDED_BY(mutex_);
  std::map<Version, double> load_seconds_ ABSL_GUARDED_BY(mutex_);
  std::map<std::string, uint64_t> load_failures_ ABSL_GUARDED_BY(mutex_);
  std::map<std::string, uint64_t> reloads_ ABSL_GUARDED_BY(mutex_);
  std::function<std::vector<ModelStatus>()> model_states_ ABSL_GUARDED_BY(mutex_);
  std::function<ConnectionCounts()> connections_ ABSL_GUARDED_BY(mutex_);
  std::function<std::vector<DeviceState>()> devices_ ABSL_GUARDED_BY(mutex_);
  std::string backend_ ABSL_GUARDED_BY(mutex_);
  std::string backend_devices_ ABSL_GUARDED_BY(mutex_);
  std::array<bool, kDegradations> degraded_ ABSL_GUARDED_BY(mutex_){};
};

}  // namespace mlpserve
