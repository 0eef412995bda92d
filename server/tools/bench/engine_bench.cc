#include "server/tools/bench/engine_bench.h"

#include <sys/resource.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <functional>
#include <memory>
#include <nlohmann/json.hpp>
#include <thread>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "kernels/cuda/driver/device.h"
#include "kernels/cuda/driver/memory.h"
#include "kernels/cuda/driver/status.h"
#include "kernels/cuda/engine/kernel_store.h"
#include "kernels/cuda/engine/lane.h"
#include "kernels/cuda/engine/measurer.h"
#include "kernels/cuda/jit/kernel_cache.h"
#include "kernels/cuda/jit/nvrtc.h"
#include "kernels/spec/rounding.h"
#include "kernels/status/status_macros.h"
#include "server/tools/bench/batch_trace.h"
#include "server/tools/bench/temporary_directory.h"

namespace mlpserve::tools {
namespace {

using Clock = std::chrono::steady_clock;
using cuda::Lane;
using cuda::PinnedMemory;

constexpr int kBatchesInGraph = 8;  // of the kernels' own rate
constexpr size_t kTracedBatches = 64;

double Us(std::chrono::nanoseconds time) {
  return std::chrono::duration<double, std::micro>(time).count();
}

double Percentile(std::vector<double> values, double part) {
  if (values.empty()) return 0;
  const auto at = static_cast<std::ptrdiff_t>(part * static_cast<double>(values.size() - 1));
  std::nth_element(values.begin(), values.begin() + at, values.end());
  return values[static_cast<size_t>(at)];
}

// Of the process, in microseconds.
double CpuUs() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  const auto us = [](const timeval& time) {
    return 1e6 * static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_usec);
  };
  return us(usage.ru_utime) + us(usage.ru_stime);
}

// A lane with a slot and an output of its own, which always has a batch in flight.
struct Worker {
  std::unique_ptr<Lane> lane;
  PinnedMemory input, output;
  Clock::time_point started;

  absl::Status Start(int64_t rows) {
    started = Clock::now();
    return lane->Start(input.get(), output.get(), rows);
  }
};

struct Flow {
  double rows_per_s = 0;
  double p50_us = 0, p99_us = 0;  // from Start until it is known to be done
  double copy_in_us = 0, compute_us = 0, copy_out_us = 0;  // means, by the device's clock
};

class EngineBench {
 public:
  EngineBench(const EngineBenchOptions& options, cuda::KernelStore& store,
              std::shared_ptr<const cuda::CublasLt> library, cuda::Stream stream,
              std::ostream& table, std::ostream* records)
      : options_(options),
        store_(store),
        library_(std::move(library)),
        stream_(std::move(stream)),
        table_(table),
        records_(records) {}

  absl::Status Run();

 private:
  absl::Status Load(const Problem& problem, int64_t max_rows);
  absl::StatusOr<std::vector<Worker>> MakeWorkers(cuda::Launching launching);
  absl::Status Measure(const Problem& problem);
  absl::StatusOr<double> KernelsUs(int64_t rows);
  absl::StatusOr<Flow> RunFlow(std::vector<Worker>& workers, int lanes, int64_t rows);
  absl::Status Report(const Problem& problem, const char* launching, int lanes, const Flow& flow);
  absl::Status MeasureCompletion(const Problem& problem);
  absl::Status ReportCompletion(const Problem& problem, const char* way, Worker& worker,
                                const std::function<absl::Status()>& wait,
                                const std::function<absl::Status()>& arm);
  absl::Status Trace(int64_t rows);
  int most_lanes() const { return *std::ranges::max_element(options_.lanes); }
  void Write(nlohmann::ordered_json record) {
    if (records_ != nullptr) *records_ << record.dump() << std::endl;
  }

  const EngineBenchOptions& options_;
  cuda::KernelStore& store_;
  const std::shared_ptr<const cuda::CublasLt> library_;
  const cuda::Stream stream_;
  std::ostream& table_;
  std::ostream* const records_;

  std::shared_ptr<const cuda::DeviceBlock> block_;
  std::vector<Worker> with_graphs_, step_by_step_;
  cuda::LaneMemory memory_;  // of the kernels' own rate
  double kernels_us_ = 0;    // of a batch of the problem at hand
  double bound_us_ = 0;      // the least that it can take; 0: not known yet
};

