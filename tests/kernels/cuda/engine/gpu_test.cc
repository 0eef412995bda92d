// The ffma, mma and mma_rows main loops on a GPU, against float64: every kind of edge that a tile
// can have, paddings that hold NaN, and neighbours of y that must not be touched.
#include <cuda_runtime.h>
#include <gtest/gtest.h>

#include <cmath>
#include <map>
#include <memory>
#include <random>
#include <tuple>
#include <vector>

#include "kernels/cuda/device/gemm_args.cuh"
#include "kernels/cuda/jit/kernel_compiler.h"
#include "kernels/cuda/jit/kernel_source.h"
#include "kernels/cuda/tiles/ceil_divide.h"
#include "kernels/cuda/tiles/mma_launch.h"
#include "kernels/reference/epilogue.h"
#include "kernels/spec/rounding.h"

namespace mlpserve::cuda {
namespace {

using reference::Bounded;

#define ASSERT_CUDA(call) ASSERT_EQ(call, cudaSuccess)

constexpr float kUntouched = 77.0f;  // exact in every format

struct Shape {
  int m, n, k;
};

// A matrix in the device's memory and its values as the host sees them.
struct Matrix {
  int64_t rows = 0, columns = 0, stride = 0;
  DataType type = DataType::kFp32;
  std::vector<std::byte> bytes;
  std::shared_ptr<void> device;

  float at(int64_t row, int64_t column) const {
    return ReadElement(type, &bytes[(row * stride + column) * ByteSize(type)]);
  }
};

std::shared_ptr<void> Allocate(size_t bytes) {
  void* p = nullptr;
  EXPECT_EQ(cudaMalloc(&p, bytes), cudaSuccess);
  return {p, [](void* q) { cudaFree(q); }};
}

// Calls value(row, column) for each element, columns beyond the matrix included.
template <typename Value>
Matrix MakeMatrix(int64_t rows, int64_t columns, int64_t stride, DataType type, Value value) {
  Matrix m{.rows = rows, .columns = columns, .stride = stride, .type = type};
  m.bytes.resize(rows * stride * ByteSize(type));
  for (int64_t r = 0; r < rows; ++r) {
    for (int64_t c = 0; c < stride; ++c) {
      WriteElement(type, value(r, c), &m.bytes[(r * stride + c) * ByteSize(type)]);
    }
  }
  m.device = Allocate(m.bytes.size());
  EXPECT_EQ(cudaMemcpy(m.device.get(), m.bytes.data(), m.bytes.size(), cudaMemcpyHostToDevice),
            cudaSuccess);
  return m;
}

// Normal numbers; for TF32 a little off what TF32 holds, to either side, so that truncation shows.
Matrix RandomMatrix(int64_t rows, int64_t columns, ComputeType type, std::mt19937& random) {
  std::normal_distribution<float> normal;
  const auto per_16_bytes = static_cast<int64_t>(16 / ByteSize(StorageType(type)));
  const int64_t stride = (CeilDivide(columns, per_16_bytes) + 1) * per_16_bytes;
  return MakeMatrix(rows, columns, stride, StorageType(type), [&](int64_t, int64_t c) {
    if (c >= columns) return std::numeric_limits<float>::quiet_NaN();
    const float value = normal(random);
    if (type != ComputeType::kTf32) return value;
    return RoundToTf32(value) * (1 + (random() % 2 == 0 ? 0x1p-13f : -0x1p-13f));
  });
}

std::vector<EpilogueSpec> Epilogues(int n) {
  std::vector<float> scale(n), shift(n);
  for (int i = 0; i < n; ++i) {
    scale[i] = 0.02f * static_cast<float>(i % 50) - 0.5f;
    shift[i] = 0.1f * static_cast<float>(i % 7);
  }
  const MultiplyAdd affine{.scale = {.column = 0}, .shift = {.column = 1}};
  return {
      {},
      {.ops = {{affine}, {Clamp{-2, 2}}, {Pointwise{Function::kGeluTanh}}},
       .columns = {scale, shift}},
      {.ops = {{Residual{{{Pointwise{Function::kSigmoid}}, {affine}}}}, {AddInput{}}},
       .columns = {scale, shift}},
  };
}

class Kernel {
 public:
  Kernel(const CompiledKernel& compiled, const KernelConfig& config) : config_(config) {
    EXPECT_EQ(cudaLibraryLoadData(&library_, compiled.cubin.data(), nullptr, nullptr, 0, nullptr,
                                  nullptr, 0),
              cudaSuccess);
    EXPECT_EQ(cudaLibraryGetKernel(&kernel_, library_, kKernelName), cudaSuccess);
  }
  ~Kernel() { cudaLibraryUnload(library_); }
  Kernel(const Kernel&) = delete;
  Kernel& operator=(const Kernel&) = delete;

