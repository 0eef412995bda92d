// The seam between the service and what computes: a Backend loads blocks, a LoadedBlock runs
// batches of rows. Implemented by the CPU backend, a fake for tests, and GPUs.
//
// A LoadedBlock owns two pools of buffers, allocated at load: `slots` input buffers that requests
// are gathered in, and output buffers that responses are sent from. It runs up to `lanes` batches
// at a time; lanes are alike to the caller, and the backend maps them to streams and devices.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "kernels/spec/block.h"
#include "server/vocabulary/batch.h"
#include "server/vocabulary/kernel_variant.h"

namespace mlpserve {

struct LoadOptions {
  int64_t max_rows = 4096;       // rows of a slot, and so of a batch
  int slots = 3;                 // input buffers; at least lanes + 1 lets one fill while others run
  int outputs = 6;               // output buffers; at least lanes
  std::vector<int64_t> buckets;  // ascending row counts to prepare for; empty: the backend chooses
};

class LoadedBlock {
 public:
  using Done = BatchDone;

  virtual ~LoadedBlock() = default;  // no batch may be in flight

  virtual int lanes() const = 0;
  // The number of rows that the kernels of a batch of `rows` rows were chosen for (rows <= bucket
  // <= max_rows).
  virtual int64_t Bucket(int64_t rows) const = 0;
  virtual std::span<std::byte> input(int slot) = 0;     // [max_rows, input features], wire format
  virtual std::span<std::byte> output(int buffer) = 0;  // [max_rows, output features], likewise
  virtual std::vector<KernelVariant> variants() const = 0;

  // Runs one batch on an idle lane. `done` is called exactly once: inside Run by a backend that
  // computes on the calling thread (the CPU), later and on a thread of the backend's by one that is
  // asynchronous. The slot is free again, and the output complete, when it is called. Different
  // lanes may be run from different threads at the same time.
  // Errors: UNAVAILABLE, the device is lost; RESOURCE_EXHAUSTED, out of memory; INTERNAL.
  virtual void Run(const BatchRun& run, const Done& done) = 0;
};

class Backend {
 public:
  virtual ~Backend() = default;

  virtual std::string_view name() const = 0;             // "cpu", "cuda", "fake"
  virtual std::vector<std::string> devices() const = 0;  // in words, for the log and ServerMetadata
  // Allocates, prepares and warms everything: the first Run is as fast as the thousandth.
  // `block` has passed Validate. It is copied from; nothing of it is kept.
  virtual absl::StatusOr<std::unique_ptr<LoadedBlock>> Load(const BlockSpec& block,
                                                            const LoadOptions& options) = 0;
};

}  // namespace mlpserve
