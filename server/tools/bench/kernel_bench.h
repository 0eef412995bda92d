// The seam between the benchmark and what computes: a KernelBench prepares one problem at a time,
// and computes and times it in every way that was asked for. Implemented by GPUs and processors.
//
// Threads: one. Calls come in the order of the methods below; Prepare forgets the last problem.
// Errors: INVALID_ARGUMENT and NOT_FOUND are the caller's; RESOURCE_EXHAUSTED, the problem does not
// fit; the rest are failures of the device.
#pragma once

#include <optional>
#include <span>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "kernels/spec/block.h"
#include "server/tools/bench/expected.h"
#include "server/tools/bench/problem.h"
#include "server/tools/bench/record.h"

namespace mlpserve::tools {

// Which ways of computing a layer are wanted.
struct Variants {
  enum class Kind : uint8_t {
    kChosen,  // the one that the service would choose
    kAll,     // every one that the service could choose
    kNamed,   // those in `names`
  };
  Kind kind = Kind::kChosen;
  std::vector<std::string> names;
};

struct Candidate {
  std::string variant;    // as the service names it
  bool is_plain = false;  // the library's bare product
  std::string refused;    // why it cannot be run; empty if it can
  std::optional<Resources> resources;
};

struct TimeOptions {
  int burst_rounds = 40;
  double seconds = 1;  // that each runs alone in each of `rounds` turns
  int rounds = 2;
};

struct Times {
  double burst_ms = 0;
  double ms = 0;
  double chain_ms = 0;  // for one layer of the chain; 0 without a chain
};

struct MachineFigures {
  std::string name;          // "NVIDIA H200", "processor, 2 threads"
  std::string driver;        // empty: none
  double power_limit_w = 0;  // 0: not known
};

struct Output {
  std::vector<float> values;  // [m, columns.count]
  int64_t trespasses = 0;     // bytes that were written beside y, or between its rows
};

struct CardFigures {  // means; 0: not known
  double sm_mhz = 0;
  double power_w = 0;
};

class KernelBench {
 public:
  virtual ~KernelBench() = default;

  virtual MachineFigures Machine() const = 0;
  virtual std::vector<std::string> Warnings() const { return {}; }  // what is missing, in words
  // Gigabytes per second at which memory is read; 0: not measured.
  virtual double MeasureReading() { return 0; }

  // RESOURCE_EXHAUSTED, with both sizes, where the problem needs more memory than there is.
  virtual absl::Status CheckFits(const Problem& problem) const = 0;
  // x is [m, k]. The layer's weights are copied as often as it takes for every launch to read them
  // from memory. A named variant that cannot run is an error, or a candidate whose `refused` says
  // why: such a candidate must not be passed to the methods below.
  virtual absl::StatusOr<std::vector<Candidate>> Prepare(const Problem& problem,
                                                         const LayerSpec& layer,
                                                         std::span<const float> x,
                                                         const Variants& variants) = 0;
  // The prepared problem's product in float64.
  virtual absl::StatusOr<ProductSums> Multiply(ComputeType rounded_to, Columns columns) = 0;
  // Poisons y, lets the candidate compute all of it, and returns some of its columns.
  virtual absl::StatusOr<Output> Compute(size_t candidate, Columns columns) = 0;
  // Whether a row has the same bits in a batch of fewer rows. Must not be asked of a plain product,
  // nor of an epilogue with batch statistics.
  virtual absl::StatusOr<bool> RowsStandAlone(size_t candidate) = 0;
  // Whether a chain, run as it is timed, gives the same bits as its layers run one by one. For
  // problems with a chain only; a plain product has none.
  virtual absl::StatusOr<bool> ChainHolds(size_t candidate) = 0;
  // Times the candidates in turn (in_turn.h); results are in the order of `candidates`.
  virtual absl::StatusOr<std::vector<Times>> Time(const std::vector<size_t>& candidates,
                                                  const TimeOptions& options) = 0;
  // Launches each candidate once, between the start and the stop that a profiler waits for.
  virtual absl::Status Profile(const std::vector<size_t>& candidates) = 0;
  // The card's means since the last call.
  virtual CardFigures TakeCardFigures() { return {}; }
};

}  // namespace mlpserve::tools
