#include "kernels/cpu/bf16_product.h"

#include <algorithm>
#include <chrono>
#include <cstring>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "dnnl.hpp"
#include "kernels/cpu/aligned_buffer.h"
#include "kernels/cpu/convert.h"
#include "kernels/cpu/product.h"

// Declared here because <omp.h> comes with GCC only; oneDNN links GNU OpenMP, which defines it.
extern "C" {
int omp_get_max_threads();
void omp_set_num_threads(int);
}

namespace mlpserve::cpu {
namespace {

using dnnl::memory;

class OneOpenMpThread {
 public:
  OneOpenMpThread() : before_(omp_get_max_threads()) { omp_set_num_threads(1); }
  ~OneOpenMpThread() { omp_set_num_threads(before_); }
  OneOpenMpThread(const OneOpenMpThread&) = delete;
  OneOpenMpThread& operator=(const OneOpenMpThread&) = delete;

 private:
  int before_;
};

}  // namespace

class Bf16Product::State {
 public:
  State(const Panels& weights, int64_t z_stride, int threads);

  bool uses_bf16_instructions() const {
    return std::string(plan_.impl_info_str()).find("bf16") != std::string::npos;
  }
  void Run(int thread, const float* x, int64_t x_stride, float* z);

 private:
  struct Lane {
    AlignedBuffer<std::byte> x;  // [kRows, inputs] in BF16
    dnnl::stream stream;
    std::unordered_map<int, memory> arguments;
  };

  static memory::desc Rows(int64_t columns, int64_t stride, memory::data_type type) {
    return {{kRows, columns}, type, {stride, 1}};
  }

  int64_t inputs_;
  dnnl::engine engine_{dnnl::engine::kind::cpu, 0};
  dnnl::matmul::primitive_desc plan_;
  dnnl::matmul matmul_;
  std::vector<Lane> lanes_;
};

Bf16Product::State::State(const Panels& weights, int64_t z_stride, int threads)
    : inputs_(weights.inputs()) {
  using Type = memory::data_type;
  const memory::desc w({inputs_, weights.outputs()}, Type::bf16, memory::format_tag::BA16a64b2a);
  dnnl::primitive_attr attributes;
  attributes.set_scratchpad_mode(dnnl::scratchpad_mode::user);
  plan_ = dnnl::matmul::primitive_desc(
      {Rows(inputs_, inputs_, Type::bf16), w, Rows(weights.outputs(), z_stride, Type::f32)},
      attributes, engine_);
  matmul_ = dnnl::matmul(plan_);
  for (int i = 0; i < threads; ++i) {
    lanes_.push_back({AlignedBuffer<std::byte>(kRows * inputs_ * 2), dnnl::stream(engine_), {}});
    Lane& lane = lanes_.back();
    // oneDNN does not write to its weights; its interface has no const.
    void* panels = const_cast<std::byte*>(weights.panel(0).data());
    lane.arguments = {{DNNL_ARG_SRC, memory(plan_.src_desc(), engine_, lane.x.get())},
                      {DNNL_ARG_WEIGHTS, memory(plan_.weights_desc(), engine_, panels)},
                      {DNNL_ARG_DST, memory(plan_.dst_desc(), engine_, nullptr)},
                      {DNNL_ARG_SCRATCHPAD, memory(plan_.scratchpad_desc(), engine_)}};
  }
}

void Bf16Product::State::Run(int thread, const float* x, int64_t x_stride, float* z) {
  Lane& lane = lanes_[static_cast<size_t>(thread)];
  WriteRows(DataType::kBf16, x, x_stride, kRows, inputs_, lane.x.get(), inputs_);
  lane.arguments.at(DNNL_ARG_DST).set_data_handle(z);
  const OneOpenMpThread one_thread;
  matmul_.execute(lane.stream, lane.arguments);
  lane.stream.wait();
}

Bf16Product::Bf16Product(std::unique_ptr<State> state) : state_(std::move(state)) {}
Bf16Product::~Bf16Product() = default;

std::unique_ptr<Bf16Product> Bf16Product::Create(const Panels& weights, int64_t z_stride,
                                                 int threads) {
  const OneOpenMpThread one_thread;
  try {
    auto state = std::make_unique<State>(weights, z_stride, threads);
    if (!state->uses_bf16_instructions()) return nullptr;
    return std::unique_ptr<Bf16Product>(new Bf16Product(std::move(state)));
  } catch (const dnnl::error&) {
    return nullptr;  // no such implementation on this processor
  }
}

void Bf16Product::Run(int thread, const float* x, int64_t x_stride, float* z) {
  state_->Run(thread, x, x_stride, z);
}

bool Bf16Product::IsFaster() {
  static const bool is_faster = [] {
    constexpr int64_t kWidth = 256;
    LayerSpec layer{.name = "trial", .inputs = kWidth, .outputs = kWidth};
    layer.weight = std::vector<float>(kWidth * kWidth, 0.5f);
    const auto pack = [&](WeightFormat format) {  // cannot fail: the weight is read from memory
      return *Panels::Pack(layer, ComputeType::kBf16, format, 1);
    };
    const Panels fp32 = pack(WeightFormat::kFp32);
    const Panels bf16 = pack(WeightFormat::kBf16);
    const std::unique_ptr<Bf16Product> product = Create(bf16, kWidth, 1);
    if (product == nullptr) return false;

    AlignedBuffer<float> x(kRows * kWidth);
    AlignedBuffer<float> z(kRows * kWidth);
    const auto run_fp32 = [&] {
      for (int64_t panel = 0; panel < fp32.count(); ++panel) {
        Product(fp32, {.x = x.get(),
                       .x_stride = kWidth,
                       .z = z.get() + panel * kPanelColumns,
                       .z_stride = kWidth,
                       .rows = kRows,
                       .panel = panel});
      }
    };
    const auto time = [](auto f) {
      const auto begin = std::chrono::steady_clock::now();
      f();
      return std::chrono::steady_clock::now() - begin;
    };
    auto fp32_time = std::chrono::steady_clock::duration::max();
    auto bf16_time = fp32_time;
    for (int i = 0; i < 20; ++i) {  // in turn: the clock may change meanwhile
      fp32_time = std::min(fp32_time, time(run_fp32));
      bf16_time = std::min(bf16_time, time([&] { product->Run(0, x.get(), kWidth, z.get()); }));
    }
    return bf16_time * 6 < fp32_time * 5;
  }();
  return is_faster;
}

}  // namespace mlpserve::cpu
