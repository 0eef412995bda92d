// Kernel-only benchmark of the CUDA main loops: needs nvcc's toolkit and nothing else, and runs the
// same .cuh text that the service compiles. Every kernel is held against the float64 oracle, on
// poisoned outputs, before it is timed.
//
//   gemm_bench ROOT PLAN [RECORDS]
//   gemm_bench ROOT PLAN --compile ARCH     compiles a plan's kernels ("sm_89"), and needs no GPU
// Each line of PLAN is a mode, a problem, and variants (variant.h); lists are products:
//   check m=1,33 n=520 k=264 type=bf16,tf32 epilogue=gelu pad=8 g:tm=128 r:b=16
//   sweep ...   the same, then bursts of all variants in turn beside cuBLASLt's best plain product
//   time ...    the same, then bursts and sustained (seconds=0.3)
//   chain ...   the same (n = k), then 24 layers of each in a graph, sustained
//   profile ... the same, then one launch of each between cudaProfilerStart and Stop
// RECORDS gets one JSON record for each figure. Exit code 1 where any output was wrong.
#include <cuda_profiler_api.h>

#include <algorithm>
#include <atomic>
#include <cmath>
#include <fstream>
#include <map>
#include <memory>
#include <sstream>
#include <string>
#include <thread>
#include <vector>

#include "kernels/cuda/bench/arithmetic.h"
#include "kernels/cuda/bench/check.h"
#include "kernels/cuda/bench/data.h"
#include "kernels/cuda/bench/kernel.h"
#include "kernels/cuda/bench/library.h"
#include "kernels/cuda/bench/plan.h"
#include "kernels/cuda/bench/timing.h"

namespace mlpserve::bench {
namespace {

// Every kernel of a plan, compiled on all cores.
class Cubins {
 public:
  struct Source {
    Variant variant;
    Compute compute;
    EpilogueName epilogue;
    std::string text;
    std::string cubin;  // empty: it does not compile
  };

  Cubins(const std::string& root, const std::vector<Step>& steps, const std::string& arch) {
    std::map<std::string, Source> sources;
    for (const Step& step : steps) {
      for (const Variant& variant : step.variants) {
        sources[Key(variant, step.problem)] = {
            variant, step.problem.compute, step.problem.epilogue,
            KernelText(root, variant, step.problem.compute, step.problem.epilogue), ""};
      }
    }
    list_.assign(sources.begin(), sources.end());
    std::atomic<size_t> next = 0;
    std::vector<std::thread> threads;
    for (unsigned i = 0; i < std::thread::hardware_concurrency(); i++) {
      threads.emplace_back([&] {
        for (size_t j; (j = next++) < list_.size();) {
          list_[j].second.cubin = CompileText(list_[j].second.text, list_[j].first, arch);
        }
      });
    }
    for (std::thread& thread : threads) thread.join();
    for (const auto& entry : list_) compiled_ += !entry.second.cubin.empty();
    std::printf("%zu kernels of %zu compiled for %s\n", compiled_, list_.size(), arch.c_str());
  }

  bool all() const { return compiled_ == list_.size(); }
  const std::vector<std::pair<std::string, Source>>& list() const { return list_; }

  static std::string Key(const Variant& variant, const Problem& p) {
    return variant.text + " " + NameOf(kComputes, p.compute) + " " + NameOf(kEpilogues, p.epilogue);
  }

 private:
  std::vector<std::pair<std::string, Source>> list_;
  size_t compiled_ = 0;
};

class Kernels {
 public:
  Kernels(const std::string& root, const std::vector<Step>& steps) {
    const Cubins cubins(root, steps, DeviceArch());
    for (const auto& [key, source] : cubins.list()) {
      if (source.cubin.empty()) continue;
      kernels_[key] =
          std::make_unique<Kernel>(source.cubin, source.variant, source.compute, source.epilogue);
    }
  }

  // Null where it did not compile.
  const Kernel* Find(const Variant& variant, const Problem& problem) const {
    const auto found = kernels_.find(Cubins::Key(variant, problem));
    return found == kernels_.end() ? nullptr : found->second.get();
  }

