// When the requests of an open loop are meant to be sent: independent of how the server fares.
// Pure; time is counted from the start of the run.
#pragma once

#include <chrono>
#include <cstdint>
#include <random>

namespace mlpserve::load {

enum class ArrivalKind : uint8_t {
  kConstant,  // evenly spaced
  kPoisson,   // independent of one another: exponentially distributed gaps
};

// One worker's part of the arrivals; all workers' parts together are `rate` arrivals a second.
class Arrivals {
 public:
  // `rate` > 0; 0 <= worker < workers. The same arguments give the same arrivals.
  Arrivals(ArrivalKind kind, double rate, int worker, int workers, uint64_t seed);

  std::chrono::nanoseconds Next();  // never before the one before

 private:
  const ArrivalKind kind_;
  const double gap_seconds_;  // between this worker's arrivals, on average
  const double first_seconds_;
  std::mt19937_64 random_;
  std::exponential_distribution<double> exponential_;
  uint64_t count_ = 0;
  double at_seconds_ = 0;
};

}  // namespace mlpserve::load
