#include "kernels/cuda/jit/device_sources.h"

#include <algorithm>

namespace mlpserve::cuda {
namespace {

constexpr std::string_view kIncludeOurs = "#include \"kernels/";
constexpr std::string_view kPragmaOnce = "#pragma once";

}  // namespace

void SourceJoiner::Add(std::string_view path) {
  const std::span<const DeviceSource> sources = DeviceSources();
  const auto source = std::find_if(sources.begin(), sources.end(),
                                   [path](const DeviceSource& s) { return s.path == path; });
  if (source == sources.end()) {
    text_.append("#error \"no embedded source ").append(path).append("\"\n");
    return;
  }
  if (std::find(added_.begin(), added_.end(), source->path) != added_.end()) return;
  added_.push_back(source->path);
  std::string_view rest = source->text;
  while (!rest.empty()) {
    const size_t end = std::min(rest.find('\n'), rest.size());
    AddLine(rest.substr(0, end));
    rest.remove_prefix(std::min(end + 1, rest.size()));
  }
}

void SourceJoiner::AddLine(std::string_view line) {
  if (line.starts_with(kIncludeOurs)) {
    const size_t open = line.find('"');
    Add(line.substr(open + 1, line.rfind('"') - open - 1));
  } else if (line != kPragmaOnce) {
    text_.append(line).append("\n");
  }
}

}  // namespace mlpserve::cuda