 private:
  std::map<std::string, std::unique_ptr<Kernel>> kernels_;
};

// 2-norm of the rounding of a kernel's output and inputs (README of the targets), with headroom.
// The clamp of kGelu cuts off the largest outputs, and so leaves more of the error.
// An FP32 sum that runs over all of k wanders off by 1.8e-8 for each root of its length.
double ErrorBound(const Problem& p, bool is_ffma) {
  const double fp32 = 1.0e-6 + (is_ffma ? 2.0e-8 * std::sqrt(double(p.k)) : 0);
  const double rounding = p.compute == Compute::kBf16   ? 1.75e-3
                          : p.compute == Compute::kFp16 ? 2.5e-4
                          : p.compute == Compute::kTf32 ? 3.0e-4
                                                        : fp32;
  const double few = 1 + 2 / std::sqrt(double(p.m) * p.n);  // a small sample scatters
  return (p.epilogue == EpilogueName::kGelu ? 1.15 : 1.0) * few * rounding;
}

class Runner {
 public:
  Runner(const std::string& root, const std::vector<Step>& steps, const std::string& records)
      : kernels_(root, steps), records_(records) {
    BENCH_CHECK(cublasLtCreate(&lt_));
    oracle_ = std::make_unique<Oracle>(lt_);
  }

  void MeasureReading() {
    constexpr size_t kBytes = 128u << 20;
    std::vector<void*> buffers(8);
    for (void*& buffer : buffers) {
      BENCH_CHECK(cudaMalloc(&buffer, kBytes));
      FillNormal(buffer, Format::kFp32, 1, kBytes / 4, kBytes / 4, 3, 1);
    }
    const Launch read = [&](int turn, cudaStream_t stream) {
      ReadAll(buffers[turn % 8], kBytes, stream);
    };
    read(0, nullptr);
    const double sustained = SustainedMs({read}, 16, 0.1, 2)[0];
    void* large;
    BENCH_CHECK(cudaMalloc(&large, 8 * kBytes * 4));
    BENCH_CHECK(cudaMemset(large, 1, 8 * kBytes * 4));
    const Launch read_large = [&](int, cudaStream_t stream) {
      ReadAll(large, 8 * kBytes * 4, stream);
    };
    const double burst = BurstMs({read_large}, 8)[0];
    BENCH_CHECK(cudaFree(large));
    for (void* buffer : buffers) BENCH_CHECK(cudaFree(buffer));
    read_gbps_ = 8 * kBytes * 4 / burst / 1e6;
    std::printf("read: %.0f GB/s over 4 GiB, %.0f GB/s over 128 MiB back to back\n", read_gbps_,
                kBytes / sustained / 1e6);
    records_ << "{\"op\": \"read\", \"gbps\": " << read_gbps_
             << ", \"gbps_128mib_back_to_back\": " << kBytes / sustained / 1e6 << "}\n";
  }

  void Run(const Step& step) {
    const Problem& p = step.problem;
    const Data data(p);
    std::vector<Entry> entries;
    for (const Variant& variant : step.variants) {
      const Kernel* kernel = kernels_.Find(variant, p);
      if (kernel == nullptr) {
        wrong_++;
        continue;
      }
      Entry entry{variant.Label(), kernel, {}, {}};
      for (size_t i = 0; i < data.weights().size(); i++) {
        entry.launches.push_back(kernel->Prepare(p, data.Args(i, !kernel->is_ffma())));
      }
      entry.relative = CheckOutput(step, entry, data);
      entries.push_back(entry);
    }
    if (step.mode == "chain") {
      Chain(step, entries, data);
    } else if (step.mode == "profile") {
      Profile(p, entries, data);
    } else if (step.mode != "check") {
      Time(step, entries, data);
    }
  }

  int wrong() const { return wrong_; }

 private:
  struct Entry {
    std::string label;
    const Kernel* kernel;
    std::vector<Kernel::Launch> launches;  // one for each copy of the weights
    double relative;
  };

  double CheckOutput(const Step& step, const Entry& entry, const Data& data) {
    data.Poison();
    entry.kernel->Run(entry.launches[0], nullptr);
    const cudaError_t error = cudaDeviceSynchronize();
    if (error != cudaSuccess) {
      std::printf("FAILED %s %s: %s\n", Describe(step.problem).c_str(), entry.label.c_str(),
                  cudaGetErrorString(error));
      std::exit(2);
    }
    const Difference d = data.Compare(*oracle_);
    const size_t trespasses = step.mode == "check" ? data.Trespasses() : 0;
    const bool good = d.not_finite == 0 && trespasses == 0 &&
                      d.relative <= ErrorBound(step.problem, entry.kernel->is_ffma());
    if (!good || step.mode == "check") {
      std::printf(
          "%s %s %s: relative %.3g, worst %.3g at (%ld, %ld), %ld not finite, %zu bytes "
          "outside, %d registers, %d local\n",
          good ? "ok   " : "WRONG", Describe(step.problem).c_str(), entry.label.c_str(), d.relative,
          d.worst, long(d.worst_row), long(d.worst_column), long(d.not_finite), trespasses,
          entry.kernel->registers(), entry.kernel->local_bytes());
      std::fflush(stdout);
    }
    if (!good || (step.mode == "check" && !RowsStandAlone(step.problem, entry, data))) wrong_++;
    return d.relative;
  }

