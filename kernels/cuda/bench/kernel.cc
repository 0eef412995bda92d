#include "kernels/cuda/bench/kernel.h"

#include <nvrtc.h>

#include <fstream>
#include <set>
#include <type_traits>
#include <vector>

#include "kernels/cuda/bench/check.h"

namespace mlpserve::bench {
namespace {

// The file with its quoted includes in their place, each once.
void Flatten(const std::string& root, const std::string& path, std::set<std::string>& seen,
             std::string& text) {
  if (!seen.insert(path).second) return;
  std::ifstream file(root + "/" + path);
  if (!file) {
    std::fprintf(stderr, "expected a kernel source at %s/%s\n", root.c_str(), path.c_str());
    std::exit(1);
  }
  const std::string include = "#include \"";
  for (std::string line; std::getline(file, line);) {
    if (line.compare(0, include.size(), include) == 0) {
      Flatten(root, line.substr(include.size(), line.rfind('"') - include.size()), seen, text);
    } else if (line != "#pragma once") {
      text += line + "\n";
    }
  }
}

struct EpilogueText {
  int columns;
  bool uses_input;
  std::string body;
};

EpilogueText TextOf(EpilogueName epilogue) {
  const auto number = [](double v) { return std::to_string(v) + "f"; };
  switch (epilogue) {
    case EpilogueName::kIdentity:
      return {0, false, "return z;"};
    case EpilogueName::kGelu:
      return {0, false,
              "return GeluTanh(MinNan(MaxNan(z * " + number(kGeluScale) + ", -" +
                  number(kGeluClamp) + "), " + number(kGeluClamp) + "));"};
    case EpilogueName::kSigmoid:
      return {0, false, "return fmaf(Sigmoid(z), " + number(kSigmoidScale) + ", z);"};
    case EpilogueName::kAffine:
      return {2, false, "return fmaf(z, column.c[0], column.c[1]);"};
    case EpilogueName::kInput:
      return {0, true, "return z + x;"};
  }
  return {};
}

std::string EpilogueStruct(EpilogueName epilogue) {
  const EpilogueText text = TextOf(epilogue);
  std::string load;
  for (int i = 0; i < text.columns; i++) {
    load += "args.columns[" + std::to_string(i) + " * args.columns_stride + column], ";
  }
  return "struct Epilogue {\n  static constexpr bool kUsesInput = " +
         std::string(text.uses_input ? "true" : "false") +
         ";\n  static constexpr int kColumns = " + std::to_string(text.columns) +
         ";\n  using Args = EpilogueArgs;\n  struct Column {\n    float c[" +
         std::to_string(std::max(text.columns, 1)) +
         "];\n  };\n  static __device__ __forceinline__ Column Load(const Args& args, int column) "
         "{\n    return Column{{" +
         load +
         "}};\n  }\n  static __device__ __forceinline__ float Apply(float z, const Column& column, "
         "float x) {\n    " +
         text.body + "\n  }\n};\n";
}

const char* OutputType(Compute compute) {
  return compute == Compute::kBf16   ? "Type::kBf16"
         : compute == Compute::kFp16 ? "Type::kFp16"
                                     : "Type::kFp32";
}

const char* InputType(const Variant& variant, Compute compute) {
  const bool is_float = compute == Compute::kTf32 || compute == Compute::kFp32;
  return is_float && !variant.is_ffma() ? "Type::kTf32" : OutputType(compute);
}

// With the scratch memory that a split of k takes.
struct Shape {
  cuda::WgmmaLaunch launch;
  int64_t partials_bytes = 0, arrivals = 0;
};

Shape ShapeOf(const Variant& variant, const cuda::KernelTypes& types, int m, int n, int clusters) {
  return std::visit(
      [&](const auto& tile) -> Shape {
        using Config = std::decay_t<decltype(tile)>;
        if constexpr (std::is_same_v<Config, cuda::WgmmaConfig>) {
          return {cuda::Launch(tile, types, m, n, clusters)};
        } else if constexpr (std::is_same_v<Config, cuda::WgmmaRowsConfig>) {
          return {cuda::Launch(tile, types, m, n)};
        } else {
          const cuda::MmaLaunch launch = cuda::Launch(tile, types.in_bytes, m, n, variant.split_k);
          return {{.grid_x = static_cast<int>(launch.grid_x),
                   .grid_y = launch.grid_y,
                   .threads = launch.threads,
                   .shared_bytes = launch.shared_bytes},
                  launch.partials_bytes,
                  launch.arrivals};
        }
      },
      variant.tile);
}

std::shared_ptr<void> Zeros(int64_t bytes) {
  if (bytes == 0) return nullptr;
  void* memory = nullptr;
  BENCH_CHECK(cudaMalloc(&memory, bytes));
  BENCH_CHECK(cudaMemset(memory, 0, bytes));
  return {memory, [](void* p) { cudaFree(p); }};
}

using EncodeTiled = CUresult (*)(CUtensorMap*, CUtensorMapDataType, cuuint32_t, void*,
                                 const cuuint64_t*, const cuuint64_t*, const cuuint32_t*,
                                 const cuuint32_t*, CUtensorMapInterleave, CUtensorMapSwizzle,
                                 CUtensorMapL2promotion, CUtensorMapFloatOOBfill);

EncodeTiled Encoder() {
  static const EncodeTiled encode = [] {
    void* function = nullptr;
    cudaDriverEntryPointQueryResult found;
    BENCH_CHECK(cudaGetDriverEntryPointByVersion("cuTensorMapEncodeTiled", &function, 12000,
                                                 cudaEnableDefault, &found));
    return reinterpret_cast<EncodeTiled>(function);
  }();
  return encode;
}

CUtensorMap MakeMap(CUtensorMapDataType type, int bytes, const void* data, int64_t rows,
                    int64_t columns, int64_t stride, int box_rows) {
  CUtensorMap map{};
  const cuuint64_t sizes[] = {static_cast<cuuint64_t>(columns), static_cast<cuuint64_t>(rows)};
  const cuuint64_t strides[] = {static_cast<cuuint64_t>(stride * bytes)};
  const cuuint32_t box[] = {static_cast<cuuint32_t>(128 / bytes),
                            static_cast<cuuint32_t>(box_rows)};
  const cuuint32_t steps[] = {1, 1};
  const CUresult result =
      Encoder()(&map, type, 2, const_cast<void*>(data), sizes, strides, box, steps,
                CU_TENSOR_MAP_INTERLEAVE_NONE, CU_TENSOR_MAP_SWIZZLE_128B,
                CU_TENSOR_MAP_L2_PROMOTION_L2_128B, CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE);
  if (result != CUDA_SUCCESS) {
    std::fprintf(stderr, "cuTensorMapEncodeTiled: %d for %ld x %ld, stride %ld, box rows %d\n",
                 result, static_cast<long>(rows), static_cast<long>(columns),
                 static_cast<long>(stride), box_rows);
    std::exit(1);
  }
  return map;
}

}  // namespace

std::string KernelText(const std::string& root, const Variant& variant, Compute compute,
                       EpilogueName epilogue) {
  const std::string constants = std::visit(
      [&](auto tile) {
        if constexpr (requires { tile.terms; }) tile.terms = compute == Compute::kFp32 ? 3 : 1;
        return Constants(tile);
      },
      variant.tile);
  std::set<std::string> seen;
  std::string text;
  Flatten(root, "kernels/cuda/device/gemm_args.cuh", seen, text);
  Flatten(root, "kernels/cuda/device/ptx/primitives.cuh", seen, text);
  Flatten(root, "kernels/cuda/device/math.cuh", seen, text);
  text += "namespace mlpserve::cuda {\n" + EpilogueStruct(epilogue) + "struct Config {\n" +
          "  static constexpr Type kIn = " + InputType(variant, compute) +
          ";\n  static constexpr Type kOut = " + OutputType(compute) + ";\n" + constants +
          "};\n}\n";
  Flatten(root, variant.MainLoopPath(), seen, text);
  return text;
}

std::string DeviceArch() {
  int device = 0;
  cudaDeviceProp properties;
  BENCH_CHECK(cudaGetDevice(&device));
  BENCH_CHECK(cudaGetDeviceProperties(&properties, device));
  const std::string arch =
      "sm_" + std::to_string(properties.major) + std::to_string(properties.minor);
  return arch == "sm_90" ? "sm_90a" : arch;
}

std::string CompileText(const std::string& text, const std::string& label,
                        const std::string& arch) {
  nvrtcProgram program;
  nvrtcCreateProgram(&program, text.c_str(), "kernel.cu", 0, nullptr, nullptr);
  const std::string architecture = "--gpu-architecture=" + arch;
  const char* options[] = {architecture.c_str(), "--std=c++20", "-lineinfo"};
  const nvrtcResult result = nvrtcCompileProgram(program, 3, options);
  size_t size = 0;
  nvrtcGetProgramLogSize(program, &size);
  std::string log(size, 0);
  nvrtcGetProgramLog(program, log.data());
  if (result != NVRTC_SUCCESS || log.find("C7510") != std::string::npos) {
    std::fprintf(stderr, "%s does not compile:\n%.4000s\n", label.c_str(), log.c_str());
    if (result != NVRTC_SUCCESS) return "";
  }
  nvrtcGetCUBINSize(program, &size);
  std::string cubin(size, 0);
  nvrtcGetCUBIN(program, cubin.data());
  nvrtcDestroyProgram(&program);
  return cubin;
}

Kernel::Kernel(const std::string& cubin, const Variant& variant, Compute compute,
               EpilogueName epilogue)
    : variant_(variant) {
  types_.in_bytes = types_.out_bytes = Problem{.compute = compute}.element_bytes();
  types_.columns = TextOf(epilogue).columns;
  BENCH_CHECK(
      cudaLibraryLoadData(&library_, cubin.data(), nullptr, nullptr, 0, nullptr, nullptr, 0));
  BENCH_CHECK(cudaLibraryGetKernel(&kernel_, library_, "mlpserve_gemm"));
  cudaFuncAttributes attributes;
  BENCH_CHECK(cudaFuncGetAttributes(&attributes, reinterpret_cast<const void*>(kernel_)));
  registers_ = attributes.numRegs;
  local_bytes_ = static_cast<int>(attributes.localSizeBytes);

  const cuda::WgmmaLaunch shape = ShapeOf(variant, types_, 1, 1, 1).launch;
  BENCH_CHECK(cudaFuncSetAttribute(reinterpret_cast<const void*>(kernel_),
                                   cudaFuncAttributeMaxDynamicSharedMemorySize,
                                   shape.shared_bytes));
  // One carve-out for all kernels: a change of it between two kernels drains the multiprocessors.
  BENCH_CHECK(cudaFuncSetAttribute(reinterpret_cast<const void*>(kernel_),
                                   cudaFuncAttributePreferredSharedMemoryCarveout,
                                   cudaSharedmemCarveoutMaxShared));
  BENCH_CHECK(cudaOccupancyMaxActiveBlocksPerMultiprocessor(
      &blocks_per_sm_, reinterpret_cast<const void*>(kernel_), shape.threads, shape.shared_bytes));
  if (!variant.is_wgmma()) return;
  cudaLaunchConfig_t config{};
  config.gridDim = shape.cluster * 132;
  config.blockDim = shape.threads;
  config.dynamicSmemBytes = shape.shared_bytes;
  cudaLaunchAttribute cluster{};
  cluster.id = cudaLaunchAttributeClusterDimension;
  cluster.val.clusterDim = {static_cast<unsigned>(shape.cluster), 1, 1};
  config.attrs = &cluster;
  config.numAttrs = 1;
  BENCH_CHECK(
      cudaOccupancyMaxActiveClusters(&clusters_, reinterpret_cast<const void*>(kernel_), &config));
}

Kernel::Launch Kernel::Prepare(const Problem& p, const cuda::GemmArgs& args) const {
  Launch launch;
  launch.args = args;
  const Shape shape = ShapeOf(variant_, types_, p.m, p.n, clusters_);
  launch.shape = shape.launch;
  if (!variant_.is_wgmma()) {
    launch.partials = Zeros(shape.partials_bytes);
    launch.arrivals = Zeros(shape.arrivals * static_cast<int64_t>(sizeof(uint32_t)));
    launch.args.split_k = variant_.split_k;
    launch.args.partials = static_cast<float*>(launch.partials.get());
    launch.args.arrivals = static_cast<uint32_t*>(launch.arrivals.get());
    return launch;
  }
  const CUtensorMapDataType output = p.compute == Compute::kBf16 ? CU_TENSOR_MAP_DATA_TYPE_BFLOAT16
                                     : p.compute == Compute::kFp16
                                         ? CU_TENSOR_MAP_DATA_TYPE_FLOAT16
                                         : CU_TENSOR_MAP_DATA_TYPE_FLOAT32;
  // A TFLOAT32 map rounds to nearest as it copies.
  const bool tf32 = p.format() == Format::kFp32;
  const CUtensorMapDataType input = tf32 ? CU_TENSOR_MAP_DATA_TYPE_TFLOAT32 : output;
  const int64_t columns = p.compute == Compute::kFp32 ? 2 * cuda::HalfColumns(p.k) : p.k;
  const int bytes = p.element_bytes();
  launch.x_map =
      MakeMap(input, bytes, args.x, p.m, columns, args.x_stride, launch.shape.x_box_rows);
  launch.w_map =
      MakeMap(input, bytes, args.w, p.n, columns, args.w_stride, launch.shape.w_box_rows);
  const bool aligned = args.y_stride * bytes % 16 == 0;
  launch.y_map =
      aligned ? MakeMap(output, bytes, args.y, p.m, p.n, args.y_stride, launch.shape.y_box_rows)
              : launch.x_map;
  return launch;
}

void Kernel::Run(const Launch& launch, cudaStream_t stream) const {
  cudaLaunchConfig_t config{};
  config.gridDim = dim3(launch.shape.grid_x, launch.shape.grid_y);
  config.blockDim = launch.shape.threads;
  config.dynamicSmemBytes = launch.shape.shared_bytes;
  config.stream = stream;
  cudaLaunchAttribute programmatic{};
  programmatic.id = cudaLaunchAttributeProgrammaticStreamSerialization;
  programmatic.val.programmaticStreamSerializationAllowed = 1;
  config.attrs = &programmatic;
  config.numAttrs = variant_.programmatic ? 1 : 0;
  void* arguments[] = {
      const_cast<cuda::GemmArgs*>(&launch.args), const_cast<CUtensorMap*>(&launch.x_map),
      const_cast<CUtensorMap*>(&launch.w_map), const_cast<CUtensorMap*>(&launch.y_map)};
  BENCH_CHECK(cudaLaunchKernelExC(&config, reinterpret_cast<const void*>(kernel_), arguments));
}

}  // namespace mlpserve::bench
