#include "server/tools/bench/cuda_timing.h"

#include "server/tools/bench/cuda_check.h"
#include "server/tools/bench/in_turn.h"

namespace mlpserve::tools {
namespace {

// Measures the time between two points of a stream.
class Stopwatch {
 public:
  explicit Stopwatch(cudaStream_t stream) : stream_(stream) {
    if (stream == nullptr) {
      BENCH_CHECK(cudaStreamCreate(&own_));
      stream_ = own_;
    }
    BENCH_CHECK(cudaEventCreate(&begin_));
    BENCH_CHECK(cudaEventCreate(&end_));
  }
  ~Stopwatch() {
    cudaEventDestroy(begin_);
    cudaEventDestroy(end_);
    if (own_ != nullptr) cudaStreamDestroy(own_);
  }
  Stopwatch(const Stopwatch&) = delete;
  Stopwatch& operator=(const Stopwatch&) = delete;

  cudaStream_t stream() const { return stream_; }

  template <typename Work>
  double Ms(const Work& work) const {
    BENCH_CHECK(cudaEventRecord(begin_, stream_));
    work();
    BENCH_CHECK(cudaEventRecord(end_, stream_));
    BENCH_CHECK(cudaEventSynchronize(end_));
    float ms = 0;
    BENCH_CHECK(cudaEventElapsedTime(&ms, begin_, end_));
    return ms;
  }

 private:
  cudaStream_t stream_, own_ = nullptr;
  cudaEvent_t begin_, end_;
};

cudaGraphExec_t Capture(const Launch& launch, int launches, cudaStream_t stream) {
  BENCH_CHECK(cudaStreamBeginCapture(stream, cudaStreamCaptureModeThreadLocal));
  for (int i = 0; i < launches; i++) launch(i, stream);
  cudaGraph_t graph;
  BENCH_CHECK(cudaStreamEndCapture(stream, &graph));
  cudaGraphExec_t exec;
  BENCH_CHECK(cudaGraphInstantiate(&exec, graph, 0));
  BENCH_CHECK(cudaGraphDestroy(graph));
  return exec;
}

}  // namespace

std::vector<double> BurstMs(const std::vector<Launch>& variants, int rounds, cudaStream_t stream) {
  const Stopwatch watch(stream);
  std::vector<RunOnce> once;
  for (const Launch& variant : variants) {
    once.push_back(
        [&watch, &variant](int turn) { return watch.Ms([&] { variant(turn, watch.stream()); }); });
  }
  return MediansInTurn(once, rounds);
}

std::vector<double> SustainedMs(const std::vector<Launch>& variants, int launches, double seconds,
                                int rounds, cudaStream_t stream) {
  const Stopwatch watch(stream);
  std::vector<cudaGraphExec_t> graphs;
  std::vector<RunMany> many;
  for (const Launch& variant : variants) {
    cudaGraphExec_t graph = Capture(variant, launches, watch.stream());
    graphs.push_back(graph);
    many.push_back([&watch, graph](int times) {
      return watch.Ms([&] {
        for (int i = 0; i < times; i++) BENCH_CHECK(cudaGraphLaunch(graph, watch.stream()));
      });
    });
  }
  std::vector<double> means = MeansInTurn(many, seconds, rounds);
  for (cudaGraphExec_t graph : graphs) cudaGraphExecDestroy(graph);
  for (double& mean : means) mean /= launches;
  return means;
}

}  // namespace mlpserve::tools