  // Whether a row's bits are the same among fewer rows (and the same a second time).
  bool RowsStandAlone(const Problem& p, const Entry& entry, const Data& data) {
    const std::vector<unsigned char> all = data.CopyOut(data.y());
    Problem fewer = p;
    fewer.m = (p.m + 2) / 3;
    cuda::GemmArgs args = data.Args(0, !entry.kernel->is_ffma());
    args.m = fewer.m;
    data.Poison();
    entry.kernel->Run(entry.kernel->Prepare(fewer, args), nullptr);
    const std::vector<unsigned char> some = data.CopyOut(data.y());
    const size_t row = p.y_stride() * p.element_bytes(), used = size_t(p.n) * p.element_bytes();
    for (int i = 0; i < fewer.m; i++) {
      if (std::equal(all.begin() + i * row, all.begin() + i * row + used, some.begin() + i * row)) {
        continue;
      }
      std::printf("WRONG %s %s: row %d has other bits among %d rows\n", Describe(p).c_str(),
                  entry.label.c_str(), i, fewer.m);
      return false;
    }
    return true;
  }

  // One launch of each, for a profiler that starts when it is told to.
  void Profile(const Problem& p, const std::vector<Entry>& entries, const Data& data) {
    const Launch library = BestOfLibrary(lt_, p, data.x(), data.y(), data.weights());
    BENCH_CHECK(cudaDeviceSynchronize());
    BENCH_CHECK(cudaProfilerStart());
    library(1, nullptr);
    for (const Entry& entry : entries) entry.kernel->Run(entry.launches[1], nullptr);
    BENCH_CHECK(cudaDeviceSynchronize());
    BENCH_CHECK(cudaProfilerStop());
  }

  // kLayers layers, each reading what the last has written, beside as many that read the same x.
  // Programmatic launches must leave the same bits as plain ones.
  void Chain(const Step& step, const std::vector<Entry>& entries, const Data& data) {
    constexpr int kLayers = 24;
    const Problem& p = step.problem;
    const std::vector<void*> buffers{data.y(), data.second_y()};
    std::vector<std::vector<Kernel::Launch>> layers(entries.size());
    std::vector<Launch> launches;
    std::vector<std::vector<unsigned char>> results;
    for (size_t i = 0; i < entries.size(); i++) {
      for (int layer = 0; layer < kLayers; layer++) {
        cuda::GemmArgs args =
            data.Args(layer % data.weights().size(), !entries[i].kernel->is_ffma());
        if (layer > 0) args.x = buffers[(layer - 1) % 2];
        args.y = buffers[layer % 2];
        layers[i].push_back(entries[i].kernel->Prepare(p, args));
      }
      launches.push_back([&, i](int turn, cudaStream_t stream) {
        entries[i].kernel->Run(layers[i][turn % kLayers], stream);
      });
      launches.push_back([&, i](int turn, cudaStream_t stream) {
        entries[i].kernel->Run(entries[i].launches[turn % entries[i].launches.size()], stream);
      });
      for (int layer = 0; layer < kLayers; layer++) launches[2 * i](layer, nullptr);
      results.push_back(data.CopyOut(buffers[(kLayers - 1) % 2]));
      if (results[i] != results[0]) {
        std::printf("WRONG %s: not the bits of %s in a chain\n", entries[i].label.c_str(),
                    entries[0].label.c_str());
        wrong_++;
      }
    }
    const std::vector<double> ms = SustainedMs(launches, kLayers, step.seconds, 2);
    for (size_t i = 0; i < entries.size(); i++) {
      std::printf("%s %s: %.4f ms a layer in a chain, %.4f alone\n", Describe(p).c_str(),
                  entries[i].label.c_str(), ms[2 * i], ms[2 * i + 1]);
      records_ << "{\"op\": \"chain\", \"m\": " << p.m << ", \"n\": " << p.n << ", \"k\": " << p.k
               << ", \"dtype\": \"" << NameOf(kComputes, p.compute) << "\", \"variant\": \""
               << entries[i].label << "\", \"ms\": " << ms[2 * i]
               << ", \"alone_ms\": " << ms[2 * i + 1] << "}" << std::endl;
    }
  }