  void Run(GemmArgs args) const {
    const MmaLaunch launch = std::visit(
        [&](const auto& tile) {
          if constexpr (requires { Launch(tile, 2, int64_t{1}, int64_t{1}, 1); }) {
            return Launch(tile, static_cast<int>(ByteSize(StorageType(config_.compute))), args.m,
                          args.n, config_.split_k);
          } else {
            return MmaLaunch{};
          }
        },
        config_.tile);
    const std::shared_ptr<void> partials = Allocate(launch.partials_bytes + 16);
    const std::shared_ptr<void> arrivals = Allocate(launch.arrivals * 4 + 16);
    cudaMemset(arrivals.get(), 0, launch.arrivals * 4 + 16);
    args.partials = static_cast<float*>(partials.get());
    args.arrivals = static_cast<uint32_t*>(arrivals.get());
    args.split_k = config_.split_k;
    const void* function = reinterpret_cast<const void*>(kernel_);
    ASSERT_CUDA(cudaFuncSetAttribute(function, cudaFuncAttributeMaxDynamicSharedMemorySize,
                                     launch.shared_bytes));
    void* parameters[] = {&args};
    for (int i = 0; i < 2; ++i) {  // the second launch finds the counters that the first one left
      ASSERT_CUDA(cudaLaunchKernel(function, dim3(launch.grid_x, launch.grid_y),
                                   dim3(launch.threads), parameters, launch.shared_bytes, nullptr));
    }
    ASSERT_CUDA(cudaDeviceSynchronize());
  }

 private:
  KernelConfig config_;
  cudaLibrary_t library_ = nullptr;
  cudaKernel_t kernel_ = nullptr;
};

double UnitRoundoff(DataType type) {
  return type == DataType::kFp32 ? 0x1p-24 : type == DataType::kFp16 ? 0x1p-11 : 0x1p-8;
}

std::vector<double> Rounded(const Matrix& m, ComputeType type) {
  std::vector<double> values;
  for (int64_t row = 0; row < m.rows; ++row) {
    for (int64_t c = 0; c < m.columns; ++c) values.push_back(RoundTo(type, m.at(row, c)));
  }
  return values;
}

// Float64 products of rounded elements. Inputs depend on shape and type alone, so every kernel
// shares these.
const reference::Matrix<Bounded>& ProductsOf(const Matrix& x, const Matrix& w, ComputeType type) {
  static std::map<std::tuple<ComputeType, int64_t, int64_t, int64_t>, reference::Matrix<Bounded>>
      known;
  const auto [place, is_new] = known.try_emplace({type, x.rows, w.rows, x.columns});
  reference::Matrix<Bounded>& z = place->second;
  if (!is_new) return z;
  z.rows = x.rows;
  z.columns = w.rows;
  const std::vector<double> a = Rounded(x, type);
  const std::vector<double> b = Rounded(w, type);
  const double rounding = reference::kOpError * std::sqrt(static_cast<double>(x.columns));
  for (int64_t row = 0; row < x.rows; ++row) {
    for (int64_t column = 0; column < w.rows; ++column) {
      double sum = 0, magnitude = 0;
      for (int64_t i = 0; i < x.columns; ++i) {
        const double product = a[row * x.columns + i] * b[column * x.columns + i];
        sum += product;
        magnitude += std::fabs(product);
      }
      z.values.push_back({.value = sum, .bound = rounding * magnitude});
    }
  }
  return z;
}

// One problem: inputs, columns, what y must be.
class Problem {
 public:
  Problem(const KernelConfig& config, const EpilogueSpec& epilogue, const Shape& shape, int y_pad)
      : config_(config), epilogue_(epilogue), shape_(shape) {
    std::mt19937 random(shape.m * 1000003 + shape.n * 1009 + shape.k);
    x_ = RandomMatrix(shape.m, shape.k, config.compute, random);
    w_ = RandomMatrix(shape.n, shape.k, config.compute, random);
    input_ = RandomMatrix(shape.m, shape.n, config.compute, random);
    y_ = MakeMatrix(shape.m + 1, shape.n, shape.n + y_pad, config.output,
                    [](int64_t, int64_t) { return kUntouched; });
    columns_stride_ = CeilDivide(int64_t{shape.n}, 8) * 8;
    std::vector<float> columns(columns_stride_ * std::max<size_t>(1, epilogue.columns.size()));
    for (size_t i = 0; i < epilogue.columns.size(); ++i) {
      std::copy(epilogue.columns[i].begin(), epilogue.columns[i].end(),
                columns.data() + i * static_cast<size_t>(columns_stride_));
    }
    columns_ = Allocate(columns.size() * sizeof(float));
    cudaMemcpy(columns_.get(), columns.data(), columns.size() * sizeof(float),
               cudaMemcpyHostToDevice);
  }

