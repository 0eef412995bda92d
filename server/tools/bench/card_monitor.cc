#include "server/tools/bench/card_monitor.h"

#include <dlfcn.h>

#include <array>
#include <type_traits>
#include <utility>

namespace mlpserve::tools {
namespace {

// Declarations of nvml.h, which a toolkit may lack.
constexpr int kSuccess = 0;
constexpr int kSmClock = 1;
constexpr int kGpuTemperature = 0;

}  // namespace

struct CardMonitor::Functions {
  int (*init)() = nullptr;
  int (*shutdown)() = nullptr;
  int (*driver)(char* version, unsigned size) = nullptr;
  int (*find)(const char* pci_bus_id, void** card) = nullptr;
  int (*clock)(void* card, int domain, unsigned* mhz) = nullptr;
  int (*power)(void* card, unsigned* milliwatts) = nullptr;
  int (*power_limit)(void* card, unsigned* milliwatts) = nullptr;
  int (*temperature)(void* card, int sensor, unsigned* celsius) = nullptr;

  // The name of the first that is missing, or null.
  const char* Resolve(void* library) {
    const char* missing = nullptr;
    const auto resolve = [&](auto& function, const char* name) {
      function = reinterpret_cast<std::decay_t<decltype(function)>>(dlsym(library, name));
      if (function == nullptr && missing == nullptr) missing = name;
    };
    resolve(init, "nvmlInit_v2");
    resolve(shutdown, "nvmlShutdown");
    resolve(driver, "nvmlSystemGetDriverVersion");
    resolve(find, "nvmlDeviceGetHandleByPciBusId_v2");
    resolve(clock, "nvmlDeviceGetClockInfo");
    resolve(power, "nvmlDeviceGetPowerUsage");
    resolve(power_limit, "nvmlDeviceGetEnforcedPowerLimit");
    resolve(temperature, "nvmlDeviceGetTemperature");
    return missing;
  }
};

std::unique_ptr<CardMonitor> CardMonitor::Open(const std::string& pci_bus_id, std::string& error,
                                               const std::string& library) {
  // Never closed: NVIDIA's libraries leave threads and handlers behind.
  void* opened = dlopen(library.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (opened == nullptr) {
    error = dlerror();
    return nullptr;
  }
  auto functions = std::make_unique<Functions>();
  if (const char* missing = functions->Resolve(opened); missing != nullptr) {
    error = library + " has no function " + missing;
    return nullptr;
  }
  if (const int code = functions->init(); code != kSuccess) {
    error = library + ": nvmlInit_v2 returned " + std::to_string(code);
    return nullptr;
  }
  void* card = nullptr;
  if (const int code = functions->find(pci_bus_id.c_str(), &card); code != kSuccess) {
    error = library + " knows no card at " + pci_bus_id + " (" + std::to_string(code) + ")";
    functions->shutdown();
    return nullptr;
  }
  return std::unique_ptr<CardMonitor>(new CardMonitor(std::move(functions), card));
}

CardMonitor::CardMonitor(std::unique_ptr<Functions> functions, void* card)
    : functions_(std::move(functions)), card_(card) {
  std::array<char, 96> version{};
  if (functions_->driver(version.data(), version.size()) == kSuccess) driver_ = version.data();
  unsigned milliwatts = 0;
  if (functions_->power_limit(card_, &milliwatts) == kSuccess) power_limit_w_ = 1e-3 * milliwatts;
  thread_ = std::thread([this] { Watch(); });
}

CardMonitor::~CardMonitor() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  wake_.notify_one();
  thread_.join();
  functions_->shutdown();
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
  if (functions_->clock(card_, kSmClock, &mhz) != kSuccess ||
      functions_->power(card_, &milliwatts) != kSuccess ||
      functions_->temperature(card_, kGpuTemperature, &celsius) != kSuccess) {
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
