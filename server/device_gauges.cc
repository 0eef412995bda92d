#include "server/device_gauges.h"

#include <array>
#include <cstdint>
#include <optional>
#include <thread>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/strings/str_cat.h"
#include "kernels/status/status_macros.h"
#include "server/sync/mutex.h"

namespace mlpserve {
namespace {

using Clock = std::chrono::steady_clock;

struct Handle {
  void* device = nullptr;
  DeviceState known;  // its names alone
};

absl::StatusOr<Handle> Find(const Nvml& nvml, const DeviceGauges::Device& device) {
  Handle handle{.known = {.device = device.label}};
  if (const int code = nvml.find(device.pci_bus_id.c_str(), &handle.device);
      code != Nvml::kSuccess) {
    return absl::UnavailableError(absl::StrCat("NVML knows no device ", device.label, " at ",
                                               device.pci_bus_id, " (", code, ")"));
  }
  std::array<char, 96> uuid{};
  if (nvml.uuid(handle.device, uuid.data(), uuid.size()) == Nvml::kSuccess) {
    handle.known.uuid = uuid.data();
  }
  return handle;
}

template <typename Value, typename Function, typename... Arguments>
std::optional<Value> Ask(Function function, Arguments... arguments) {
  Value value{};
  if (function(arguments..., &value) != Nvml::kSuccess) return std::nullopt;
  return value;
}

template <typename Value>
std::optional<double> Times(double scale, const std::optional<Value>& value) {
  if (!value) return std::nullopt;
  return scale * static_cast<double>(*value);
}

DeviceState StateOf(const Nvml& nvml, const Handle& handle) {
  DeviceState state = handle.known;
  void* const device = handle.device;
  if (const auto memory = Ask<NvmlMemory>(nvml.memory, device)) {
    state.memory_used_bytes = static_cast<double>(memory->used_bytes);
    state.memory_total_bytes = static_cast<double>(memory->total_bytes);
  }
  if (const auto utilization = Ask<NvmlUtilization>(nvml.utilization, device)) {
    state.utilization_ratio = utilization->gpu_percent / 100.0;
  }
  state.power_watts = Times(1e-3, Ask<unsigned>(nvml.power_milliwatts, device));
  state.power_limit_watts = Times(1e-3, Ask<unsigned>(nvml.power_limit_milliwatts, device));
  state.clock_hertz = Times(1e6, Ask<unsigned>(nvml.clock_mhz, device, Nvml::kSmClock));
  state.memory_clock_hertz = Times(1e6, Ask<unsigned>(nvml.clock_mhz, device, Nvml::kMemoryClock));
  state.temperature_celsius =
      Times(1, Ask<unsigned>(nvml.temperature_celsius, device, Nvml::kGpuTemperature));
  using Count = unsigned long long;
  state.ecc_corrected =
      Times(1, Ask<Count>(nvml.ecc_errors, device, Nvml::kCorrected, Nvml::kSinceDriverLoad));
  state.ecc_uncorrected =
      Times(1, Ask<Count>(nvml.ecc_errors, device, Nvml::kUncorrected, Nvml::kSinceDriverLoad));
  return state;
}

}  // namespace

// Asks the library when a ticket is drawn, and answers every ticket drawn before it began.
class DeviceGauges::Reader {
 public:
  Reader(const Nvml& nvml, std::vector<Handle> handles)
      : nvml_(nvml), handles_(std::move(handles)) {}

  // Until Stop, on the thread that calls it.
  void Run() {
    MutexLock lock(mutex_);
    while (true) {
      while (!stopping_ && answered_ == asked_) woken_.Wait(mutex_);
      if (stopping_) break;
      const uint64_t ticket = asked_;
      mutex_.Unlock();
      std::vector<DeviceState> states;
      for (const Handle& handle : handles_) states.push_back(StateOf(nvml_, handle));
      mutex_.Lock();
      states_ = std::move(states);
      answered_ = ticket;
      told_.NotifyAll();
    }
    ended_ = true;
    told_.NotifyAll();
  }

  std::vector<DeviceState> Read(Clock::time_point limit) {
    MutexLock lock(mutex_);
    const uint64_t ticket = ++asked_;
    woken_.NotifyOne();
    while (answered_ < ticket && told_.WaitUntil(mutex_, limit)) {
    }
    if (answered_ >= ticket) return states_;
    std::vector<DeviceState> known;
    for (const Handle& handle : handles_) known.push_back(handle.known);
    return known;
  }

  void Stop(Clock::time_point limit) {
    MutexLock lock(mutex_);
    stopping_ = true;
    woken_.NotifyOne();
    while (!ended_ && told_.WaitUntil(mutex_, limit)) {
    }
  }

 private:
  const Nvml nvml_;
  const std::vector<Handle> handles_;
  Mutex mutex_;
  CondVar woken_, told_;
  uint64_t asked_ ABSL_GUARDED_BY(mutex_) = 0;
  uint64_t answered_ ABSL_GUARDED_BY(mutex_) = 0;
  bool stopping_ ABSL_GUARDED_BY(mutex_) = false;
  bool ended_ ABSL_GUARDED_BY(mutex_) = false;
  std::vector<DeviceState> states_ ABSL_GUARDED_BY(mutex_);
};

absl::StatusOr<std::unique_ptr<DeviceGauges>> DeviceGauges::Open(const std::vector<Device>& devices,
                                                                 const Options& options) {
  MLPSERVE_ASSIGN_OR_RETURN(const Nvml nvml, Nvml::Open(options.library));
  std::vector<Handle> handles;
  for (const Device& device : devices) {
    MLPSERVE_ASSIGN_OR_RETURN(Handle handle, Find(nvml, device));
    handles.push_back(std::move(handle));
  }
  return std::unique_ptr<DeviceGauges>(
      new DeviceGauges(std::make_shared<Reader>(nvml, std::move(handles)), options.patience));
}

DeviceGauges::DeviceGauges(std::shared_ptr<Reader> reader, std::chrono::milliseconds patience)
    : reader_(std::move(reader)), patience_(patience) {
  std::thread([reader = reader_] { reader->Run(); }).detach();
}

DeviceGauges::~DeviceGauges() { reader_->Stop(Clock::now() + patience_); }

std::vector<DeviceState> DeviceGauges::Read() { return reader_->Read(Clock::now() + patience_); }

}  // namespace mlpserve
