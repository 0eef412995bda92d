#include "kernels/cuda/driver/stream.h"

#include "kernels/cuda/driver/status.h"
#include "kernels/status/status_macros.h"

namespace mlpserve::cuda {

void Stream::Destroy::operator()(cudaStream_t stream) const { (void)cudaStreamDestroy(stream); }
void Event::Destroy::operator()(cudaEvent_t event) const { (void)cudaEventDestroy(event); }
void Graph::Destroy::operator()(cudaGraphExec_t graph) const { (void)cudaGraphExecDestroy(graph); }

absl::StatusOr<Stream> Stream::Create() {
  cudaStream_t stream = nullptr;
  MLPSERVE_RETURN_IF_CUDA_ERROR(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking));
  Stream owner;
  owner.stream_.reset(stream);
  return owner;
}

absl::Status Stream::Synchronize() const {
  return StatusOf(cudaStreamSynchronize(get()), "cudaStreamSynchronize");
}

absl::StatusOr<Event> Event::Create() {
  cudaEvent_t event = nullptr;
  MLPSERVE_RETURN_IF_CUDA_ERROR(cudaEventCreate(&event));
  Event owner;
  owner.event_.reset(event);
  return owner;
}

absl::Status Event::Record(const Stream& stream) const {
  return StatusOf(cudaEventRecord(get(), stream.get()), "cudaEventRecord");
}

absl::StatusOr<bool> Event::Happened() const {
  const cudaError_t queried = cudaEventQuery(get());
  if (queried == cudaErrorNotReady) return false;
  MLPSERVE_RETURN_IF_ERROR(StatusOf(queried, "cudaEventQuery"));
  return true;
}

absl::StatusOr<float> MillisecondsBetween(const Event& begin, const Event& end) {
  float ms = 0;
  MLPSERVE_RETURN_IF_CUDA_ERROR(cudaEventElapsedTime(&ms, begin.get(), end.get()));
  return ms;
}

absl::StatusOr<Graph> Graph::Capture(const Stream& stream,
                                     const std::function<absl::Status()>& launch) {
  MLPSERVE_RETURN_IF_CUDA_ERROR(
      cudaStreamBeginCapture(stream.get(), cudaStreamCaptureModeThreadLocal));
  const absl::Status launched = launch();
  cudaGraph_t captured = nullptr;
  const cudaError_t ended = cudaStreamEndCapture(stream.get(), &captured);
  struct DestroyCaptured {
    void operator()(cudaGraph_t graph) const { (void)cudaGraphDestroy(graph); }
  };
  const std::unique_ptr<std::remove_pointer_t<cudaGraph_t>, DestroyCaptured> owner(captured);
  MLPSERVE_RETURN_IF_ERROR(launched);
  MLPSERVE_RETURN_IF_ERROR(StatusOf(ended, "cudaStreamEndCapture"));
  cudaGraphExec_t executable = nullptr;
  MLPSERVE_RETURN_IF_CUDA_ERROR(cudaGraphInstantiate(&executable, captured, 0));
  Graph graph;
  graph.graph_.reset(executable);
  return graph;
}

absl::Status Graph::Launch(const Stream& stream) const {
  return StatusOf(cudaGraphLaunch(graph_.get(), stream.get()), "cudaGraphLaunch");
}

absl::Status Graph::Upload(const Stream& stream) const {
  return StatusOf(cudaGraphUpload(graph_.get(), stream.get()), "cudaGraphUpload");
}

}  // namespace mlpserve::cuda
