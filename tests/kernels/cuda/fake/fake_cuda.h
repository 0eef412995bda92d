// A CUDA runtime without a GPU, for tests of everything between the engine and the kernels: a test
// that links it in place of the real one runs the engine's own code, unchanged, over streams that
// are threads. Device memory is the host's, so that AddressSanitizer sees what reaches beyond it.
//
// What kernels compute: with FP32 in and out, y = x·wᵀ for a product, y = x for a pass value by
// value, and those that move rows (host_rows.cuh) move them. Epilogues, biases and other formats
// are not there: a test gives none.
//
// Threads: as the real runtime. The functions below are called from any thread; Reset while nothing
// runs.
#pragma once

#include <cuda_runtime_api.h>

#include <cstddef>
#include <cstdint>
#include <string>

namespace mlpserve::cuda::fake {

struct Options {
  int devices = 1;
  int64_t memory_bytes = int64_t{1} << 30;  // of each device
  // Compiling is pretended by libnvrtc.so.13, a library beside the test.
};

// As new: no fault, nothing held. Fails the test if something is still allocated.
void Reset(const Options& options = {});

// The next call of that function ("cudaMalloc") after `calls` more fails with it, once.
void FailCall(const std::string& function, cudaError_t error, int calls = 0);
// From now on the device is gone: what is on streams never happens, and every call fails.
void Lose(cudaError_t error);
// Whether products wait, on every stream, until they are released.
void HoldProducts(bool hold);

// What there is at this moment.
struct Counts {
  int streams = 0, events = 0, graphs = 0, kernels = 0;
  int opened = 0;  // memory of other processes
  int64_t device_bytes = 0, pinned_bytes = 0;
  bool nothing() const {
    return streams + events + graphs + kernels + opened == 0 && device_bytes + pinned_bytes == 0;
  }
};
Counts CountAll();
// Since Reset.
struct Calls {
  int64_t launches = 0;  // of kernels, without those within graphs
  int64_t graph_launches = 0;
  int64_t copies = 0;        // put on a stream
  int64_t products = 0;      // computed, within graphs too
  int64_t product_rows = 0;  // of all of these
  int most_at_once = 0;      // products that were computed, or held, at one time
};
Calls CountCalls();

}  // namespace mlpserve::cuda::fake
