// The rows of one request that lie in shared memory: before they are computed, after, or both.
//
// Threads: Read on any, between Open and Place; the others on those of the call, one at a time.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "server/shared_memory/registry.h"
#include "server/sync/mutex.h"
#include "server/transport/infer_message.h"
#include "server/vocabulary/request.h"

namespace mlpserve {

class SharedTensors final : public InputSource {
 public:
  // Finds the regions of those that are shared, of which there is one at least. `regions` is null
  // where shared memory is off. Errors: FAILED_PRECONDITION, it is off; those of
  // SharedRegions::Find.
  absl::Status Open(const SharedRegions* regions, const SharedTensor& input,
                    const SharedTensor& output);

  bool has_input() const { return input_.region != nullptr; }
  bool has_output() const { return output_.region != nullptr; }
  uint64_t output_offset() const { return output_.offset; }

  // What cannot be read is not there for the batch to compute; nobody else's rows are touched, and
  // Place tells.
  void Read(size_t offset, std::span<std::byte> to) override;

  // When the request has been computed: writes the results, if they are to lie in shared memory.
  // The names of the regions are for errors, which are those of reading and writing.
  absl::Status Place(std::string_view input, std::string_view output,
                     std::span<const OutputRows> rows);

  void Clear();

 private:
  SharedRange input_;
  SharedRange output_;
  std::atomic<bool> failed_{false};
  Mutex mutex_;
  absl::Status failure_ ABSL_GUARDED_BY(mutex_);  // the first of Read
};

}  // namespace mlpserve
