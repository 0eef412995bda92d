// The CPU block beside oneDNN's bare matmul of the same sizes (weights in oneDNN's own layout, no
// epilogue), in one run. Three layers each, FP32 unless said; both use the threads of the argument.
//
//   cpu_block_bench --benchmark_filter='1024/256'      # arguments: width/rows/threads
// With an older instruction set, of both:
//   ONEDNN_MAX_CPU_ISA=AVX2 cpu_block_bench --instruction_set=AVX2
#include <benchmark/benchmark.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <random>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "dnnl.hpp"
#include "kernels/cpu/aligned_buffer.h"
#include "kernels/cpu/cpu_block.h"
#include "kernels/cpu/instruction_set.h"
#include "kernels/cpu/worker_team.h"

extern "C" void omp_set_num_threads(int);  // GNU OpenMP's, which oneDNN is linked with

namespace mlpserve {
namespace {

constexpr int kLayers = 3;

enum class Epilogue { kNone, kScaleHardtanhGelu, kSigmoidScaleResidual, kScaleBatchNorm };

EpilogueSpec MakeEpilogue(Epilogue kind, int64_t width) {
  EpilogueSpec epilogue;
  const Op sigmoid{Pointwise{.function = Function::kSigmoid}};
  switch (kind) {
    case Epilogue::kNone:
      break;
    case Epilogue::kScaleHardtanhGelu:
      epilogue.ops = {{MultiplyAdd{.scale = {.value = 0.5}}},
                      {Clamp{.min = -2, .max = 2}},
                      {Pointwise{.function = Function::kGeluTanh}}};
      break;
    case Epilogue::kSigmoidScaleResidual:
      epilogue.ops = {{Residual{{sigmoid, {MultiplyAdd{.scale = {.value = 2}}}}}}};
      break;
    case Epilogue::kScaleBatchNorm:
      epilogue.columns.emplace_back(width, 0.5f);
      epilogue.columns[0][0] = 0.25f;
      epilogue.ops = {{MultiplyAdd{.scale = {.column = 0}}},
                      {RunningBatchNorm{.weight = {.column = 0},
                                        .bias = {.column = 0},
                                        .mean = {.column = 0},
                                        .variance = {.column = 0}}}};
      break;
  }
  return epilogue;
}

std::vector<float> Normal(int64_t count, float deviation) {
  std::mt19937_64 random(1);
  std::normal_distribution<float> normal(0, deviation);
  std::vector<float> values(static_cast<size_t>(count));
  for (float& value : values) value = normal(random);
  return values;
}

LayerSpec MakeLayer(int64_t inputs, int64_t outputs, Epilogue kind) {
  return {.name = "fc",
          .inputs = inputs,
          .outputs = outputs,
          .weight = Normal(inputs * outputs, 1 / std::sqrt(static_cast<float>(inputs))),
          .epilogue = MakeEpilogue(kind, outputs)};
}

void SetRate(benchmark::State& state, double multiply_adds) {
  state.counters["GFLOP/s"] =
      benchmark::Counter(2e-9 * multiply_adds, benchmark::Counter::kIsIterationInvariantRate);
}

void Run(benchmark::State& state, const BlockSpec& block, int64_t rows, int threads) {
  cpu::WorkerTeam team(threads);
  const auto loaded = cpu::CpuBlock::Create(block, {.max_rows = rows, .team = &team}).value();
  const std::vector<float> x = Normal(rows * block.input_features(), 1);
  cpu::AlignedBuffer<float> input(rows * block.input_features());
  cpu::AlignedBuffer<float> output(rows * block.output_features());
  std::copy(x.begin(), x.end(), input.get());
  for (auto _ : state) {
    loaded->Run(reinterpret_cast<const std::byte*>(input.get()),
                reinterpret_cast<std::byte*>(output.get()), rows);
  }
  double multiply_adds = 0;
  for (const LayerSpec& layer : block.layers) {
    multiply_adds += static_cast<double>(layer.inputs * layer.outputs * rows);
  }
  SetRate(state, multiply_adds);
}

void BM_Block(benchmark::State& state, Epilogue kind, ComputeType compute) {
  const int64_t width = state.range(0);
  BlockSpec block{.name = "bench", .compute = compute};
  for (int l = 0; l < kLayers; ++l) block.layers.push_back(MakeLayer(width, width, kind));
  Run(state, block, state.range(1), static_cast<int>(state.range(2)));
}

void BM_Digits(benchmark::State& state) {
  BlockSpec block{.name = "digits"};
  block.layers = {MakeLayer(64, 256, Epilogue::kScaleHardtanhGelu),
                  MakeLayer(256, 256, Epilogue::kSigmoidScaleResidual),
                  MakeLayer(256, 128, Epilogue::kScaleBatchNorm),
                  MakeLayer(128, 10, Epilogue::kNone)};
  Run(state, block, state.range(0), 2);
}

void BM_BareOneDnn(benchmark::State& state, dnnl::memory::data_type type) {
  using dnnl::memory;
  const int64_t width = state.range(0);
  const int64_t rows = state.range(1);
  omp_set_num_threads(static_cast<int>(state.range(2)));
  const dnnl::engine engine(dnnl::engine::kind::cpu, 0);
  dnnl::stream stream(engine);
  const memory::desc source({rows, width}, type, memory::format_tag::ab);
  const memory::desc weights({width, width}, type, memory::format_tag::any);
  const memory::desc result({rows, width}, memory::data_type::f32, memory::format_tag::ab);
  const dnnl::matmul::primitive_desc plan(dnnl::matmul::desc(source, weights, result), engine);
  const dnnl::matmul matmul(plan);
  std::vector<std::unordered_map<int, memory>> layers(kLayers);
  for (auto& arguments : layers) {
    arguments = {{DNNL_ARG_SRC, memory(source, engine)},
                 {DNNL_ARG_WEIGHTS, memory(plan.weights_desc(), engine)},
                 {DNNL_ARG_DST, memory(result, engine)}};
    // Memory that was never written is one page of zeros, which stays in the L1 cache.
    for (auto& [argument, tensor] : arguments) {
      std::memset(tensor.get_data_handle(), 1, tensor.get_desc().get_size());
    }
  }
  for (auto _ : state) {
    for (auto& arguments : layers) matmul.execute(stream, arguments);
    stream.wait();
  }
  SetRate(state, static_cast<double>(kLayers * width * width * rows));
}

void Sizes(benchmark::internal::Benchmark* bench) {
  bench->ArgsProduct({{256, 1024}, {1, 4, 16, 64, 256, 1024}, {1, 2}})
      ->UseRealTime()
      ->MinTime(0.1)
      ->Unit(benchmark::kMicrosecond);
}

BENCHMARK(BM_Digits)->Arg(1)->Arg(8)->Arg(64)->Arg(512)->UseRealTime()->MinTime(0.1)->Unit(
    benchmark::kMicrosecond);
BENCHMARK_CAPTURE(BM_BareOneDnn, fp32, dnnl::memory::data_type::f32)->Apply(Sizes);
BENCHMARK_CAPTURE(BM_Block, none, Epilogue::kNone, ComputeType::kFp32)->Apply(Sizes);
BENCHMARK_CAPTURE(BM_Block, scale_hardtanh_gelu, Epilogue::kScaleHardtanhGelu, ComputeType::kFp32)
    ->Apply(Sizes);
BENCHMARK_CAPTURE(BM_Block, sigmoid_scale_residual, Epilogue::kSigmoidScaleResidual,
                  ComputeType::kFp32)
    ->Apply(Sizes);
BENCHMARK_CAPTURE(BM_Block, scale_batchnorm, Epilogue::kScaleBatchNorm, ComputeType::kFp32)
    ->Apply(Sizes);
BENCHMARK_CAPTURE(BM_BareOneDnn, bf16, dnnl::memory::data_type::bf16)->Apply(Sizes);
BENCHMARK_CAPTURE(BM_Block, none_bf16, Epilogue::kNone, ComputeType::kBf16)->Apply(Sizes);

}  // namespace
}  // namespace mlpserve

int main(int argc, char** argv) {
  benchmark::Initialize(&argc, argv);
  constexpr std::string_view kFlag = "--instruction_set=";
  if (argc == 2 && std::string_view(argv[1]).starts_with(kFlag)) {
    mlpserve::cpu::UseInstructionSet(argv[1] + kFlag.size());
  } else if (benchmark::ReportUnrecognizedArguments(argc, argv)) {
    return 2;
  }
  benchmark::RunSpecifiedBenchmarks();
  return 0;
}
