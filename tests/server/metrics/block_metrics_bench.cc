// What recording costs on the path of a request; and what a scrape costs beside it.
#include <chrono>
#include <memory>

#include "benchmark/benchmark.h"
#include "server/metrics/block_metrics.h"
#include "server/metrics/family_writer.h"

namespace mlpserve {
namespace {

using std::chrono::nanoseconds;

BlockMetrics& Block() {
  static BlockMetrics block("digits", 1);
  return block;
}

void RecordRequest(benchmark::State& state) {
  RequestSample sample{.rows = 3, .received_bytes = 900, .sent_bytes = 200};
  int64_t step = 0;
  for (auto _ : state) {
    // Durations that differ from call to call, as those of requests do.
    step = (step + 7919) % 400'000;
    sample.total = nanoseconds(60'000 + step);
    sample.queue = nanoseconds(5'000 + step / 4);
    sample.compute_input = nanoseconds(1'000 + step / 16);
    sample.compute_infer = nanoseconds(20'000 + step / 2);
    sample.compute_output = nanoseconds(2'000 + step / 8);
    sample.rows = 1 + (step & 31);
    sample.done += nanoseconds(100);
    Block().RecordRequest(sample);
  }
}
BENCHMARK(RecordRequest)->ThreadRange(1, 8)->UseRealTime();

void RecordBatch(benchmark::State& state) {
  BatchSample sample{.rows = 3, .bucket = 4, .compute_infer = nanoseconds(20'000)};
  for (auto _ : state) {
    sample.bucket = sample.bucket == 4096 ? 4 : sample.bucket * 2;
    Block().RecordBatch(sample);
  }
}
BENCHMARK(RecordBatch);

void Statistics(benchmark::State& state) {
  for (auto _ : state) benchmark::DoNotOptimize(Block().Statistics());
}
BENCHMARK(Statistics);

void Export(benchmark::State& state) {
  for (auto _ : state) {
    FamilyWriter writer;
    Block().Export(writer, Detail::kFull);
    benchmark::DoNotOptimize(writer.Take());
  }
}
BENCHMARK(Export);

}  // namespace
}  // namespace mlpserve
