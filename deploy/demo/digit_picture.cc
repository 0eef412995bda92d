#include "deploy/demo/digit_picture.h"

#include <algorithm>
#include <cmath>
#include <string_view>

#include "absl/strings/str_format.h"

namespace mlpserve::demo {
namespace {

constexpr std::string_view kInk = " .:-=+*#%@";
constexpr size_t kGap = 2;
constexpr size_t kCellWidth = 2 * size_t{kDigitSide} + kGap;  // square: a pixel is two characters

char InkOf(float pixel) {
  const float share = std::clamp((pixel + 1) / 2, 0.0f, 1.0f);
  return kInk[static_cast<size_t>(std::lround(share * static_cast<float>(kInk.size() - 1)))];
}

std::string Caption(const LabelledDigit& digit) {
  std::string text = absl::StrFormat("said %d, is %d%s", digit.predicted, digit.label,
                                     digit.predicted == digit.label ? "" : " !");
  text.resize(kCellWidth, ' ');
  return text;
}

}  // namespace

std::string Pictures(const std::vector<LabelledDigit>& digits) {
  std::string text;
  for (size_t y = 0; y < kDigitSide; ++y) {
    std::string line;
    for (const LabelledDigit& digit : digits) {
      for (const float pixel : digit.pixels.subspan(y * kDigitSide, kDigitSide)) {
        line.append(2, InkOf(pixel));
      }
      line.append(kGap, ' ');
    }
    text += line.substr(0, line.find_last_not_of(' ') + 1) + '\n';
  }
  for (const LabelledDigit& digit : digits) text += Caption(digit);
  return text.substr(0, text.find_last_not_of(' ') + 1) + '\n';
}

}  // namespace mlpserve::demo
