// NVIDIA's management library, looked up when the program runs: the functions that we call, by our
// own declarations, since a toolkit may lack nvml.h.
#pragma once

#include <string>

#include "absl/status/statusor.h"

namespace mlpserve {

struct NvmlMemory {
  unsigned long long total_bytes, free_bytes, used_bytes;
};
struct NvmlUtilization {
  unsigned gpu_percent, memory_percent;
};

// Each function returns kSuccess or why it cannot say. A device's handle is a void*.
struct Nvml {
  static constexpr const char* kLibrary = "libnvidia-ml.so.1";
  static constexpr int kSuccess = 0;
  enum Clock : int { kSmClock = 1, kMemoryClock = 2 };
  enum Sensor : int { kGpuTemperature = 0 };
  enum EccError : int { kCorrected = 0, kUncorrected = 1 };
  enum EccCounter : int { kSinceDriverLoad = 0 };

  // Opens and initialises it. The library is never closed: it leaves threads and handlers behind.
  // Errors: UNAVAILABLE, no such library, one that lacks a function, or one that has no driver.
  static absl::StatusOr<Nvml> Open(const std::string& library = kLibrary);

  int (*initialise)() = nullptr;
  int (*driver_version)(char* version, unsigned size) = nullptr;
  int (*find)(const char* pci_bus_id, void** device) = nullptr;  // "0000:1B:00.0"
  int (*uuid)(void* device, char* uuid, unsigned size) = nullptr;
  int (*memory)(void* device, NvmlMemory* memory) = nullptr;
  int (*utilization)(void* device, NvmlUtilization* utilization) = nullptr;
  int (*power_milliwatts)(void* device, unsigned* power) = nullptr;
  int (*power_limit_milliwatts)(void* device, unsigned* limit) = nullptr;
  int (*clock_mhz)(void* device, int clock, unsigned* mhz) = nullptr;
  int (*temperature_celsius)(void* device, int sensor, unsigned* celsius) = nullptr;
  int (*ecc_errors)(void* device, int error, int counter, unsigned long long* count) = nullptr;
};

}  // namespace mlpserve
