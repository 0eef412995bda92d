#include "server/status/page.h"

#include <algorithm>
#include <cmath>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "server/status/page_frame.h"

namespace mlpserve {
namespace {

std::string Escape(const std::string& text) {
  std::string escaped;
  for (const char c : text) {
    switch (c) {
      case '&':
        escaped += "&amp;";
        break;
      case '<':
        escaped += "&lt;";
        break;
      case '>':
        escaped += "&gt;";
        break;
      case '"':
        escaped += "&quot;";
        break;
      case '\'':
        escaped += "&#39;";
        break;
      default:
        escaped += c;
    }
  }
  return escaped;
}

std::string Grouped(uint64_t number) {
  std::string digits = absl::StrCat(number), grouped;
  for (size_t i = 0; i < digits.size(); ++i) {
    if (i > 0 && (digits.size() - i) % 3 == 0) grouped += ',';
    grouped += digits[i];
  }
  return grouped;
}

std::string Rate(double value) {
  if (value == 0) return "0";
  if (value < 9.95) return absl::StrFormat("%.1f", value);
  return Grouped(static_cast<uint64_t>(std::llround(value)));
}

std::string Time(std::chrono::nanoseconds time) {
  const auto ns = static_cast<double>(time.count());
  if (ns == 0) return "–";
  if (ns < 1e6) return absl::StrFormat("%.0f µs", ns / 1e3);
  if (ns < 1e9) return absl::StrFormat("%.*f ms", ns < 1e7 ? 1 : 0, ns / 1e6);
  return absl::StrFormat("%.1f s", ns / 1e9);
}

std::string Bytes(double bytes) {
  constexpr const char* kUnits[] = {"B", "KiB", "MiB", "GiB", "TiB"};
  size_t unit = 0;
  for (; bytes >= 1000 && unit + 1 < std::size(kUnits); ++unit) bytes /= 1024;
  return absl::StrFormat("%.*f %s", unit == 0 || bytes >= 99.5 ? 0 : 1, bytes, kUnits[unit]);
}

std::string Uptime(std::chrono::seconds uptime) {
  const int64_t s = std::max<int64_t>(0, uptime.count());
  if (s < 60) return absl::StrCat(s, " s");
  if (s < 3600) return absl::StrCat(s / 60, " min ", s % 60, " s");
  if (s < 86400) return absl::StrCat(s / 3600, " h ", s / 60 % 60, " min");
  return absl::StrCat(s / 86400, " d ", s / 3600 % 24, " h");
}

std::string Bar(double part) {
  const double percent = 100 * std::clamp(std::isfinite(part) ? part : 0.0, 0.0, 1.0);
  return absl::StrFormat("<span class=\"bar\"><i style=\"width:%.0f%%\"></i></span>", percent);
}

std::string Pill(const char* kind, const std::string& text) {
  return absl::StrCat("<span class=\"pill ", kind, "\">", text, "</span>");
}

const char* KindOf(BlockState state) {
  if (state == BlockState::kReady) return "good";
  return state == BlockState::kFailed ? "bad" : "busy";
}

std::string Tile(const char* what, const std::string& value) {
  return absl::StrCat("<div class=\"tile\"><b>", value, "</b><span class=\"faint\">", what,
                      "</span></div>\n");
}

std::string Cell(const char* heading, const std::string& contents) {
  return absl::StrCat("<td data-of=\"", heading, "\">", contents, "</td>\n");
}

std::string NameCell(const BlockView& block) {
  std::string cell = absl::StrCat("<td><span class=\"name\">", Escape(block.name), "</span> ");
  if (block.version > 0)
    absl::StrAppend(&cell, "<span class=\"faint\">v", block.version, "</span> ");
  absl::StrAppend(&cell, Pill(KindOf(block.state), std::string(Name(block.state))));
  for (const std::string* line : {&block.signature, &block.reason}) {
    if (!line->empty()) {
      absl::StrAppend(&cell, "<br><span class=\"small faint\">", Escape(*line), "</span>");
    }
  }
  return cell + "</td>\n";
}

std::string QueueCell(const std::optional<QueueState>& queue) {
  if (!queue) return "–";
  return absl::StrCat(
      Grouped(static_cast<uint64_t>(std::max<int64_t>(0, queue->queued_rows))), " rows",
      Bar(static_cast<double>(queue->queued_rows) / static_cast<double>(queue->queued_rows_limit)));
}

// What it holds: on the devices, where there are some, and on the host.
std::string MemoryCell(const std::optional<BlockMemory>& memory) {
  if (!memory) return "–";
  std::string host = Bytes(static_cast<double>(memory->weights + memory->buffers));
  if (memory->device == 0) return host;
  return absl::StrCat(Bytes(static_cast<double>(memory->device)),
                      "<br><span class=\"small faint\">host ", host, "</span>");
}

std::string Row(const BlockView& block) {
  const Activity& lately = block.lately;
  const std::string failures = lately.failures_per_second > 0
                                   ? Pill("bad", Rate(lately.failures_per_second))
                                   : std::string("0");
  return absl::StrCat(
      block.state == BlockState::kReady ? "<tr>\n" : "<tr class=\"out\">\n", NameCell(block),
      Cell("requests/s", Rate(lately.requests_per_second)),
      Cell("rows/s", Rate(lately.rows_per_second)), Cell("p50", Time(lately.p50)),
      Cell("p99", Time(lately.p99)), Cell("failed/s", failures),
      Cell("queue", QueueCell(block.queue)),
      Cell("fill", lately.fill > 0 ? absl::StrFormat("%.0f%%", 100 * lately.fill) + Bar(lately.fill)
                                   : std::string("–")),
      Cell("memory", MemoryCell(block.memory)), "</tr>\n");
}

std::string Blocks(const StatusView& view) {
  std::string html = "<h2>Blocks <span class=\"faint\">· over the last minute</span></h2>\n";
  if (view.blocks.empty()) {
    return html + "<div class=\"card empty\">There is no block in the model repository.</div>\n";
  }
  absl::StrAppend(&html,
                  "<div class=\"card\"><table>\n<thead><tr><th>block</th><th>requests/s</th>"
                  "<th>rows/s</th><th>p50</th><th>p99</th><th>failed/s</th><th>queue</th>"
                  "<th>fill</th><th>memory</th></tr></thead>\n<tbody>\n");
  for (const BlockView& block : view.blocks) html += Row(block);
  return html + "</tbody></table></div>\n";
}

std::string DeviceRow(const DeviceState& device) {
  std::string html =
      absl::StrCat("<tr>\n<td><span class=\"name\">GPU ", Escape(device.device), "</span></td>\n");
  const auto used = device.memory_used_bytes.value_or(0);
  const auto total = device.memory_total_bytes.value_or(0);
  absl::StrAppend(&html, Cell("memory", total > 0 ? absl::StrCat(Bytes(used), " of ", Bytes(total),
                                                                 Bar(used / total))
                                                  : std::string("–")));
  const auto busy = device.utilization_ratio;
  absl::StrAppend(&html, Cell("busy", busy ? absl::StrFormat("%.0f%%", 100 * *busy) + Bar(*busy)
                                           : std::string("–")));
  const auto number = [](const std::optional<double>& value, const char* unit) {
    return value ? absl::StrFormat("%.0f %s", *value, unit) : std::string("–");
  };
  absl::StrAppend(&html, Cell("power", number(device.power_watts, "W")),
                  Cell("temperature", number(device.temperature_celsius, "°C")));
  return html + "</tr>\n";
}

std::string Devices(const StatusView& view) {
  std::string html = absl::StrCat("<h2>Devices <span class=\"faint\">· backend ",
                                  Escape(view.backend), "</span></h2>\n<div class=\"card\">");
  if (!view.device_states.empty()) {
    absl::StrAppend(&html,
                    "<table>\n<thead><tr><th>device</th><th>memory</th><th>busy</th>"
                    "<th>power</th><th>temperature</th></tr></thead>\n<tbody>\n");
    for (const DeviceState& device : view.device_states) html += DeviceRow(device);
    html += "</tbody></table>";
  }
  html += "<ul class=\"notes\">\n";
  for (const std::string& device : view.devices) {
    absl::StrAppend(&html, "<li>", Escape(device), "</li>\n");
  }
  for (const std::string& loss : view.losses) {
    absl::StrAppend(&html, "<li>", Pill("busy", "degraded"), " ", Escape(loss), "</li>\n");
  }
  return html + "</ul></div>\n";
}

std::string Header(const StatusView& view) {
  return absl::StrCat(
      "<header><h1>mlpserve</h1>",
      Pill(view.ready ? "good" : "busy", view.ready ? "ready" : "not ready"),
      view.reason.empty() ? "" : absl::StrCat("<span>", Escape(view.reason), "</span>"),
      "<span class=\"faint\">", Escape(view.version), " · up ", Uptime(view.uptime),
      "</span></header>\n");
}

std::string Tiles(const StatusView& view) {
  double requests = 0, rows = 0, failures = 0;
  std::chrono::nanoseconds p99{};
  int64_t ready = 0;
  for (const BlockView& block : view.blocks) {
    requests += block.lately.requests_per_second;
    rows += block.lately.rows_per_second;
    failures += block.lately.failures_per_second;
    p99 = std::max(p99, block.lately.p99);
    ready += block.state == BlockState::kReady ? 1 : 0;
  }
  return absl::StrCat(
      "<div class=\"tiles\">\n", Tile("requests/s", Rate(requests)), Tile("rows/s", Rate(rows)),
      Tile("p99, slowest block", Time(p99)), Tile("failed/s", Rate(failures)),
      Tile("blocks ready", absl::StrCat(ready, " of ", view.blocks.size())),
      Tile("process memory", view.memory_bytes > 0 ? Bytes(static_cast<double>(view.memory_bytes))
                                                   : std::string("–")),
      "</div>\n");
}

}  // namespace

std::string RenderPage(const StatusView& view) {
  return absl::StrCat(kPageHead, "<main>\n", Header(view), Tiles(view), Blocks(view), Devices(view),
                      "<footer><a href=\"/metrics\">/metrics</a><a href=\"/healthz\">/healthz</a>"
                      "<a href=\"/readyz\">/readyz</a></footer>\n</main>\n",
                      kPageTail);
}

}  // namespace mlpserve
