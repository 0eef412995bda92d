// Handwritten digits as text: the demonstration's 8 x 8 images.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

namespace mlpserve::demo {

constexpr int kDigitSide = 8;  // pixels
constexpr int kDigitPixels = kDigitSide * kDigitSide;

struct LabelledDigit {
  std::span<const float> pixels;  // [kDigitPixels], -1 is empty, 1 is ink; row-major
  int64_t predicted = 0;
  int64_t label = 0;
};

// The digits side by side, eight lines and one below that says what each was taken for.
std::string Pictures(const std::vector<LabelledDigit>& digits);

}  // namespace mlpserve::demo