nlohmann::ordered_json RecordOf(const char* op, const Problem& p) {
  return {{"op", op},
          {"m", p.m},
          {"n", p.n},
          {"layers", p.layers},
          {"dtype", DtypeName(p.compute)},
          {"epilogue", p.epilogue.op}};
}

absl::Status EngineBench::Load(const Problem& p, int64_t max_rows) {
  with_graphs_.clear();
  step_by_step_.clear();
  memory_ = {};
  block_.reset();
  BlockSpec block{.name = "bench", .compute = p.compute};
  block.input_type = block.output_type = options_.is_wire_fp32 ? DataType::kFp32 : p.stored();
  const Tensor weight = MakeWeight(p.n, p.k);
  for (int i = 0; i < p.layers; ++i) block.layers.push_back(MakeLayer(p, weight));
  const cuda::PlanOptions plan{.max_rows = max_rows, .has_library = library_ != nullptr};
  const Clock::time_point begin = Clock::now();
  MLPSERVE_ASSIGN_OR_RETURN(block_,
                            cuda::DeviceBlock::Load(block, PlanBlock(block, store_.limits(), plan),
                                                    {.library = library_}, store_));
  const Clock::time_point loaded = Clock::now();
  MLPSERVE_ASSIGN_OR_RETURN(with_graphs_, MakeWorkers(cuda::Launching::kGraphs));
  const Clock::time_point made = Clock::now();
  MLPSERVE_ASSIGN_OR_RETURN(step_by_step_, MakeWorkers(cuda::Launching::kStepByStep));
  MLPSERVE_ASSIGN_OR_RETURN(memory_, cuda::LaneMemory::Allocate(block_->lane()));
  table_ << absl::StrFormat(
      "%s, %d layers, %d x %d: loaded in %.2f s, %d lanes with graphs in %.2f s, %.1f MiB of "
      "graphs\n",
      DtypeName(p.compute), p.layers, p.n, p.k, 1e-6 * Us(loaded - begin), most_lanes(),
      1e-6 * Us(made - loaded),
      static_cast<double>(with_graphs_.front().lane->graph_bytes()) / (1 << 20));
  table_ << absl::StrFormat("%7s %-6s %5s %12s %8s %9s %9s %8s %8s %8s %9s %6s\n", "rows", "launch",
                            "lanes", "rows/s", "of best", "p50 us", "p99 us", "in us", "compute",
                            "out us", "kernels", "GB/s");
  return absl::OkStatus();
}

absl::StatusOr<std::vector<Worker>> EngineBench::MakeWorkers(cuda::Launching launching) {
  std::vector<Worker> workers;
  for (int i = 0; i < most_lanes(); ++i) {
    Worker worker;
    MLPSERVE_ASSIGN_OR_RETURN(worker.lane, Lane::Make(block_, launching));
    const cuda::BlockPlan& plan = block_->plan();
    MLPSERVE_ASSIGN_OR_RETURN(worker.input,
                              PinnedMemory::Allocate(static_cast<size_t>(plan.slot_bytes())));
    MLPSERVE_ASSIGN_OR_RETURN(worker.output,
                              PinnedMemory::Allocate(static_cast<size_t>(plan.output_bytes())));
    const int64_t values = plan.options.max_rows * plan.wire_input.features;
    const size_t size = ByteSize(plan.wire_input.type);
    const std::vector<float> numbers = NormalNumbers(values, static_cast<uint32_t>(i), 1);
    for (size_t v = 0; v < numbers.size(); ++v) {
      WriteElement(plan.wire_input.type, numbers[v], worker.input.get() + v * size);
    }
    workers.push_back(std::move(worker));
  }
  return workers;
}

