// Where one version of a block is in its life.
#pragma once

#include <cstdint>
#include <string_view>

namespace mlpserve {

enum class BlockState : uint8_t { kLoading, kReady, kFailed, kUnloading };

inline constexpr BlockState kBlockStates[] = {BlockState::kLoading, BlockState::kReady,
                                              BlockState::kFailed, BlockState::kUnloading};

// The Open Inference Protocol's words.
constexpr std::string_view Name(BlockState state) {
  switch (state) {
    case BlockState::kLoading:
      return "LOADING";
    case BlockState::kReady:
      return "READY";
    case BlockState::kFailed:
      return "UNAVAILABLE";
    case BlockState::kUnloading:
      return "UNLOADING";
  }
  return "UNKNOWN";
}

}  // namespace mlpserve
