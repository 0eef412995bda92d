#include "client/load/svg.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"

namespace mlpserve::load {
namespace {

// Sizes in pixels.
constexpr double kPanelWidth = 470, kPanelHeight = 320, kHead = 74, kFoot = 12;
constexpr double kLeft = 58, kRight = 78, kTop = 40, kBottom = 48;
constexpr double kPlotWidth = kPanelWidth - kLeft - kRight;
constexpr double kPlotHeight = kPanelHeight - kTop - kBottom;
constexpr double kLabelGap = 14;  // between names at the ends of lines
constexpr double kTickGap = 30;   // between numbers on the x axis

constexpr const char* kStyle = R"(<style>
text { font: 12px system-ui, "Segoe UI", "Helvetica Neue", "DejaVu Sans", sans-serif; fill: #52606d; }
.title { font-size: 18px; font-weight: 600; fill: #1f2933; }
.panel { font-size: 13px; font-weight: 600; fill: #1f2933; }
.page { fill: #ffffff; } .grid { stroke: #e4e7eb; } .base { stroke: #9aa5b1; }
.line { fill: none; stroke-width: 2; stroke-linejoin: round; stroke-linecap: round; }
.area { stroke: none; fill-opacity: 0.12; } .dot { stroke: #ffffff; stroke-width: 1.5; }
.faint.line { stroke: #7db1ea; } .faint.dot, .faint.name { fill: #4f8fd6; }
.middle.line { stroke: #3a7cc4; } .middle.dot, .middle.name { fill: #3a7cc4; }
.strong.line { stroke: #174a8c; } .strong.dot, .strong.name, .strong.area { fill: #174a8c; }
.accent.line { stroke: #d4551c; } .accent.dot, .accent.name { fill: #c2480f; }
.dashed.line { stroke: #9aa5b1; stroke-dasharray: 5 5; } .dashed.name { fill: #6b7785; }
@media (prefers-color-scheme: dark) {
text { fill: #9fb0c0; } .title, .panel { fill: #e8eef4; }
.page { fill: #12181f; } .grid { stroke: #28323d; } .base { stroke: #5b6875; }
.dot { stroke: #12181f; }
.faint.line { stroke: #3f74ad; } .faint.dot, .faint.name { fill: #5b93d1; }
.middle.line { stroke: #6aa5e4; } .middle.dot, .middle.name { fill: #6aa5e4; }
.strong.line { stroke: #b3d6ff; } .strong.dot, .strong.name, .strong.area { fill: #b3d6ff; }
.accent.line { stroke: #ff9560; } .accent.dot, .accent.name { fill: #ff9560; }
}
</style>
)";

const char* ClassOf(LineStyle style) {
  constexpr const char* kClasses[] = {"faint", "middle", "strong", "accent", "dashed"};
  return kClasses[static_cast<size_t>(style)];
}

std::string Escape(const std::string& text) {
  std::string escaped;
  for (const char c : text) {
    if (c == '&') {
      escaped += "&amp;";
    } else if (c == '<') {
      escaped += "&lt;";
    } else if (c == '>') {
      escaped += "&gt;";
    } else {
      escaped += static_cast<unsigned char>(c) < 0x20 ? ' ' : c;  // XML has no control characters
    }
  }
  return escaped;
}

std::string Text(double x, double y, const std::string& attributes, const std::string& text) {
  return absl::StrFormat("<text x=\"%.1f\" y=\"%.1f\" %s>%s</text>\n", x, y, attributes,
                         Escape(text));
}

// One panel at a place of the page.
class PanelWriter {
 public:
  PanelWriter(const Panel& panel, double left, double top)
      : panel_(panel), left_(left + kLeft), top_(top + kTop) {}

  std::string Write() {
    absl::StrAppend(&svg_, Text(left_, top_ - 16, "class=\"panel\"", panel_.title));
    WriteAxes();
    for (const Line& line : panel_.lines) WriteLine(line);
    WriteNames();
    return std::move(svg_);
  }

 private:
  double X(double value) const { return left_ + panel_.x.Fraction(value) * kPlotWidth; }
  double Y(double value) const { return top_ + (1 - panel_.y.Fraction(value)) * kPlotHeight; }

  void WriteAxes() {
    for (const double tick : panel_.y.ticks) {
      absl::StrAppend(&svg_, absl::StrFormat("<line class=\"grid\" x1=\"%.1f\" x2=\"%.1f\" "
                                             "y1=\"%.1f\" y2=\"%.1f\"/>\n",
                                             left_, left_ + kPlotWidth, Y(tick), Y(tick)));
      absl::StrAppend(&svg_,
                      Text(left_ - 8, Y(tick) + 4, "text-anchor=\"end\"", ShortNumber(tick)));
    }
    absl::StrAppend(
        &svg_, absl::StrFormat("<line class=\"base\" x1=\"%.1f\" x2=\"%.1f\" "
                               "y1=\"%.1f\" y2=\"%.1f\"/>\n",
                               left_, left_ + kPlotWidth, top_ + kPlotHeight, top_ + kPlotHeight));
    double last = -1e9;
    for (size_t i = 0; i < panel_.x.ticks.size(); ++i) {
      const double x = X(panel_.x.ticks[i]);
      if (x - last < kTickGap) continue;
      last = x;
      absl::StrAppend(
          &svg_, Text(x, top_ + kPlotHeight + 18, "text-anchor=\"middle\"",
                      panel_.x_names.empty() ? ShortNumber(panel_.x.ticks[i]) : panel_.x_names[i]));
    }
    absl::StrAppend(&svg_, Text(left_ + kPlotWidth / 2, top_ + kPlotHeight + 38,
                                "text-anchor=\"middle\"", panel_.x_label));
  }

  void WriteLine(const Line& line) {
    std::string path;
    for (const auto& [x, y] : line.points) {
      absl::StrAppend(&path, path.empty() ? "M" : "L", absl::StrFormat("%.1f %.1f", X(x), Y(y)));
    }
    if (path.empty()) return;
    const char* name = ClassOf(line.style);
    if (line.filled && line.points.size() > 1) {
      absl::StrAppend(
          &svg_, absl::StrFormat("<path class=\"area %s\" d=\"%sL%.1f %.1fL%.1f %.1fZ\"/>\n", name,
                                 path, X(line.points.back().first), top_ + kPlotHeight,
                                 X(line.points.front().first), top_ + kPlotHeight));
    }
    absl::StrAppend(&svg_, "<path class=\"line ", name, "\" d=\"", path, "\"/>\n");
    if (!line.dots) return;
    for (const auto& [x, y] : line.points) {
      absl::StrAppend(
          &svg_,
          absl::StrFormat("<circle class=\"dot %s\" cx=\"%.1f\" cy=\"%.1f\" "
                          "r=\"3.5\"><title>%s</title></circle>\n",
                          name, X(x), Y(y), Escape(absl::StrCat(line.name, ": ", ShortNumber(y)))));
    }
  }

  // At the lines' ends, moved apart where they would cover one another.
  void WriteNames() {
    std::vector<std::pair<double, const Line*>> names;
    for (const Line& line : panel_.lines) {
      if (!line.points.empty()) names.push_back({Y(line.points.back().second), &line});
    }
    std::sort(names.begin(), names.end());
    // Downwards, then up again from the bottom where that went too far.
    for (size_t i = 1; i < names.size(); ++i) {
      names[i].first = std::max(names[i].first, names[i - 1].first + kLabelGap);
    }
    double lowest = top_ + kPlotHeight;
    for (size_t i = names.size(); i-- > 0; lowest -= kLabelGap) {
      names[i].first = std::min(names[i].first, lowest);
    }
    for (const auto& [y, line] : names) {
      const double x = X(line->points.back().first) + 9;
      absl::StrAppend(
          &svg_,
          Text(x, y + 4, absl::StrCat("class=\"name ", ClassOf(line->style), "\""), line->name));
    }
  }

  const Panel& panel_;
  const double left_;
  const double top_;
  std::string svg_;
};

}  // namespace

std::string Draw(const Plot& plot) {
  size_t columns = 1;
  for (const auto& row : plot.rows) columns = std::max(columns, row.size());
  const double width = static_cast<double>(columns) * kPanelWidth;
  const double height = kHead + static_cast<double>(plot.rows.size()) * kPanelHeight + kFoot;
  std::string svg = absl::StrFormat(
      "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 %.0f %.0f\" width=\"%.0f\" "
      "height=\"%.0f\" role=\"img\">\n<title>%s</title>\n",
      width, height, width, height, Escape(plot.title));
  absl::StrAppend(&svg, kStyle, "<rect class=\"page\" width=\"100%\" height=\"100%\"/>\n",
                  Text(20, 34, "class=\"title\"", plot.title),
                  Text(20, 55, "class=\"subtitle\"", plot.subtitle));
  for (size_t row = 0; row < plot.rows.size(); ++row) {
    for (size_t column = 0; column < plot.rows[row].size(); ++column) {
      svg += PanelWriter(plot.rows[row][column], static_cast<double>(column) * kPanelWidth,
                         kHead + static_cast<double>(row) * kPanelHeight)
                 .Write();
    }
  }
  return svg + "</svg>\n";
}

}  // namespace mlpserve::load