// The steps of a batch back to back, in graphs of several batches: what no copy, launch or wait
// slows down.
absl::StatusOr<double> EngineBench::KernelsUs(int64_t rows) {
  MLPSERVE_RETURN_IF_ERROR(cuda::FillNormal(block_->plan().wire_input, memory_));
  MLPSERVE_ASSIGN_OR_RETURN(const auto steps, block_->Bind(block_->plan().BucketOf(rows), memory_));
  const auto launch = [&] {
    for (const auto& step : steps) MLPSERVE_RETURN_IF_ERROR(step->Launch(stream_));
    return absl::OkStatus();
  };
  for (const auto& step : steps) step->SetRows(static_cast<int32_t>(rows));
  MLPSERVE_RETURN_IF_ERROR(launch());
  MLPSERVE_ASSIGN_OR_RETURN(const cuda::Graph graph, cuda::Graph::Capture(stream_, [&] {
                              for (int i = 0; i < kBatchesInGraph; ++i) {
                                MLPSERVE_RETURN_IF_ERROR(launch());
                              }
                              return absl::OkStatus();
                            }));
  MLPSERVE_RETURN_IF_ERROR(graph.Launch(stream_));
  MLPSERVE_RETURN_IF_ERROR(stream_.Synchronize());
  const Clock::time_point begin = Clock::now();
  const auto end = begin + std::chrono::duration<double>(options_.seconds);
  int64_t batches = 0;
  while (Clock::now() < end) {
    // Few enough ahead that the time is kept, enough that the device never waits.
    for (int i = 0; i < 16; ++i) MLPSERVE_RETURN_IF_ERROR(graph.Launch(stream_));
    MLPSERVE_RETURN_IF_ERROR(stream_.Synchronize());
    batches += int64_t{16} * kBatchesInGraph;
  }
  return Us(Clock::now() - begin) / static_cast<double>(batches);
}

absl::StatusOr<Flow> EngineBench::RunFlow(std::vector<Worker>& workers, int lanes, int64_t rows) {
  Flow flow;
  std::vector<double> latencies;
  const Clock::time_point begin = Clock::now();
  const auto end = begin + std::chrono::duration<double>(options_.seconds);
  for (int i = 0; i < lanes; ++i) {
    MLPSERVE_RETURN_IF_ERROR(workers[static_cast<size_t>(i)].Start(rows));
  }
  for (int running = lanes; running > 0;) {
    for (int i = 0; i < lanes; ++i) {
      Worker& worker = workers[static_cast<size_t>(i)];
      if (worker.started == Clock::time_point::max()) continue;
      MLPSERVE_ASSIGN_OR_RETURN(const bool done, worker.lane->Done());
      if (!done) continue;
      const Clock::time_point now = Clock::now();
      latencies.push_back(Us(now - worker.started));
      MLPSERVE_ASSIGN_OR_RETURN(const cuda::RunTimes took, worker.lane->Times());
      flow.copy_in_us += Us(took.copy_in);
      flow.compute_us += Us(took.compute);
      flow.copy_out_us += Us(took.copy_out);
      if (now < end) {
        MLPSERVE_RETURN_IF_ERROR(worker.Start(rows));
      } else {
        worker.started = Clock::time_point::max();
        --running;
      }
    }
  }
  const auto batches = static_cast<double>(latencies.size());
  flow.rows_per_s = 1e6 * batches * static_cast<double>(rows) / Us(Clock::now() - begin);
  flow.p50_us = Percentile(latencies, 0.5);
  flow.p99_us = Percentile(latencies, 0.99);
  flow.copy_in_us /= batches;
  flow.compute_us /= batches;
  flow.copy_out_us /= batches;
  return flow;
}

// "of best": of the slower of the kernels alone and the copies alone (in and out at one time), by
// the first figure of the problem: beside other batches copies take longer.
absl::Status EngineBench::Report(const Problem& p, const char* launching, int lanes,
                                 const Flow& flow) {
  const cuda::BlockPlan& plan = block_->plan();
  if (bound_us_ == 0) bound_us_ = std::max({kernels_us_, flow.copy_in_us, flow.copy_out_us});
  const double of_best = flow.rows_per_s * bound_us_ / (1e6 * static_cast<double>(p.m));
  const double gbps =
      1e-9 * flow.rows_per_s * static_cast<double>(plan.wire_input.bytes(1) + plan.output.bytes(1));
  table_ << absl::StrFormat("%7d %-6s %5d %12.0f %8.3f %9.1f %9.1f %8.1f %8.1f %8.1f %9.1f %6.1f\n",
                            p.m, launching, lanes, flow.rows_per_s, of_best, flow.p50_us,
                            flow.p99_us, flow.copy_in_us, flow.compute_us, flow.copy_out_us,
                            kernels_us_, gbps)
         << std::flush;
  nlohmann::ordered_json record = RecordOf("engine", p);
  record.update({{"wire", options_.is_wire_fp32 ? "fp32" : DtypeName(p.compute)},
                 {"launching", launching},
                 {"lanes", lanes},
                 {"rows_per_s", flow.rows_per_s},
                 {"p50_us", flow.p50_us},
                 {"p99_us", flow.p99_us},
                 {"copy_in_us", flow.copy_in_us},
                 {"compute_us", flow.compute_us},
                 {"copy_out_us", flow.copy_out_us},
                 {"kernels_us", kernels_us_},
                 {"of_best", of_best}});
  Write(std::move(record));
  return absl::OkStatus();
}

