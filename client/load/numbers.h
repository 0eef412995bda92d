// Numbers as people read them.
#pragma once

#include <chrono>
#include <string>

namespace mlpserve::load {

// Three digits or more as they matter: "38,992", "120", "12.5", "0.25".
std::string WithCommas(double value);
// Microseconds, in the same way.
std::string Micros(std::chrono::nanoseconds time);
// With the unit that fits: "85 µs", "1.2 ms", "3 s".
std::string WithUnit(std::chrono::nanoseconds time);

}  // namespace mlpserve::load
