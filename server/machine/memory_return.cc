#include "server/machine/memory_return.h"

#include <malloc.h>

#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <mutex>

namespace mlpserve {
namespace {

constexpr size_t kWorthReturning = size_t{64} << 20;
constexpr int kLooks = 3;
constexpr std::chrono::seconds kInterval{1};

}  // namespace

MemoryReturn::MemoryReturn() : thread_(&MemoryReturn::Run) {}

void MemoryReturn::Run(const std::stop_token& stop) {
  std::mutex mutex;
  std::condition_variable_any woken;
  std::unique_lock<std::mutex> lock(mutex);
  int looks = 0;
  while (!stop.stop_requested()) {
    woken.wait_for(lock, stop, kInterval, [] { return false; });
    looks = mallinfo2().fordblks > kWorthReturning ? looks + 1 : 0;
    if (looks < kLooks) continue;
    malloc_trim(0);
    looks = 0;
  }
}

}  // namespace mlpserve
