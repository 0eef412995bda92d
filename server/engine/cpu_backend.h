// The backend that computes on the processor: kernels/cpu behind the seam of backend.h.
//
// A block has one lane. A batch runs on the thread that calls Run, which has `done` called before
// it returns; large batches are shared with the backend's worker threads. A second lane would only
// take cores from the first: rows that arrive meanwhile are better gathered into the next batch.
//
// Threads: as backend.h says. The backend must outlive its blocks.
#pragma once

#include <memory>

#include "server/engine/backend.h"

namespace mlpserve {

struct CpuBackendOptions {
  int threads = 0;  // that compute, the calling one included, for all blocks together; 0: all cores
};

std::unique_ptr<Backend> MakeCpuBackend(const CpuBackendOptions& options);

}  // namespace mlpserve