  void Time(const Step& step, const std::vector<Entry>& entries, const Data& data) {
    const Problem& p = step.problem;
    std::vector<Launch> launches{BestOfLibrary(lt_, p, data.x(), data.y(), data.weights())};
    for (const Entry& entry : entries) {
      launches.push_back([&entry](int turn, cudaStream_t stream) {
        entry.kernel->Run(entry.launches[turn % entry.launches.size()], stream);
      });
    }
    const std::vector<double> burst = BurstMs(launches, step.mode == "time" ? 40 : 15);
    std::vector<double> sustained(launches.size());
    if (step.mode == "time") {
      const int copies = static_cast<int>(data.weights().size());
      const int count = copies * std::max(1, 24 / copies);
      sustained = SustainedMs(launches, count, step.seconds, 2);
    }
    for (size_t i = 0; i < launches.size(); i++) {
      Report(step, i == 0 ? nullptr : &entries[i - 1], burst[i], sustained[i], burst[0],
             sustained[0]);
    }
    std::fflush(stdout);
  }

  void Report(const Step& step, const Entry* entry, double burst, double sustained,
              double library_burst, double library_sustained) {
    const Problem& p = step.problem;
    const double ms = sustained > 0 ? sustained : burst;
    const double flop = 2.0 * p.m * p.n * p.k;
    const double bytes =
        (double(p.n) * p.k + double(p.m) * p.k + double(p.m) * p.n) * p.element_bytes();
    const std::string label = entry ? entry->label : "cublaslt plain";
    std::printf(
        "%-28s %-36s burst %.4f (%.3fx) sustained %.4f (%.3fx) %4.0f TFLOP/s %5.0f GB/s "
        "%.2f of read\n",
        Describe(p).c_str(), label.c_str(), burst, library_burst / burst, sustained,
        sustained > 0 ? library_sustained / sustained : 0, flop / ms / 1e9, bytes / ms / 1e6,
        bytes / ms / 1e6 / read_gbps_);
    records_ << "{\"op\": \"" << (entry ? NameOf(kEpilogues, p.epilogue) : "gemm_only")
             << "\", \"m\": " << p.m << ", \"n\": " << p.n << ", \"k\": " << p.k
             << ", \"dtype\": \"" << NameOf(kComputes, p.compute) << "\", \"variant\": \"" << label
             << "\", \"burst_ms\": " << burst << ", \"ms\": " << ms
             << ", \"sustained\": " << (sustained > 0) << ", \"tflops\": " << flop / ms / 1e9
             << ", \"gbps\": " << bytes / ms / 1e6;
    if (entry) {
      records_ << ", \"relerr\": " << entry->relative
               << ", \"regs\": " << entry->kernel->registers()
               << ", \"local\": " << entry->kernel->local_bytes()
               << ", \"clusters\": " << entry->kernel->clusters()
               << ", \"blocks_per_sm\": " << entry->kernel->blocks_per_sm()
               << ", \"smem\": " << entry->launches[0].shape.shared_bytes;
    }
    records_ << "}" << std::endl;
  }

  Kernels kernels_;
  std::ofstream records_;
  cublasLtHandle_t lt_;
  std::unique_ptr<Oracle> oracle_;
  double read_gbps_ = 0;
  int wrong_ = 0;
};

}  // namespace
}  // namespace mlpserve::bench

int main(int argc, char** argv) {
  using namespace mlpserve::bench;
  if (argc < 3) {
    std::fprintf(stderr, "usage: gemm_bench ROOT PLAN [RECORDS | --compile ARCH]\n");
    return 2;
  }
  const std::vector<Step> steps = ReadPlan(argv[2]);
  if (argc == 5 && std::string(argv[3]) == "--compile") {
    return Cubins(argv[1], steps, argv[4]).all() ? 0 : 1;
  }
  Runner runner(argv[1], steps, argc > 3 ? argv[3] : "/dev/null");
  const bool timed = std::any_of(steps.begin(), steps.end(),
                                 [](const Step& step) { return step.mode != "check"; });
  if (timed) runner.MeasureReading();
  for (const Step& step : steps) runner.Run(step);
  std::printf("%d wrong\n", runner.wrong());
  return runner.wrong() > 0;
}
