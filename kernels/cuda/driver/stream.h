// Owners of a stream, an event and a captured graph. Move-only.
#pragma once

#include <cuda_runtime_api.h>

#include <functional>
#include <memory>
#include <type_traits>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace mlpserve::cuda {

class Stream {
 public:
  // On the calling thread's device; it does not wait for the default stream.
  static absl::StatusOr<Stream> Create();

  cudaStream_t get() const { return stream_.get(); }
  // Waits for all that was launched on it, and returns what that failed with.
  absl::Status Synchronize() const;

 private:
  struct Destroy {
    void operator()(cudaStream_t stream) const;
  };
  std::unique_ptr<std::remove_pointer_t<cudaStream_t>, Destroy> stream_;
};

class Event {
 public:
  static absl::StatusOr<Event> Create();

  absl::Status Record(const Stream& stream) const;
  // Whether what was on the stream when it was last recorded has ended; true before that. Returns
  // what that failed with, where the device is lost. Does not wait.
  absl::StatusOr<bool> Happened() const;
  cudaEvent_t get() const { return event_.get(); }

 private:
  struct Destroy {
    void operator()(cudaEvent_t event) const;
  };
  std::unique_ptr<std::remove_pointer_t<cudaEvent_t>, Destroy> event_;
};

// Between two events that have both happened.
absl::StatusOr<float> MillisecondsBetween(const Event& begin, const Event& end);

// What `launch` puts on the stream, ready to be launched as a whole. Nothing of it runs yet.
class Graph {
 public:
  static absl::StatusOr<Graph> Capture(const Stream& stream,
                                       const std::function<absl::Status()>& launch);

  absl::Status Launch(const Stream& stream) const;
  // Brings it to the device, so that the first launch is as fast as the next.
  absl::Status Upload(const Stream& stream) const;

 private:
  struct Destroy {
    void operator()(cudaGraphExec_t graph) const;
  };
  std::unique_ptr<std::remove_pointer_t<cudaGraphExec_t>, Destroy> graph_;
};

}  // namespace mlpserve::cuda
