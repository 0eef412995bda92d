// How many CTAs of a kernel one multiprocessor holds at a time, by arithmetic alone: what
// NVIDIA's cuda_occupancy.h computes, for compute capability 8.0 and above with all memory that may
// be shared set aside for it.
#pragma once

#include <optional>

namespace mlpserve::cuda {

// What a multiprocessor (SM) has. The defaults are compute capability 8.9's.
// Source: CUDA Programming Guide, appendix Compute Capabilities, tables of technical specifications
// and of shared memory sizes; CTAs of 8.9 and 12.0 also in cuda_occupancy.h of CUDA 13.0.
struct SmLimits {
  int shared_per_cta = 99 << 10;  // bytes, static and dynamic together
  int shared_per_sm = 100 << 10;  // bytes
  int registers_per_sm = 65536;   // of 32 bits; also what a CTA may have
  int threads_per_sm = 1536;
  int ctas_per_sm = 24;

  bool operator==(const SmLimits&) const = default;
};

// `capability`: 10 · major + minor; 80, 86, 89, 90 and 120 are known.
std::optional<SmLimits> SmLimitsOf(int capability);

struct CtaResources {
  int threads = 0;
  int registers = 0;     // of each thread
  int shared_bytes = 0;  // static and dynamic together
};

// 0 where not even one runs.
int CtasPerSm(const SmLimits& limits, const CtaResources& cta);

}  // namespace mlpserve::cuda
