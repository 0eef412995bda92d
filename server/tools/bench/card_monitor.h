// Samples a card's clock, power and temperature while it is timed, through NVIDIA's management
// library.
// Threads: a thread of its own samples every kPeriod; call the methods from one other thread.
#pragma once

#include <chrono>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <string>
#include <thread>

#include "server/nvml.h"

namespace mlpserve::tools {

struct CardState {  // means over `samples` samples
  int samples = 0;
  double sm_mhz = 0;
  double power_w = 0;
  double temperature_c = 0;
};

class CardMonitor {
 public:
  static constexpr std::chrono::milliseconds kPeriod{10};

  // `pci_bus_id` as the runtime prints it, "0000:1B:00.0". Null where there is no such library or
  // it does not know the card; `error` then says why.
  static std::unique_ptr<CardMonitor> Open(const std::string& pci_bus_id, std::string& error,
                                           const std::string& library = Nvml::kLibrary);
  ~CardMonitor();
  CardMonitor(const CardMonitor&) = delete;
  CardMonitor& operator=(const CardMonitor&) = delete;

  const std::string& driver() const { return driver_; }    // its version, "580.159.04"
  double power_limit_w() const { return power_limit_w_; }  // 0: it has none that is known

  // The means since the last call, or since Open.
  CardState Take();

 private:
  CardMonitor(const Nvml& nvml, void* card);
  void Watch();
  void Look();

  const Nvml nvml_;
  void* const card_;
  std::string driver_;
  double power_limit_w_ = 0;

  std::mutex mutex_;
  std::condition_variable wake_;
  bool stopping_ = false;
  CardState sums_;
  std::thread thread_;
};

}  // namespace mlpserve::tools
