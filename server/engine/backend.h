// The seam between the service and what computes: a Backend loads blocks, a LoadedBlock runs
// batches of rows. Implemented by the CPU backend, the CUDA backend, and a fake for tests.
//
// A block is loaded in two steps. Prepare says where it will live and what it will take, before
// anything is allocated, so that the caller can refuse. Load allocates, prepares and warms.
//
// A LoadedBlock owns two pools of buffers: slots, that requests are gathered in, and outputs, that
// responses are sent from. Their addresses stay from load to end; their memory is there as far as
// batches use it (BatchRunner::ready_rows, memory). It runs up to `lanes` batches at a time; lanes
// are alike to the caller, and the backend maps them to streams and devices.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <stop_token>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "kernels/spec/block.h"
#include "server/vocabulary/batch.h"
#include "server/vocabulary/batch_time.h"
#include "server/vocabulary/batching_options.h"
#include "server/vocabulary/block_memory.h"
#include "server/vocabulary/kernel_variant.h"

namespace mlpserve {

// Where a block will live, and what it will take there. The caller may change `slots` and `outputs`
// before it gives this to Load.
struct Placement {
  std::vector<std::string> devices;  // that hold the block, as Backend::devices names them
  int lanes = 1;                     // batches that run at a time
  int lanes_per_device = 1;          // of which each device has so many, the first ones the first
  int slots = 3;                     // at least lanes + 1 lets one fill while others run
  int outputs = 6;                   // at least lanes
  int64_t max_rows = 0;              // of a slot, and so of a batch
  std::vector<int64_t> buckets;      // ascending row counts to prepare for; empty: chosen by Load
  // Run computes on the calling thread, and the batch has ended when it returns: as long as that
  // takes, the thread does nothing else. False: Run only starts the batch.
  bool runs_inline = false;
  int64_t host_bytes = 0;    // at most, every slot and output full
  int64_t device_bytes = 0;  // on each device
};

// How far a load has come.
struct LoadProgress {
  std::string_view step;  // "packing weights"
  int64_t done = 0;
  int64_t total = 0;
};

// How a load is watched and bounded.
struct LoadControl {
  std::stop_token stop;  // once asked for, Load ends within half a second, with CANCELLED
  std::function<void(const LoadProgress&)> progress;  // on the thread of Load; may be empty
  // False: choose kernels without timing any, as a load beside traffic must: measuring would slow
  // the traffic, and the traffic would falsify the measurements.
  bool may_measure = true;
};

class LoadedBlock : public BatchRunner {
 public:
  // No batch may be in flight when it is destroyed. Statuses that batches end with:
  // RESOURCE_EXHAUSTED, out of memory; INTERNAL. Different lanes may be run from different threads
  // at the same time.

  virtual const Placement& placement() const = 0;
  // The number of rows that the kernels of a batch of `rows` rows were chosen for (rows <= bucket
  // <= max_rows).
  virtual int64_t Bucket(int64_t rows) const = 0;
  // What batches took when they were measured at load (MeasureBatches), from which requests are
  // refused and batches cut. Empty: the batcher learns it from what runs, and cuts nothing.
  virtual std::vector<BatchTime> batch_times() const { return {}; }
  virtual std::span<std::byte> input(int slot) = 0;     // [max_rows, input features], wire format
  virtual std::span<std::byte> output(int buffer) = 0;  // [max_rows, output features], likewise
  virtual std::vector<KernelVariant> variants() const = 0;
  virtual BlockMemory memory() const = 0;  // at this moment
};

class Backend {
 public:
  virtual ~Backend() = default;

  virtual std::string_view name() const = 0;             // "cpu", "cuda", "fake"
  virtual std::vector<std::string> devices() const = 0;  // in words, for the log and ServerMetadata

  // What Load would do. Reads the shapes and formats of `block`, which has passed Validate, not its
  // weights; allocates nothing.
  // Errors: INVALID_ARGUMENT, an option or a block that this backend cannot run; UNAVAILABLE, the
  // device is lost.
  virtual absl::StatusOr<Placement> Prepare(const BlockSpec& block,
                                            const BatchingOptions& options) const = 0;
  // Allocates, prepares and warms everything: the first Run is as fast as the thousandth. Nothing
  // of `block` is kept. `placement` is Prepare's.
  // Errors: CANCELLED, as control.stop asked; RESOURCE_EXHAUSTED, out of memory; UNAVAILABLE, the
  // device is lost; INVALID_ARGUMENT, a placement that cannot be.
  virtual absl::StatusOr<std::unique_ptr<LoadedBlock>> Load(const BlockSpec& block,
                                                            const Placement& placement,
                                                            const LoadControl& control) = 0;
};

// INVALID_ARGUMENT unless there is at least one row and slot, an output for each lane, and as many
// lanes on each device.
absl::Status Check(const Placement& placement);

// Of a row on the wire.
int64_t RowBytes(int64_t features, DataType type);
// Times batches of 2, 4, 8 .. rows, until one takes 5 ms, the next would fill more than 1 MiB of
// input or output, or max_rows is reached: some 20 ms in all, and none of it where nobody would
// notice. `run` runs one to its end.
std::vector<BatchTime> MeasureBatches(int64_t max_rows, int64_t row_bytes,
                                      const std::function<void(int64_t rows)>& run);
// Of all slots and outputs, each full.
int64_t BufferBytes(const BlockSpec& block, const Placement& placement);

}  // namespace mlpserve