  GemmArgs Args() const {
    GemmArgs args;
    args.x = x_.device.get();
    args.w = w_.device.get();
    args.y = y_.device.get();
    args.block_input = input_.device.get();
    args.x_stride = x_.stride;
    args.w_stride = w_.stride;
    args.y_stride = y_.stride;
    args.block_input_stride = input_.stride;
    args.m = shape_.m;
    args.n = shape_.n;
    args.k = shape_.k;
    args.epilogue = {static_cast<const float*>(columns_.get()), columns_stride_};
    return args;
  }

  void Check() {
    ASSERT_CUDA(
        cudaMemcpy(y_.bytes.data(), y_.device.get(), y_.bytes.size(), cudaMemcpyDeviceToHost));
    const reference::Matrix<Bounded> expected = Expected();
    for (int64_t row = 0; row < y_.rows; ++row) {
      for (int64_t column = 0; column < y_.stride; ++column) {
        const bool inside = row < shape_.m && column < shape_.n;
        const Bounded value =
            inside ? Stored(expected.at(row, column)) : Bounded{.value = kUntouched};
        ASSERT_LE(std::fabs(y_.at(row, column) - value.value), value.bound)
            << "row " << row << ", column " << column << " of " << shape_.m << " x " << shape_.n
            << ", k " << shape_.k << ": expected " << value.value << ", found "
            << y_.at(row, column);
      }
    }
  }

 private:
  reference::Matrix<Bounded> Expected() const {
    reference::Matrix<Bounded> z = ProductsOf(x_, w_, config_.compute);
    reference::Matrix<Bounded> input{.rows = z.rows, .columns = z.columns, .values = {}};
    for (int64_t row = 0; row < z.rows; ++row) {
      for (int64_t c = 0; c < z.columns; ++c) input.values.push_back({.value = input_.at(row, c)});
    }
    reference::EpilogueReference<Bounded>(epilogue_, input).Apply(z);
    return z;
  }

  Bounded Stored(Bounded z) const {
    return {z.value, z.bound + UnitRoundoff(config_.output) * std::fabs(z.value) + 0x1p-25};
  }

