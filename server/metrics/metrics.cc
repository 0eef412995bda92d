#include "server/metrics/metrics.h"

#include <prometheus/text_serializer.h>

#include <sstream>
#include <utility>

#include "absl/strings/ascii.h"
#include "server/metrics/family_writer.h"
#include "server/metrics/metric_table.h"
#include "server/metrics/process_metrics.h"

namespace mlpserve {
namespace {

using Seconds = std::chrono::duration<double>;

// By Degradation.
constexpr std::array<const char*, 4> kDegradationReasons = {"no_gpu", "no_nvrtc", "no_cublaslt",
                                                            "no_nvml"};

void WriteQueue(FamilyWriter& writer, const MetricLabels& labels, const QueueState& state) {
  const auto add = [&](MetricId id, int64_t value) {
    writer.Add(id, labels, static_cast<double>(value));
  };
  add(MetricId::kNvPendingRequests, state.pending_requests);
  add(MetricId::kQueuedRows, state.queued_rows);
  add(MetricId::kQueuedRowsLimit, state.queued_rows_limit);
  add(MetricId::kSlotsInUse, state.slots_in_use);
  add(MetricId::kSlots, state.slots);
}

void WriteMemory(FamilyWriter& writer, const MetricLabels& labels, const BlockMemory& memory) {
  const auto add = [&](const char* kind, int64_t bytes) {
    writer.Add(MetricId::kBlockMemory, With(labels, "kind", kind), static_cast<double>(bytes));
  };
  add("weights", memory.weights);
  add("buffers", memory.buffers);
  add("buffers_reserved", memory.buffers_reserved);
  if (memory.device > 0) add("device", memory.device);
}

void WriteConnections(FamilyWriter& writer, const ConnectionCounts& counts) {
  writer.Add(MetricId::kConnections, {}, static_cast<double>(counts.open));
  writer.Add(MetricId::kConnectionsLimit, {}, static_cast<double>(counts.limit));
  const auto refused = [&](const char* reason, int64_t count) {
    writer.Add(MetricId::kConnectionsRefused, {{"reason", reason}}, static_cast<double>(count));
  };
  refused("limit", counts.refused_by_limit);
  refused("address", counts.refused_by_address);
  refused("descriptors", counts.refused_by_descriptors);
  writer.Add(MetricId::kUnreadBytes, {}, static_cast<double>(counts.unread_bytes));
  writer.Add(MetricId::kUnreadCancelled, {}, static_cast<double>(counts.unread_cancelled));
}

void WriteDevice(FamilyWriter& writer, const DeviceState& device) {
  const MetricLabels labels = {{"device", device.device}};
  const MetricLabels nv_labels = {{"gpu_uuid", device.uuid}};
  const auto add = [&](MetricId id, const std::optional<double>& value) {
    if (value) writer.Add(id, labels, *value);
  };
  const auto add_nv = [&](MetricId id, const std::optional<double>& value) {
    if (value) writer.Add(id, nv_labels, *value);
  };
  writer.Add(MetricId::kDeviceInfo, With(labels, "uuid", device.uuid), 1);
  add(MetricId::kDeviceMemoryUsed, device.memory_used_bytes);
  add(MetricId::kDeviceMemoryTotal, device.memory_total_bytes);
  add(MetricId::kDeviceUtilization, device.utilization_ratio);
  add(MetricId::kDevicePower, device.power_watts);
  add(MetricId::kDevicePowerLimit, device.power_limit_watts);
  add(MetricId::kDeviceClock, device.clock_hertz);
  add(MetricId::kDeviceMemoryClock, device.memory_clock_hertz);
  add(MetricId::kDeviceTemperature, device.temperature_celsius);
  const auto add_ecc = [&](const char* kind, const std::optional<double>& count) {
    if (count) writer.Add(MetricId::kDeviceEccErrors, With(labels, "kind", kind), *count);
  };
  add_ecc("corrected", device.ecc_corrected);
  add_ecc("uncorrected", device.ecc_uncorrected);
  for (const auto& [code, count] : device.errors) {
    writer.Add(MetricId::kDeviceErrors, With(labels, "code", code), static_cast<double>(count));
  }
  add_nv(MetricId::kNvGpuUtilization, device.utilization_ratio);
  add_nv(MetricId::kNvGpuMemoryTotal, device.memory_total_bytes);
  add_nv(MetricId::kNvGpuMemoryUsed, device.memory_used_bytes);
  add_nv(MetricId::kNvGpuPower, device.power_watts);
  add_nv(MetricId::kNvGpuPowerLimit, device.power_limit_watts);
}

}  // namespace

Metrics::Metrics(BuildInfo build)
    : build_(std::move(build)),
      start_time_seconds_(Seconds(std::chrono::system_clock::now().time_since_epoch()).count()) {}

Metrics::~Metrics() = default;

std::shared_ptr<BlockMetrics> Metrics::AddBlock(const std::string& model, int64_t version) {
  MutexLock lock(mutex_);
  Block& block = blocks_[{model, version}];
  if (block.metrics == nullptr) block.metrics = std::make_shared<BlockMetrics>(model, version);
  return block.metrics;
}

void Metrics::RemoveBlock(const std::string& model, int64_t version) {
  decltype(blocks_)::node_type removed;  // goes after the lock, with all that its reader holds
  MutexLock lock(mutex_);
  removed = blocks_.extract({model, version});
  load_seconds_.erase({model, version});
}

// Readers are swapped in, not assigned: the old one goes with the argument, after the lock, since
// it may hold the last reference to what it reads.
void Metrics::SetQueue(const std::string& model, int64_t version,
                       std::function<QueueState()> read) {
  MutexLock lock(mutex_);
  const auto block = blocks_.find({model, version});
  if (block != blocks_.end()) block->second.queue.swap(read);
}

void Metrics::SetMemory(const std::string& model, int64_t version,
                        std::function<BlockMemory()> read) {
  MutexLock lock(mutex_);
  const auto block = blocks_.find({model, version});
  if (block != blocks_.end()) block->second.memory.swap(read);
}

std::optional<QueueState> Metrics::Queue(const std::string& model, int64_t version) const {
  MutexLock lock(mutex_);
  const auto block = blocks_.find({model, version});
  if (block == blocks_.end() || !block->second.queue) return std::nullopt;
  return block->second.queue();
}

std::optional<BlockMemory> Metrics::Memory(const std::string& model, int64_t version) const {
  MutexLock lock(mutex_);
  const auto block = blocks_.find({model, version});
  if (block == blocks_.end() || !block->second.memory) return std::nullopt;
  return block->second.memory();
}

std::vector<DeviceState> Metrics::Devices() const {
  MutexLock lock(mutex_);
  return devices_ ? devices_() : std::vector<DeviceState>();
}

void Metrics::SetVariants(const std::string& model, int64_t version,
                          std::vector<KernelVariant> variants) {
  MutexLock lock(mutex_);
  const auto block = blocks_.find({model, version});
  if (block != blocks_.end()) block->second.variants = std::move(variants);
}

void Metrics::RecordLoad(const std::string& model, int64_t version,
                         std::chrono::nanoseconds duration) {
  MutexLock lock(mutex_);
  load_seconds_[{model, version}] = Seconds(duration).count();
  // Shown from the first load on: a rate over the first failure needs the zero before it.
  load_failures_.try_emplace(model, 0);
}

void Metrics::RecordLoadFailure(const std::string& model) {
  MutexLock lock(mutex_);
  ++load_failures_[model];
}

void Metrics::RecordReload(const std::string& model) {
  MutexLock lock(mutex_);
  ++reloads_[model];
}

void Metrics::RecordRefusal(absl::StatusCode code) {
  refusals_[StatusIndex(code)].fetch_add(1, std::memory_order_relaxed);
}

void Metrics::SetModelStates(std::function<std::vector<ModelStatus>()> read) {
  MutexLock lock(mutex_);
  model_states_.swap(read);
}

void Metrics::SetConnections(std::function<ConnectionCounts()> read) {
  MutexLock lock(mutex_);
  connections_.swap(read);
}

void Metrics::SetDevices(std::function<std::vector<DeviceState>()> read) {
  MutexLock lock(mutex_);
  devices_.swap(read);
}

void Metrics::SetBackend(const std::string& backend, const std::string& devices) {
  MutexLock lock(mutex_);
  backend_devices_ = devices;
  backend_ = backend;
}

void Metrics::SetDegraded(Degradation reason, bool degraded) {
  MutexLock lock(mutex_);
  degraded_[static_cast<size_t>(reason)] = degraded;
}

std::string Metrics::Text() const {
  FamilyWriter writer;
  {
    MutexLock lock(mutex_);
    WriteProcess(writer);
    WriteModels(writer);
    WriteBlocks(writer);
    if (devices_) {
      for (const DeviceState& device : devices_()) WriteDevice(writer, device);
    }
  }
  std::ostringstream text;
  prometheus::TextSerializer().Serialize(text, writer.Take());
  return std::move(text).str();
}

void Metrics::WriteProcess(FamilyWriter& writer) const {
  writer.Add(
      MetricId::kBuildInfo,
      {{"version", build_.version}, {"commit", build_.commit}, {"compiler", build_.compiler}}, 1);
  writer.Add(MetricId::kStartTime, {}, start_time_seconds_);
  if (connections_) WriteConnections(writer, connections_());
  if (!backend_.empty()) {
    writer.Add(MetricId::kBackendInfo, {{"backend", backend_}, {"devices", backend_devices_}}, 1);
  }
  for (size_t i = 0; i < degraded_.size(); ++i) {
    writer.Add(MetricId::kDegraded, {{"reason", kDegradationReasons[i]}}, degraded_[i] ? 1 : 0);
  }
  WriteProcessMetrics(writer);
  double refused = 0;
  for (size_t i = 0; i < kStatusCodes; ++i) {
    const auto count = static_cast<double>(refusals_[i].load(std::memory_order_relaxed));
    if (count == 0) continue;
    refused += count;
    writer.Add(MetricId::kRequestFailures, {{"code", StatusLabel(i)}}, count);
  }
  writer.Add(MetricId::kRequests, {}, refused);
}

void Metrics::WriteModels(FamilyWriter& writer) const {
  if (model_states_) {
    for (const ModelStatus& status : model_states_()) {
      const MetricLabels labels = BlockLabels(status.model, status.version);
      for (const BlockState state : kBlockStates) {
        const std::string label = absl::AsciiStrToLower(std::string(Name(state)));
        writer.Add(MetricId::kModelState, With(labels, "state", label),
                   status.state == state ? 1 : 0);
      }
    }
  }
  for (const auto& [version, seconds] : load_seconds_) {
    writer.Add(MetricId::kModelLoadDuration, BlockLabels(version.first, version.second), seconds);
  }
  for (const auto& [model, count] : load_failures_) {
    writer.Add(MetricId::kModelLoadFailures, {{"model", model}}, static_cast<double>(count));
  }
  for (const auto& [model, count] : reloads_) {
    writer.Add(MetricId::kReloads, {{"model", model}}, static_cast<double>(count));
  }
}

void Metrics::WriteBlocks(FamilyWriter& writer) const {
  const Detail detail = blocks_.size() > kDetailedBlocks ? Detail::kLean : Detail::kFull;
  for (const auto& [version, block] : blocks_) {
    block.metrics->Export(writer, detail);
    const MetricLabels labels = BlockLabels(version.first, version.second);
    if (block.queue) WriteQueue(writer, labels, block.queue());
    if (block.memory) WriteMemory(writer, labels, block.memory());
    for (const KernelVariant& variant : block.variants) {
      MetricLabels of_variant = With(labels, "layer", variant.layer);
      of_variant = With(std::move(of_variant), "bucket", std::to_string(variant.bucket));
      of_variant = With(std::move(of_variant), "variant", variant.variant);
      writer.Add(MetricId::kKernelVariantInfo, std::move(of_variant), 1);
    }
  }
}

}  // namespace mlpserve
