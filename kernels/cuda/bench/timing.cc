#include "kernels/cuda/bench/timing.h"

#include <algorithm>

#include "kernels/cuda/bench/check.h"

namespace mlpserve::bench {
namespace {

struct Stopwatch {
  cudaEvent_t begin, end;

  Stopwatch() {
    BENCH_CHECK(cudaEventCreate(&begin));
    BENCH_CHECK(cudaEventCreate(&end));
  }
  ~Stopwatch() {
    cudaEventDestroy(begin);
    cudaEventDestroy(end);
  }
  double Ms() const {
    BENCH_CHECK(cudaEventSynchronize(end));
    float ms = 0;
    BENCH_CHECK(cudaEventElapsedTime(&ms, begin, end));
    return ms;
  }
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

std::vector<double> BurstMs(const std::vector<Launch>& variants, int rounds) {
  cudaStream_t stream;
  BENCH_CHECK(cudaStreamCreate(&stream));
  const Stopwatch watch;
  std::vector<std::vector<double>> times(variants.size());
  int turn = 0;
  for (int round = -1; round < rounds; round++) {
    for (size_t i = 0; i < variants.size(); i++) {
      BENCH_CHECK(cudaEventRecord(watch.begin, stream));
      variants[i](turn++, stream);
      BENCH_CHECK(cudaEventRecord(watch.end, stream));
      const double ms = watch.Ms();
      if (round >= 0) times[i].push_back(ms);
    }
  }
  std::vector<double> medians;
  for (auto& t : times) {
    std::nth_element(t.begin(), t.begin() + t.size() / 2, t.end());
    medians.push_back(t[t.size() / 2]);
  }
  BENCH_CHECK(cudaStreamDestroy(stream));
  return medians;
}

std::vector<double> SustainedMs(const std::vector<Launch>& variants, int launches, double seconds,
                                int rounds) {
  cudaStream_t stream;
  BENCH_CHECK(cudaStreamCreate(&stream));
  const Stopwatch watch;
  std::vector<cudaGraphExec_t> graphs;
  for (const Launch& variant : variants) graphs.push_back(Capture(variant, launches, stream));
  std::vector<double> sums(variants.size());
  for (int round = 0; round < rounds; round++) {
    for (size_t i = 0; i < variants.size(); i++) {
      BENCH_CHECK(cudaGraphLaunch(graphs[i], stream));  // warm: the change of kernel is not timed
      BENCH_CHECK(cudaEventRecord(watch.begin, stream));
      BENCH_CHECK(cudaGraphLaunch(graphs[i], stream));
      BENCH_CHECK(cudaEventRecord(watch.end, stream));
      const int count = std::max(2, static_cast<int>(seconds * 1e3 / watch.Ms()));
      BENCH_CHECK(cudaEventRecord(watch.begin, stream));
      for (int j = 0; j < count; j++) BENCH_CHECK(cudaGraphLaunch(graphs[i], stream));
      BENCH_CHECK(cudaEventRecord(watch.end, stream));
      sums[i] += watch.Ms() / count / launches;
    }
  }
  for (cudaGraphExec_t graph : graphs) cudaGraphExecDestroy(graph);
  BENCH_CHECK(cudaStreamDestroy(stream));
  for (double& sum : sums) sum /= rounds;
  return sums;
}

}  // namespace mlpserve::bench
