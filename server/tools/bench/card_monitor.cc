#include "server/tools/bench/card_monitor.h"

#include <array>
#include <utility>

#include "absl/status/statusor.h"

namespace mlpserve::tools {

std::unique_ptr<CardMonitor> CardMonitor::Open(const std::string& pci_bus_id, std::string& error,
                                               const std::string& library) {
  const absl::StatusOr<Nvml> nvml = Nvml::Open(library);
  if (!nvml.ok()) {
    error = std::string(nvml.status().message());
    return nullptr;
  }
  void* card = nullptr;
  if (const int code = nvml->find(pci_bus_id.c_str(), &card); code != Nvml::kSuccess) {
    error = library + " knows no card at " + pci_bus_id + " (" + std::to_string(code) + ")";
    return nullptr;
  }
  return std::unique_ptr<CardMonitor>(new CardMonitor(*nvml, card));
}

CardMonitor::CardMonitor(const Nvml& nvml, void* card) : nvml_(nvml), card_(card) {
  std::array<char, 96> version{};
  if (nvml_.driver_version(version.data(), version.size()) == Nvml::kSuccess)
    driver_ = version.data();
  unsigned milliwatts = 0;
  if (nvml_.power_limit_milliwatts(card_, &milliwatts) == Nvml::kSuccess)
    power_limit_w_ = 1e-3 * milliwatts;
  thread_ = std::thread([this] { Watch(); });
}

CardMonitor::~CardMonitor() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  wake_.notify_one();
  thread_.join();
}

void CardMonitor::Watch() {
  std::unique_lock lock(mutex_);
  while (!wake_.wait_for(lock, kPeriod, [this] { return stopping_; })) {
    lock.unlock();
    Look();
    lock.lock();
  }
}

void CardMonitor::Look() {
  unsigned mhz = 0;
  unsigned milliwatts = 0;
  unsigned celsius = 0;
  if (nvml_.clock_mhz(card_, Nvml::kSmClock, &mhz) != Nvml::kSuccess ||
      nvml_.power_milliwatts(card_, &milliwatts) != Nvml::kSuccess ||
      nvml_.temperature_celsius(card_, Nvml::kGpuTemperature, &celsius) != Nvml::kSuccess) {
    return;
  }
  const std::lock_guard lock(mutex_);
  ++sums_.samples;
  sums_.sm_mhz += mhz;
  sums_.power_w += 1e-3 * milliwatts;
  sums_.temperature_c += celsius;
}

CardState CardMonitor::Take() {
  const std::lock_guard lock(mutex_);
  CardState means = std::exchange(sums_, {});
  if (means.samples == 0) return means;
  for (double* sum : {&means.sm_mhz, &means.power_w, &means.temperature_c}) *sum /= means.samples;
  return means;
}

}  // namespace mlpserve::tools