  KernelConfig config_;
  EpilogueSpec epilogue_;
  Shape shape_;
  Matrix x_, w_, input_, y_;
  std::shared_ptr<void> columns_;
  int64_t columns_stride_ = 0;
};

std::string DeviceArch() {
  cudaDeviceProp properties;
  if (cudaGetDeviceProperties(&properties, 0) != cudaSuccess) return "";
  const std::string arch =
      "sm_" + std::to_string(properties.major) + std::to_string(properties.minor);
  return arch == "sm_90" ? "sm_90a" : arch;
}

const Shape kShapes[] = {{1, 1, 1},      {1, 64, 33},     {3, 130, 64},   {8, 8, 7},
                         {16, 257, 100}, {17, 96, 511},   {64, 128, 256}, {65, 33, 129},
                         {129, 257, 40}, {200, 200, 200}, {128, 256, 512}};

class GpuTest : public testing::TestWithParam<Tile> {
 protected:
  void SetUp() override {
    int devices = 0;
    if (cudaGetDeviceCount(&devices) != cudaSuccess || devices == 0) GTEST_SKIP() << "no GPU";
    const auto nvrtc = Nvrtc::Open();
    if (!nvrtc.ok()) GTEST_SKIP() << nvrtc.status();
    compiler_ = std::make_unique<KernelCompiler>(*nvrtc, std::nullopt);
  }

  void CheckAll(const KernelConfig& config) {
    for (size_t e = 0; e < Epilogues(1).size(); ++e) {
      const auto compiled = compiler_->Compile(Epilogues(1)[e], config, {.arch = DeviceArch()});
      ASSERT_TRUE(compiled.ok()) << compiled.status();
      const Kernel kernel(compiled->kernel, config);
      for (const Shape& shape : kShapes) {
        for (const int y_pad : {0, 3}) {
          SCOPED_TRACE(Name(config) + ", epilogue " + std::to_string(e));
          Problem problem(config, Epilogues(shape.n)[e], shape, y_pad);
          kernel.Run(problem.Args());
          problem.Check();
          if (HasFatalFailure()) return;
        }
      }
    }
  }

  std::unique_ptr<KernelCompiler> compiler_;
};

TEST_P(GpuTest, EveryShapeTypeAndSplitMatchesFloat64) {
  const bool is_ffma = std::holds_alternative<FfmaTile>(GetParam());
  for (const ComputeType compute :
       {ComputeType::kFp32, ComputeType::kTf32, ComputeType::kFp16, ComputeType::kBf16}) {
    if (is_ffma != (compute == ComputeType::kFp32)) continue;
    KernelConfig config{.tile = GetParam(), .compute = compute, .output = StorageType(compute)};
    if (compute == ComputeType::kTf32) {
      if (auto* t = std::get_if<MmaTile>(&config.tile)) t->tile_k /= 2;
      if (auto* t = std::get_if<MmaRowsTile>(&config.tile)) t->tile_k /= 2;
    }
    for (const int split_k : {1, 3}) {
      config.split_k = split_k;
      CheckAll(config);
      if (HasFatalFailure()) return;
    }
    config.split_k = 1;
    config.output = compute == ComputeType::kFp16 ? DataType::kFp32 : DataType::kFp16;
    CheckAll(config);
  }
}

INSTANTIATE_TEST_SUITE_P(
    MainLoops, GpuTest,
    testing::Values(
        Tile{FfmaTile{64, 128, 16, 8, 16, 1, 2, 3}}, Tile{FfmaTile{128, 256, 16, 16, 16, 1, 4, 1}},
        Tile{FfmaTile{64, 64, 32, 8, 8, 2, 3, 2}}, Tile{FfmaTile{32, 64, 32, 4, 8, 4, 4, 2}},
        Tile{FfmaTile{16, 64, 32, 4, 8, 4, 4, 2}}, Tile{MmaTile{128, 128, 32, 2, 4, 3, 2}},
        Tile{MmaTile{128, 128, 64, 2, 4, 3, 1}}, Tile{MmaTile{128, 256, 32, 2, 4, 4, 1}},
        Tile{MmaTile{64, 64, 64, 2, 2, 4, 2}}, Tile{MmaRowsTile{64, 8, 64, 4, 6, 2}},
        Tile{MmaRowsTile{64, 32, 64, 4, 4, 2}}, Tile{MmaRowsTile{128, 64, 64, 4, 4, 1}}),
    [](const auto& test) {
      std::string name = Name(KernelConfig{.tile = test.param});
      for (char& c : name) c = c == '.' ? '_' : c;
      return name;
    });

}  // namespace
}  // namespace mlpserve::cuda
