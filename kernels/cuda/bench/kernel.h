// A kernel under test: one of the main loops with one epilogue and one config, compiled from the
// same .cuh text that the service compiles.
#pragma once

#include <cuda.h>
#include <cuda_runtime.h>

#include <cstdint>
#include <memory>
#include <string>

#include "kernels/cuda/bench/arithmetic.h"
#include "kernels/cuda/bench/variant.h"
#include "kernels/cuda/device/gemm_args.cuh"

namespace mlpserve::bench {

enum class Compute { kBf16, kFp16, kTf32, kFp32 };  // kFp32: three products of TF32

struct Problem {
  int m, n, k;
  Compute compute;
  EpilogueName epilogue;
  int pad = 0;  // elements from each row's end to the next row

  int64_t x_stride() const { return k + pad; }
  int64_t y_stride() const { return n + pad; }
  int element_bytes() const { return format() == Format::kFp32 ? 4 : 2; }
  Format format() const {
    return compute == Compute::kBf16   ? Format::kBf16
           : compute == Compute::kFp16 ? Format::kFp16
                                       : Format::kFp32;
  }
};

// The whole translation unit. `root` is the checkout.
std::string KernelText(const std::string& root, const Variant& variant, Compute compute,
                       EpilogueName epilogue);

// Of the current device, as NVRTC is told: "sm_89", "sm_90a".
std::string DeviceArch();

// A cubin by NVRTC; empty, and the log on stderr, where the text is wrong. Threads: any.
std::string CompileText(const std::string& text, const std::string& label, const std::string& arch);

class Kernel {
 public:
  Kernel(const std::string& cubin, const Variant& variant, Compute compute, EpilogueName epilogue);

  struct Launch {  // everything that a launch needs, prepared once
    cuda::GemmArgs args;
    CUtensorMap x_map, w_map, y_map;
    cuda::WgmmaLaunch shape;
    std::shared_ptr<void> partials, arrivals;  // of split_k
  };
  Launch Prepare(const Problem& problem, const cuda::GemmArgs& args) const;
  void Run(const Launch& launch, cudaStream_t stream) const;

  int registers() const { return registers_; }
  int local_bytes() const { return local_bytes_; }
  int clusters() const { return clusters_; }  // that the device holds at a time
  int blocks_per_sm() const { return blocks_per_sm_; }
  bool is_ffma() const { return variant_.is_ffma(); }

 private:
  Variant variant_;
  cuda::KernelTypes types_;
  cudaLibrary_t library_;
  cudaKernel_t kernel_;
  int registers_ = 0, local_bytes_ = 0;
  int clusters_ = 0, blocks_per_sm_ = 0;
};

}  // namespace mlpserve::bench
