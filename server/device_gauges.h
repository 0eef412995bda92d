// What NVIDIA's management library says, at this moment, of the devices that the server computes
// on.
//
// Threads: Read from any. The library is asked on a thread of its own: a device that falls off its
// bus may hold a call for seconds. Read waits for it as long as the patience says, and then tells
// no more than which devices there are.
#pragma once

#include <chrono>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "server/metrics/metrics.h"
#include "server/nvml.h"

namespace mlpserve {

class DeviceGauges {
 public:
  struct Device {
    std::string label;       // "0": what the metrics call it
    std::string pci_bus_id;  // "0000:1B:00.0"
  };
  struct Options {
    std::string library = Nvml::kLibrary;
    // Of one Read, and of the end. Short: a scrape holds the lock of the metrics meanwhile.
    std::chrono::milliseconds patience{250};
  };

  // Errors: UNAVAILABLE, no library that answers, or one that does not know a device.
  static absl::StatusOr<std::unique_ptr<DeviceGauges>> Open(const std::vector<Device>& devices,
                                                            const Options& options);
  // A call of the library that does not return is left behind with its thread.
  ~DeviceGauges();
  DeviceGauges(const DeviceGauges&) = delete;
  DeviceGauges& operator=(const DeviceGauges&) = delete;

  // The devices in the order of Open. What a device does not have (ECC of a desktop card) is left
  // out.
  std::vector<DeviceState> Read();

 private:
  class Reader;
  DeviceGauges(std::shared_ptr<Reader> reader, std::chrono::milliseconds patience);

  const std::shared_ptr<Reader> reader_;  // shared with its thread
  const std::chrono::milliseconds patience_;
};

}  // namespace mlpserve
