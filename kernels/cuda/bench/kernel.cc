#include "kernels/cuda/bench/kernel.h"

#include <nvrtc.h>

#include <fstream>
#include <map>
#include <set>
#include <sstream>
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

const char* TypeText(Compute compute, bool output) {
  switch (compute) {
    case Compute::kBf16:
      return "Type::kBf16";
    case Compute::kFp16:
      return "Type::kFp16";
    case Compute::kTf32:
    case Compute::kFp32:
      return output ? "Type::kFp32" : "Type::kTf32";
  }
  return "";
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

std::string Variant::Label() const {
  return (rows ? "rows " + Name(few) : "wgmma " + Name(tiles)) + (programmatic ? ".pdl" : "");
}

Variant ParseVariant(const std::string& text) {
  Variant v;
  v.text = text;
  v.rows = text[0] == 'r';
  int programmatic = 0;
  std::map<std::string, int*> fields{{"pdl", &programmatic}};
  if (v.rows) {
    fields.insert({{"tr", &v.few.tile_rows},
                   {"b", &v.few.batch},
                   {"s", &v.few.stages},
                   {"bs", &v.few.blocks_per_stage},
                   {"pf", &v.few.prefetch_stages},
                   {"sh", &v.few.share},
                   {"sk", &v.few.split_k}});
  } else {
    fields.insert({{"tm", &v.tiles.tile_m},
                   {"tn", &v.tiles.tile_n},
                   {"s", &v.tiles.stages},
                   {"cm", &v.tiles.cluster_m},
                   {"cn", &v.tiles.cluster_n},
                   {"pp", &v.tiles.ping_pong},
                   {"g", &v.tiles.group_m},
                   {"sb", &v.tiles.store_buffers},
                   {"tma", &v.tiles.store_by_tma}});
  }
  std::istringstream items(text.size() > 2 ? text.substr(2) : "");
  for (std::string item; std::getline(items, item, ',');) {
    const auto field = fields.find(item.substr(0, item.find('=')));
    if (field == fields.end()) {
      std::fprintf(stderr, "variant %s: unknown field in \"%s\"\n", text.c_str(), item.c_str());
      std::exit(1);
    }
    *field->second = std::stoi(item.substr(item.find('=') + 1));
  }
  v.programmatic = programmatic;
  return v;
}

std::string KernelText(const std::string& root, const Variant& of, Compute compute,
                       EpilogueName epilogue) {
  Variant variant = of;
  variant.tiles.terms = variant.few.terms = compute == Compute::kFp32 ? 3 : 1;
  std::set<std::string> seen;
  std::string text;
  Flatten(root, "kernels/cuda/gemm_args.cuh", seen, text);
  Flatten(root, "kernels/cuda/device_primitives.cuh", seen, text);
  Flatten(root, "kernels/cuda/device_math.cuh", seen, text);
  text += "namespace mlpserve::cuda {\n" + EpilogueStruct(epilogue) + "struct Config {\n" +
          "  static constexpr Type kIn = " + TypeText(compute, false) +
          ";\n  static constexpr Type kOut = " + TypeText(compute, true) + ";\n" +
          (variant.rows ? Constants(variant.few) : Constants(variant.tiles)) + "};\n}\n";
  Flatten(root, variant.rows ? "kernels/cuda/wgmma_rows.cuh" : "kernels/cuda/wgmma_gemm.cuh", seen,
          text);
  return text;
}

std::string CompileText(const std::string& text, const std::string& label) {
  nvrtcProgram program;
  nvrtcCreateProgram(&program, text.c_str(), "kernel.cu", 0, nullptr, nullptr);
  const char* options[] = {"--gpu-architecture=sm_90a", "--std=c++17", "-lineinfo"};
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

  const cuda::WgmmaLaunch shape = variant.rows ? cuda::Launch(variant.few, types_, 1, 1)
                                               : cuda::Launch(variant.tiles, types_, 1, 1, 1);
  BENCH_CHECK(cudaFuncSetAttribute(reinterpret_cast<const void*>(kernel_),
                                   cudaFuncAttributeMaxDynamicSharedMemorySize,
                                   shape.shared_bytes));
  // One carve-out for all kernels: a change of it between two kernels drains the multiprocessors.
  BENCH_CHECK(cudaFuncSetAttribute(reinterpret_cast<const void*>(kernel_),
                                   cudaFuncAttributePreferredSharedMemoryCarveout,
                                   cudaSharedmemCarveoutMaxShared));
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
  launch.shape = variant_.rows ? cuda::Launch(variant_.few, types_, p.m, p.n)
                               : cuda::Launch(variant_.tiles, types_, p.m, p.n, clusters_);
  const CUtensorMapDataType output = p.compute == Compute::kBf16 ? CU_TENSOR_MAP_DATA_TYPE_BFLOAT16
                                     : p.compute == Compute::kFp16
                                         ? CU_TENSOR_MAP_DATA_TYPE_FLOAT16
                                         : CU_TENSOR_MAP_DATA_TYPE_FLOAT32;
  // A TFLOAT32 map rounds to nearest as it copies.
  const bool tf32 = p.format() == Format::kFp32;
  const CUtensorMapDataType input = tf32 ? CU_TENSOR_MAP_DATA_TYPE_TFLOAT32 : output;
  const int64_t columns = p.compute == Compute::kFp32 ? 2 * p.half_columns() : p.k;
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
