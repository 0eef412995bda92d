// What the functions of the fake runtime share. See fake_cuda.h.
#pragma once

#include <chrono>
#include <condition_variable>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "tests/kernels/cuda/fake/fake_cuda.h"

namespace mlpserve::cuda::fake {

// What a stream does, in its order.
using Work = std::function<void()>;

class FakeStream {
 public:
  FakeStream();
  ~FakeStream();

  // To the graph that is being captured, where one is.
  void Put(Work work);
  void Wait();
  void BeginCapture() { captured_ = std::make_unique<std::vector<Work>>(); }
  std::unique_ptr<std::vector<Work>> EndCapture() { return std::move(captured_); }
  bool is_captured() const { return captured_ != nullptr; }

 private:
  void Run();

  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<Work> work_;
  bool busy_ = false;
  bool stop_ = false;
  std::unique_ptr<std::vector<Work>> captured_;  // of the thread that captures
  std::thread thread_;
};

struct FakeEvent {
  std::mutex mutex;
  int64_t recorded = 0, happened = 0;
  std::chrono::steady_clock::time_point when;
};

struct State {
  std::mutex mutex;
  std::condition_variable changed;
  Options options;
  Counts counts;
  Calls calls;
  std::map<void*, size_t> device_memory, pinned_memory;
  std::map<std::string, std::pair<int, cudaError_t>> faults;  // by function: calls until it fails
  cudaError_t lost = cudaSuccess;
  bool holds = false;
  int products_at_once = 0;
};

State& Global();
// What the call fails with, if it does.
cudaError_t Fault(const char* function);
bool IsLost();

// Of a kernel of that name; `arguments` are copied.
Work KernelWork(const std::string& kernel, void** arguments);

}  // namespace mlpserve::cuda::fake