absl::Status EngineBench::Measure(const Problem& p) {
  MLPSERVE_ASSIGN_OR_RETURN(kernels_us_, KernelsUs(p.m));
  bound_us_ = 0;
  for (const int lanes : options_.lanes) {
    MLPSERVE_ASSIGN_OR_RETURN(const Flow steps, RunFlow(step_by_step_, lanes, p.m));
    MLPSERVE_RETURN_IF_ERROR(Report(p, "steps", lanes, steps));
    MLPSERVE_ASSIGN_OR_RETURN(const Flow graphs, RunFlow(with_graphs_, lanes, p.m));
    MLPSERVE_RETURN_IF_ERROR(Report(p, "graph", lanes, graphs));
  }
  return MeasureCompletion(p);
}

// One batch at a time: how long until it is noticed that it is done, and the processor's time for
// each batch. `arm` is called behind the batch, `wait` until it is done.
absl::Status EngineBench::ReportCompletion(const Problem& p, const char* way, Worker& worker,
                                           const std::function<absl::Status()>& arm,
                                           const std::function<absl::Status()>& wait) {
  std::vector<double> latencies;
  const double cpu = CpuUs();
  const auto end = Clock::now() + std::chrono::duration<double>(options_.seconds / 2);
  while (Clock::now() < end) {
    MLPSERVE_RETURN_IF_ERROR(worker.Start(p.m));
    MLPSERVE_RETURN_IF_ERROR(arm());
    MLPSERVE_RETURN_IF_ERROR(wait());
    latencies.push_back(Us(Clock::now() - worker.started));
  }
  const double cpu_us = (CpuUs() - cpu) / static_cast<double>(latencies.size());
  const double p50 = Percentile(latencies, 0.5);
  const double p99 = Percentile(latencies, 0.99);
  table_ << absl::StrFormat("%7d noticed by %-14s p50 %9.1f us, p99 %9.1f us, processor %9.1f us\n",
                            p.m, way, p50, p99, cpu_us)
         << std::flush;
  nlohmann::ordered_json record = RecordOf("completion", p);
  record.update({{"way", way}, {"p50_us", p50}, {"p99_us", p99}, {"cpu_us", cpu_us}});
  Write(std::move(record));
  return absl::OkStatus();
}

absl::Status EngineBench::MeasureCompletion(const Problem& p) {
  Worker& worker = with_graphs_.front();
  const Lane& lane = *worker.lane;
  const auto nothing = [] { return absl::OkStatus(); };
  MLPSERVE_RETURN_IF_ERROR(ReportCompletion(p, "polling", worker, nothing, [&lane] {
    for (;;) {
      MLPSERVE_ASSIGN_OR_RETURN(const bool done, lane.Done());
      if (done) return absl::OkStatus();
      std::this_thread::yield();
    }
  }));
  cudaEvent_t sleeping = nullptr;
  MLPSERVE_RETURN_IF_CUDA_ERROR(
      cudaEventCreateWithFlags(&sleeping, cudaEventBlockingSync | cudaEventDisableTiming));
  const absl::Status slept = ReportCompletion(
      p, "a sleeping thread", worker,
      [&] { return cuda::StatusOf(cudaEventRecord(sleeping, lane.stream().get()), "record"); },
      [&] { return cuda::StatusOf(cudaEventSynchronize(sleeping), "cudaEventSynchronize"); });
  (void)cudaEventDestroy(sleeping);
  MLPSERVE_RETURN_IF_ERROR(slept);
  std::atomic<bool> called{false};
  return ReportCompletion(
      p, "a host function", worker,
      [&] {
        called = false;
        return cuda::StatusOf(cudaLaunchHostFunc(
                                  lane.stream().get(),
                                  [](void* flag) {
                                    auto& is_called = *static_cast<std::atomic<bool>*>(flag);
                                    is_called = true;
                                    is_called.notify_one();
                                  },
                                  &called),
                              "cudaLaunchHostFunc");
      },
      [&] {
        called.wait(false);
        return absl::OkStatus();
      });
}

