// The kernels' device sources (*.cuh), embedded at build time, so that a server needs no files
// beside it to compile kernels.
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace mlpserve::cuda {

struct DeviceSource {
  std::string_view path;  // as it is included: "kernels/cuda/device/mma/mma.cuh"
  std::string_view text;
};

std::span<const DeviceSource> DeviceSources();

// Joins sources to one text that needs no include: each once, what it includes before it.
class SourceJoiner {
 public:
  // A path that is not embedded becomes an #error line, which whoever compiles the text sees.
  void Add(std::string_view path);
  void AddText(std::string_view text) { text_.append(text); }
  std::string Take() && { return std::move(text_); }

 private:
  void AddLine(std::string_view line);

  std::string text_;
  std::vector<std::string_view> added_;
};

}  // namespace mlpserve::cuda
