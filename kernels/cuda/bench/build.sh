#!/bin/bash
# Builds the benchmark: build.sh PROGRAM ARCH, ARCH as "89" or "90a". Needs nvcc 12.8 or newer, with
# cuBLASLt and NVRTC, and no GPU.
set -eu
program=$1
arch=$2
cd "$(dirname "$0")/../../.."
nvcc -O2 -std=c++20 -gencode="arch=compute_$arch,code=sm_$arch" -I. kernels/cuda/bench/*.cc \
  kernels/cuda/bench/arithmetic.cu kernels/cuda/tiles/wgmma_launch.cc kernels/cuda/tiles/mma_launch.cc \
  -lcublasLt -lnvrtc -o "$program"