// Two lanes, or as many as there are.
absl::Status EngineBench::Trace(int64_t rows) {
  const int lanes = std::min(2, most_lanes());
  MLPSERVE_ASSIGN_OR_RETURN(const cuda::Event begin, cuda::Event::Create());
  MLPSERVE_RETURN_IF_ERROR(begin.Record(stream_));
  MLPSERVE_RETURN_IF_ERROR(stream_.Synchronize());
  std::vector<TracedBatch> batches;
  for (int i = 0; i < lanes; ++i) {
    MLPSERVE_RETURN_IF_ERROR(with_graphs_[static_cast<size_t>(i)].Start(rows));
  }
  for (int next = 0; batches.size() < kTracedBatches; next = (next + 1) % lanes) {
    Worker& worker = with_graphs_[static_cast<size_t>(next)];
    MLPSERVE_ASSIGN_OR_RETURN(const bool done, worker.lane->Done());
    if (!done) continue;
    TracedBatch& batch = batches.emplace_back(TracedBatch{.lane = next, .rows = rows});
    MLPSERVE_ASSIGN_OR_RETURN(batch.marks, worker.lane->MarksSince(begin));
    MLPSERVE_RETURN_IF_ERROR(worker.Start(rows));
  }
  for (int i = 0; i < lanes; ++i) {
    MLPSERVE_RETURN_IF_ERROR(with_graphs_[static_cast<size_t>(i)].lane->stream().Synchronize());
  }
  table_ << absl::StrFormat("trace: rows were copied in %.0f%% of the time that was computed in\n",
                            100 * CopiedWhileComputing(batches));
  return WriteTrace(batches, options_.trace_file);
}

bool SameBlock(const Problem& a, const Problem& b) {
  return a.n == b.n && a.k == b.k && a.compute == b.compute && a.layers == b.layers &&
         a.epilogue.op == b.epilogue.op;
}

absl::Status EngineBench::Run() {
  const std::vector<Problem>& problems = options_.problems;
  for (size_t i = 0; i < problems.size(); ++i) {
    if (i == 0 || !SameBlock(problems[i - 1], problems[i])) {
      int64_t most = 0;
      for (size_t j = i; j < problems.size() && SameBlock(problems[i], problems[j]); ++j) {
        most = std::max(most, problems[j].m);
      }
      MLPSERVE_RETURN_IF_ERROR(Load(problems[i], most));
    }
    MLPSERVE_RETURN_IF_ERROR(Measure(problems[i]));
  }
  if (options_.trace_file.empty()) return absl::OkStatus();
  return Trace(problems.back().m);
}

}  // namespace

absl::Status RunEngineBench(const EngineBenchOptions& options, std::ostream& table,
                            std::ostream* records) {
  MLPSERVE_ASSIGN_OR_RETURN(const std::vector<cuda::Device> devices, cuda::FindDevices());
  const cuda::Device& device = devices.front();
  const auto nvrtc = cuda::Nvrtc::Open();
  if (!nvrtc.ok()) return absl::NotFoundError(std::string(nvrtc.status().message()));
  const TemporaryDirectory temporary(options.kernel_cache.empty());
  MLPSERVE_ASSIGN_OR_RETURN(
      cuda::KernelCache cache,
      cuda::KernelCache::Open(options.kernel_cache.empty() ? temporary.path()
                                                           : options.kernel_cache));
  MLPSERVE_RETURN_IF_ERROR(cuda::Use(device));
  cuda::KernelStore store(cuda::KernelCompiler(*nvrtc, std::move(cache)), device);
  const auto library = cuda::CublasLt::Open();
  MLPSERVE_ASSIGN_OR_RETURN(cuda::Stream stream, cuda::Stream::Create());
  table << device.name << "\n";
  if (!library.ok()) table << "warning: " << library.status().message() << "\n";
  EngineBench bench(options, store, library.ok() ? *library : nullptr, std::move(stream), table,
                    records);
  return bench.Run();
}

}  // namespace mlpserve::tools
