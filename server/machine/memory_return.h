// Hands memory that nothing uses back to the system. The allocator keeps what a burst of large
// messages needed, gigabytes of it, for as long as the process lives; others could use it.
#pragma once

#include <stop_token>
#include <thread>

namespace mlpserve {

// Looks each second, on a thread of its own, and hands back when more than 64 MiB have been free at
// three looks in turn: under steady load the same memory is used again and again, and stays.
class MemoryReturn {
 public:
  MemoryReturn();

 private:
  static void Run(const std::stop_token& stop);

  std::jthread thread_;
};

}  // namespace mlpserve
