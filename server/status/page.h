// The status page as HTML: a page of its own, without other files; complete without JavaScript,
// with which it fetches itself anew every two seconds. Whatever a name holds, it is shown as text.
#pragma once

#include <chrono>
#include <optional>
#include <string>
#include <vector>

#include "server/metrics/metrics.h"
#include "server/status/history.h"
#include "server/vocabulary/block_memory.h"
#include "server/vocabulary/block_state.h"
#include "server/vocabulary/queue_state.h"

namespace mlpserve {

struct BlockView {
  std::string name;
  int64_t version = 0;  // 0: none was chosen
  BlockState state = BlockState::kLoading;
  std::string reason;     // why it is not ready
  std::string signature;  // "x FP32 [64] → logits FP32 [10]"
  Activity lately;
  std::optional<QueueState> queue;
  std::optional<BlockMemory> memory;
};

struct StatusView {
  std::string version;                     // of the server
  std::string backend;                     // "cpu", "cuda"
  std::vector<std::string> devices;        // in words
  std::vector<std::string> losses;         // what the backend must do without
  std::vector<DeviceState> device_states;  // as far as a driver tells
  bool ready = false;
  std::string reason;  // why it is not ready
  std::chrono::seconds uptime{};
  int64_t memory_bytes = 0;  // of the process, resident; 0: not known
  std::vector<BlockView> blocks;
};

std::string RenderPage(const StatusView& view);

}  // namespace mlpserve
