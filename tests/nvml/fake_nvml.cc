// Stands in for NVIDIA's management library: one card at 0000:01:00.0, whose clock falls from look
// to look, and one at 0000:02:00.0 that has neither ECC nor a power limit. A test may hold the
// library: every question then waits until it is let go.
#include <atomic>
#include <condition_variable>
#include <cstdio>
#include <cstring>
#include <mutex>

namespace {

constexpr int kNotSupported = 3;
constexpr int kNotFound = 6;

struct Card {
  const char* pci_bus_id;
  const char* uuid;
  bool is_server_card;
};
Card cards[] = {{"0000:01:00.0", "GPU-1111", true}, {"0000:02:00.0", "GPU-2222", false}};

std::mutex mutex;
std::condition_variable let_go;
bool is_held = false;
std::atomic<unsigned> clock_mhz{2000};

const Card& Asked(void* card) {
  std::unique_lock lock(mutex);
  let_go.wait(lock, [] { return !is_held; });
  return *static_cast<Card*>(card);
}

}  // namespace

extern "C" {
void FakeNvmlHold(bool hold) {
  const std::lock_guard lock(mutex);
  is_held = hold;
  let_go.notify_all();
}

int nvmlInit_v2() { return 0; }
int nvmlSystemGetDriverVersion(char* version, unsigned size) {
  std::snprintf(version, size, "580.00");
  return 0;
}
int nvmlDeviceGetHandleByPciBusId_v2(const char* id, void** found) {
  for (Card& card : cards) {
    if (std::strcmp(id, card.pci_bus_id) != 0) continue;
    *found = &card;
    return 0;
  }
  return kNotFound;
}
int nvmlDeviceGetUUID(void* card, char* uuid, unsigned size) {
  std::snprintf(uuid, size, "%s", Asked(card).uuid);
  return 0;
}
int nvmlDeviceGetMemoryInfo(void* card, unsigned long long* total_free_used) {
  (void)Asked(card);
  total_free_used[0] = 1000;
  total_free_used[1] = 600;
  total_free_used[2] = 400;
  return 0;
}
int nvmlDeviceGetUtilizationRates(void* card, unsigned* gpu_memory) {
  gpu_memory[0] = Asked(card).is_server_card ? 75 : 0;
  gpu_memory[1] = 20;
  return 0;
}
int nvmlDeviceGetClockInfo(void* card, int domain, unsigned* mhz) {
  (void)Asked(card);
  *mhz = domain == 1 ? clock_mhz.fetch_sub(2) : 3200;
  return 0;
}
int nvmlDeviceGetPowerUsage(void* card, unsigned* milliwatts) {
  (void)Asked(card);
  *milliwatts = 650500;
  return 0;
}
int nvmlDeviceGetEnforcedPowerLimit(void* card, unsigned* milliwatts) {
  *milliwatts = 700000;
  return Asked(card).is_server_card ? 0 : kNotSupported;
}
int nvmlDeviceGetTemperature(void* card, int, unsigned* celsius) {
  (void)Asked(card);
  *celsius = 61;
  return 0;
}
int nvmlDeviceGetTotalEccErrors(void* card, int error, int, unsigned long long* count) {
  *count = error == 0 ? 5 : 1;
  return Asked(card).is_server_card ? 0 : kNotSupported;
}
}
