#include "server/tools/bench/batch_trace.h"

#include <algorithm>
#include <fstream>
#include <nlohmann/json.hpp>
#include <utility>

#include "absl/strings/str_cat.h"

namespace mlpserve::tools {
namespace {

using Stretch = std::pair<std::chrono::nanoseconds, std::chrono::nanoseconds>;

constexpr std::array kNames = {"copy in", "compute", "copy out"};

double Microseconds(std::chrono::nanoseconds time) {
  return std::chrono::duration<double, std::micro>(time).count();
}

// In their order, those that overlap as one.
std::vector<Stretch> Union(std::vector<Stretch> stretches) {
  std::ranges::sort(stretches);
  std::vector<Stretch> whole;
  for (const Stretch& next : stretches) {
    if (whole.empty() || next.first > whole.back().second) {
      whole.push_back(next);
    } else {
      whole.back().second = std::max(whole.back().second, next.second);
    }
  }
  return whole;
}

}  // namespace

double CopiedWhileComputing(const std::vector<TracedBatch>& batches) {
  std::vector<Stretch> computed;
  std::vector<Stretch> copied;
  for (const TracedBatch& batch : batches) {
    copied.emplace_back(batch.marks[0], batch.marks[1]);
    computed.emplace_back(batch.marks[1], batch.marks[2]);
    copied.emplace_back(batch.marks[2], batch.marks[3]);
  }
  computed = Union(computed);
  copied = Union(copied);
  std::chrono::nanoseconds all{};
  std::chrono::nanoseconds both{};
  for (const auto& [begin, end] : computed) {
    all += end - begin;
    for (const auto& [from, to] : copied) {
      both += std::max(std::chrono::nanoseconds{}, std::min(end, to) - std::max(begin, from));
    }
  }
  return all.count() > 0 ? static_cast<double>(both.count()) / static_cast<double>(all.count()) : 0;
}

std::string ToChromeTrace(const std::vector<TracedBatch>& batches) {
  auto events = nlohmann::ordered_json::array();
  for (const TracedBatch& batch : batches) {
    for (size_t i = 0; i < kNames.size(); ++i) {
      events.push_back({{"name", kNames[i]},
                        {"ph", "X"},
                        {"ts", Microseconds(batch.marks[i])},
                        {"dur", Microseconds(batch.marks[i + 1] - batch.marks[i])},
                        {"pid", 0},
                        {"tid", batch.lane},
                        {"args", {{"rows", batch.rows}}}});
    }
  }
  return nlohmann::ordered_json{{"displayTimeUnit", "ns"}, {"traceEvents", std::move(events)}}
      .dump();
}

absl::Status WriteTrace(const std::vector<TracedBatch>& batches, const std::string& file) {
  std::ofstream out(file);
  out << ToChromeTrace(batches) << "\n";
  if (out.flush()) return absl::OkStatus();
  return absl::UnavailableError(absl::StrCat("cannot write ", file));
}

}  // namespace mlpserve::tools
