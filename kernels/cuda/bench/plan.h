// What a plan file says: one step a line, and lists as products (main.cc has the syntax).
#pragma once

#include <map>
#include <string>
#include <vector>

#include "kernels/cuda/bench/kernel.h"

namespace mlpserve::bench {

extern const std::map<std::string, Compute> kComputes;
extern const std::map<std::string, EpilogueName> kEpilogues;

template <typename Value>
std::string NameOf(const std::map<std::string, Value>& names, Value value) {
  for (const auto& [name, v] : names) {
    if (v == value) return name;
  }
  return "?";
}

struct Step {
  std::string mode;
  Problem problem;
  double seconds = 0.3;
  std::vector<Variant> variants;
};

std::vector<Step> ReadPlan(const std::string& path);

// "bf16 gelu 16x8192x8192", with "+8" for rows that are padded.
std::string Describe(const Problem& problem);

}  // namespace mlpserve::bench
