// Draws line plots as SVG: light or dark as the reader prefers, in any viewer, without scripts.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "client/load/axis.h"

namespace mlpserve::load {

enum class LineStyle : uint8_t { kFaint, kMiddle, kStrong, kAccent, kDashed };

struct Line {
  std::string name;  // written at its end
  LineStyle style = LineStyle::kStrong;
  std::vector<std::pair<double, double>> points;  // ascending by the first
  bool filled = false;                            // the area below it
  bool dots = true;                               // at its points
};

struct Panel {
  std::string title;
  std::string x_label;
  Axis x;
  Axis y;
  std::vector<std::string> x_names;  // of x.ticks; empty: their numbers
  std::vector<Line> lines;
};

struct Plot {
  std::string title;
  std::string subtitle;
  std::vector<std::vector<Panel>> rows;  // of panels, side by side
};

std::string Draw(const Plot& plot);

}  // namespace mlpserve::load
