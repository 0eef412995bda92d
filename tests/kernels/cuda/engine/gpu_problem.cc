#include "tests/kernels/cuda/engine/gpu_problem.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <tuple>

#include "kernels/cuda/tiles/ceil_divide.h"
#include "kernels/reference/epilogue.h"
#include "kernels/spec/rounding.h"
#include "tests/kernels/cuda/engine/gpu_halves.h"

namespace mlpserve::cuda {
namespace {

using reference::Bounded;

constexpr float kUntouched = 77.0f;  // exact in every format

// Calls value(row, column) for each element, columns beyond the matrix included.
template <typename Value>
GpuMatrix MakeMatrix(int64_t rows, int64_t columns, int64_t stride, DataType type, Value value) {
  GpuMatrix m{.rows = rows, .columns = columns, .stride = stride, .type = type};
  m.bytes.resize(rows * stride * ByteSize(type));
  for (int64_t r = 0; r < rows; ++r) {
    for (int64_t c = 0; c < stride; ++c) {
      WriteElement(type, value(r, c), &m.bytes[(r * stride + c) * ByteSize(type)]);
    }
  }
  m.device = AllocateOnGpu(m.bytes.size());
  EXPECT_EQ(cudaMemcpy(m.device.get(), m.bytes.data(), m.bytes.size(), cudaMemcpyHostToDevice),
            cudaSuccess);
  return m;
}

double UnitRoundoff(DataType type) {
  return type == DataType::kFp32 ? 0x1p-24 : type == DataType::kFp16 ? 0x1p-11 : 0x1p-8;
}

std::vector<double> Rounded(const GpuMatrix& m, ComputeType type) {
  std::vector<double> values;
  for (int64_t row = 0; row < m.rows; ++row) {
    for (int64_t c = 0; c < m.columns; ++c) values.push_back(RoundTo(type, m.at(row, c)));
  }
  return values;
}

// Float64 products of rounded elements. Inputs depend on shape and type alone, so every kernel
// shares these.
const reference::Matrix<Bounded>& ProductsOf(const GpuMatrix& x, const GpuMatrix& w,
                                             ComputeType type) {
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

// Rows as [hi | lo], those of x scaled, with the factor of their sums behind (tf32_split.cuh).
GpuMatrix HalvesOf(const GpuMatrix& from, bool scales) {
  const int64_t half = HalfColumns(from.columns);
  const int64_t stride = scales ? SplitStrideOfX(from.columns) : SplitStrideOfW(from.columns);
  std::vector<std::vector<float>> rows;
  for (int64_t row = 0; row < from.rows; ++row) {
    std::vector<float> values;
    for (int64_t i = 0; i < from.columns; ++i) values.push_back(from.at(row, i));
    rows.push_back(SplitRow(values, half, scales));
  }
  return MakeMatrix(from.rows, 2 * half, stride, DataType::kFp32, [&](int64_t row, int64_t c) {
    return c <= 2 * half ? rows[static_cast<size_t>(row)][static_cast<size_t>(c)] : 0.0f;
  });
}

Bounded AsStored(Bounded z, DataType type) {
  return {z.value, z.bound + UnitRoundoff(type) * std::fabs(z.value) + 0x1p-25};
}

}  // namespace

std::shared_ptr<void> AllocateOnGpu(size_t bytes) {
  void* p = nullptr;
  EXPECT_EQ(cudaMalloc(&p, bytes), cudaSuccess) << bytes << " bytes";
  return {p, [](void* q) { cudaFree(q); }};
}

void FillOnGpu(void* memory, int value, size_t bytes) {
  EXPECT_EQ(cudaMemset(memory, value, bytes), cudaSuccess);
  EXPECT_EQ(cudaDeviceSynchronize(), cudaSuccess);
}

float GpuMatrix::at(int64_t row, int64_t column) const {
  return ReadElement(type, &bytes[(row * stride + column) * ByteSize(type)]);
}

GpuMatrix RandomMatrix(int64_t rows, int64_t columns, ComputeType type, std::mt19937& random) {
  std::normal_distribution<float> normal;
  const auto per_16_bytes = static_cast<int64_t>(16 / ByteSize(StorageType(type)));
  const int64_t stride = (CeilDivide(columns, per_16_bytes) + 1) * per_16_bytes;
  return MakeMatrix(rows, columns, stride, StorageType(type), [&](int64_t, int64_t c) {
    if (c >= columns) return std::numeric_limits<float>::quiet_NaN();
    const float value = normal(random);
    if (type != ComputeType::kTf32) return value;
    return mlpserve::RoundToTf32(value) * (1 + (random() % 2 == 0 ? 0x1p-13f : -0x1p-13f));
  });
}

GpuProblem::GpuProblem(const KernelConfig& config, const EpilogueSpec& epilogue,
                       const GpuShape& shape, int y_padding)
    : config_(config), epilogue_(epilogue), shape_(shape) {
  std::mt19937 random(shape.m * 1000003 + shape.n * 1009 + shape.k);
  x_ = RandomMatrix(shape.m, shape.k, config.compute, random);
  w_ = RandomMatrix(shape.n, shape.k, config.compute, random);
  if (ReadsHalves(config.tile)) {
    x_halves_ = HalvesOf(x_, true);
    w_halves_ = HalvesOf(w_, false);
  }
  if (UsesInput(epilogue)) input_ = RandomMatrix(shape.m, shape.n, config.compute, random);
  y_ = MakeMatrix(shape.m + 1, shape.n, shape.n + y_padding, config.output,
                  [](int64_t, int64_t) { return kUntouched; });
  columns_stride_ = CeilDivide(int64_t{shape.n}, 8) * 8;
  std::vector<float> columns(columns_stride_ * std::max<size_t>(1, epilogue.columns.size()));
  for (size_t i = 0; i < epilogue.columns.size(); ++i) {
    std::copy(epilogue.columns[i].begin(), epilogue.columns[i].end(),
              columns.data() + i * static_cast<size_t>(columns_stride_));
  }
  columns_ = AllocateOnGpu(columns.size() * sizeof(float));
  EXPECT_EQ(cudaMemcpy(columns_.get(), columns.data(), columns.size() * sizeof(float),
                       cudaMemcpyHostToDevice),
            cudaSuccess);
}

GemmArgs GpuProblem::Args() const {
  const bool halves = ReadsHalves(config_.tile);
  const GpuMatrix& x = halves ? x_halves_ : x_;
  const GpuMatrix& w = halves ? w_halves_ : w_;
  GemmArgs args;
  args.x = x.device.get();
  args.w = w.device.get();
  args.y = y_.device.get();
  args.block_input = input_.device.get();
  args.x_stride = x.stride;
  args.w_stride = w.stride;
  args.y_stride = y_.stride;
  args.block_input_stride = input_.stride;
  args.m = shape_.m;
  args.n = shape_.n;
  args.k = shape_.k;
  args.split_k = config_.split_k;
  args.epilogue = {static_cast<const float*>(columns_.get()), columns_stride_};
  return args;
}

std::vector<std::byte> GpuProblem::Output() {
  EXPECT_EQ(cudaMemcpy(y_.bytes.data(), y_.device.get(), y_.bytes.size(), cudaMemcpyDeviceToHost),
            cudaSuccess);
  return y_.bytes;
}

void GpuProblem::PoisonOutput() { FillOnGpu(y_.device.get(), 0xFF, y_.bytes.size()); }

void GpuProblem::Check() {
  (void)Output();
  reference::Matrix<Bounded> expected = ProductsOf(x_, w_, config_.compute);
  reference::Matrix<Bounded> input{.rows = expected.rows, .columns = expected.columns};
  for (int64_t row = 0; row < input.rows; ++row) {
    for (int64_t c = 0; c < input.columns; ++c) {
      input.values.push_back({.value = UsesInput(epilogue_) ? input_.at(row, c) : 0});
    }
  }
  reference::EpilogueReference<Bounded>(epilogue_, input).Apply(expected);
  // A tensor store writes whole 16 bytes: the rest of a row's last 16 may change.
  const auto per_16_bytes = static_cast<int64_t>(16 / ByteSize(config_.output));
  const int64_t may_change = IsWgmma(config_.tile) && y_.stride % per_16_bytes == 0
                                 ? CeilDivide(int64_t{shape_.n}, per_16_bytes) * per_16_bytes
                                 : shape_.n;
  for (int64_t row = 0; row < y_.rows; ++row) {
    for (int64_t column = 0; column < y_.stride; ++column) {
      const bool inside = row < shape_.m && column < shape_.n;
      if (!inside && row < shape_.m && column < may_change) continue;
      const Bounded value = inside ? AsStored(expected.at(row, column), config_.output)
                                   : Bounded{.value = kUntouched};
      ASSERT_LE(std::fabs(y_.at(row, column) - value.value), value.bound)
          << "row " << row << ", column " << column << " of " << shape_.m << " x " << shape_.n
          << ", k " << shape_.k << ": expected " << value.value << ", found " << y_.at(row, column);
    }
  }
}

}  // namespace mlpserve::cuda
