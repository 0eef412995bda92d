// Hopper's asynchronous machinery as functions, one PTX instruction each: barriers in shared
// memory, tensor copies (TMA), clusters and register hand-over. sm_90a only.
//
// Shared memory is named by 32-bit addresses (SharedAddress): barriers, tile slots and matrix
// descriptors are all arithmetic on them.
#pragma once

#include "kernels/cuda/device/prelude.cuh"
#include "kernels/cuda/device/ptx/checks.cuh"
#include "kernels/cuda/device/ptx/programmatic_launch.cuh"
#include "kernels/cuda/device/ptx/shared_memory.cuh"

namespace mlpserve::cuda {

// A CUtensorMap, opaque to the kernel.
struct alignas(64) TensorMap {
  uint64_t words[16];
};

// How long L2 should keep what a copy brings (the encodings that createpolicy makes).
constexpr uint64_t kEvictFirst = 0x12F0000000000000;
constexpr uint64_t kEvictLast = 0x14F0000000000000;

// ---- barriers -----------------------------------------------------------------------------------

__device__ __forceinline__ void InitBarrier(uint32_t barrier, int arrivals) {
  asm volatile("mbarrier.init.shared::cta.b64 [%0], %1;" ::"r"(barrier), "r"(arrivals) : "memory");
}

// Makes initialised barriers visible to the copy engine and to the cluster; a cluster or CTA
// barrier must follow.
__device__ __forceinline__ void FenceBarrierInit() {
  asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory");
}

// One arrival that also announces the bytes that copies will bring in this phase.
__device__ __forceinline__ void ArriveExpectingBytes(uint32_t barrier, int bytes) {
  Pause();
  asm volatile("mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;" ::"r"(barrier), "r"(bytes)
               : "memory");
}

// One arrival at the same barrier of CTA `rank` of the cluster. It orders nothing but what wgmma
// has read: a release at cluster scope would put a fence for all memory before it.
__device__ __forceinline__ void ArriveAtRank(uint32_t barrier, uint32_t rank) {
  Pause();
  asm volatile(
      "{\n"
      ".reg .b32 remote;\n"
      "mapa.shared::cluster.u32 remote, %0, %1;\n"
      "mbarrier.arrive.shared::cluster.b64 _, [remote];\n"
      "}" ::"r"(barrier),
      "r"(rank)
      : "memory");
}

__device__ __forceinline__ bool TryWait(uint32_t barrier, uint32_t parity) {
  uint32_t done;
  asm volatile(
      "{\n"
      ".reg .pred done;\n"
      "mbarrier.try_wait.parity.shared::cta.b64 done, [%1], %2;\n"
      "selp.u32 %0, 1, 0, done;\n"
      "}"
      : "=r"(done)
      : "r"(barrier), "r"(parity)
      : "memory");
  return done;
}

// Returns when the phase of that parity is complete.
__device__ __forceinline__ void Wait(uint32_t barrier, uint32_t parity) {
  Pause();
  while (!TryWait(barrier, parity)) {
  }
}

// A hardware barrier among `threads` threads of the CTA; 0 is __syncthreads' own.
__device__ __forceinline__ void SyncThreads(int barrier, int threads) {
  Pause();
  asm volatile("bar.sync %0, %1;" ::"r"(barrier), "r"(threads) : "memory");
}

// An arrival at the same without waiting.
__device__ __forceinline__ void ArriveThreads(int barrier, int threads) {
  Pause();
  asm volatile("bar.arrive %0, %1;" ::"r"(barrier), "r"(threads) : "memory");
}

// ---- clusters -----------------------------------------------------------------------------------

__device__ __forceinline__ uint32_t ClusterRank() {
  uint32_t rank;
  asm volatile("mov.u32 %0, %%cluster_ctarank;" : "=r"(rank));
  return rank;
}

__device__ __forceinline__ void ClusterArrive() {
  Pause();
  asm volatile("barrier.cluster.arrive.release;" ::: "memory");
}

__device__ __forceinline__ void ClusterWait() {
  Pause();
  asm volatile("barrier.cluster.wait.acquire;" ::: "memory");
}

// The address of the same place in the shared memory of CTA `rank`.
__device__ __forceinline__ uint32_t AddressAtRank(uint32_t address, uint32_t rank) {
  uint32_t remote;
  asm volatile("mapa.shared::cluster.u32 %0, %1, %2;" : "=r"(remote) : "r"(address), "r"(rank));
  return remote;
}

__device__ __forceinline__ float4 LoadAtRank(uint32_t remote) {
  float4 v;
  asm volatile("ld.shared::cluster.v4.f32 {%0, %1, %2, %3}, [%4];"
               : "=f"(v.x), "=f"(v.y), "=f"(v.z), "=f"(v.w)
               : "r"(remote)
               : "memory");
  return v;
}

// ---- tensor copies ------------------------------------------------------------------------------

__device__ __forceinline__ void PrefetchMap(const TensorMap& map) {
  asm volatile("prefetch.tensormap [%0];" ::"l"(&map) : "memory");
}

// Brings the map's box at (column, row) to `slot` and completes its bytes on `barrier`.
__device__ __forceinline__ void LoadBox(const TensorMap& map, uint32_t slot, uint32_t barrier,
                                        int column, int row) {
  asm volatile(
      "cp.async.bulk.tensor.2d.shared::cluster.global.tile.mbarrier::complete_tx::bytes"
      " [%0], [%1, {%3, %4}], [%2];" ::"r"(slot),
      "l"(&map), "r"(barrier), "r"(column), "r"(row)
      : "memory");
}

// The same into the same slot of every CTA in `ranks` (a bit each), on their own barriers.
__device__ __forceinline__ void LoadBoxTo(uint16_t ranks, const TensorMap& map, uint32_t slot,
                                          uint32_t barrier, int column, int row) {
  asm volatile(
      "cp.async.bulk.tensor.2d.shared::cluster.global.tile.mbarrier::complete_tx::bytes"
      ".multicast::cluster [%0], [%1, {%3, %4}], [%2], %5;" ::"r"(slot),
      "l"(&map), "r"(barrier), "r"(column), "r"(row), "h"(ranks)
      : "memory");
}

// Both with advice to L2.
__device__ __forceinline__ void LoadBox(const TensorMap& map, uint32_t slot, uint32_t barrier,
                                        int column, int row, uint64_t policy) {
  asm volatile(
      "cp.async.bulk.tensor.2d.shared::cluster.global.tile.mbarrier::complete_tx::bytes"
      ".L2::cache_hint [%0], [%1, {%3, %4}], [%2], %5;" ::"r"(slot),
      "l"(&map), "r"(barrier), "r"(column), "r"(row), "l"(policy)
      : "memory");
}

__device__ __forceinline__ void LoadBoxTo(uint16_t ranks, const TensorMap& map, uint32_t slot,
                                          uint32_t barrier, int column, int row, uint64_t policy) {
  asm volatile(
      "cp.async.bulk.tensor.2d.shared::cluster.global.tile.mbarrier::complete_tx::bytes"
      ".multicast::cluster.L2::cache_hint [%0], [%1, {%3, %4}], [%2], %5, %6;" ::"r"(slot),
      "l"(&map), "r"(barrier), "r"(column), "r"(row), "h"(ranks), "l"(policy)
      : "memory");
}

// Brings a box no further than L2.
__device__ __forceinline__ void PrefetchBox(const TensorMap& map, int column, int row) {
  asm volatile("cp.async.bulk.prefetch.tensor.2d.L2.global.tile [%0, {%1, %2}];" ::"l"(&map),
               "r"(column), "r"(row)
               : "memory");
}

// Stores a box from shared memory; rows and columns outside the tensor are dropped.
__device__ __forceinline__ void StoreBox(const TensorMap& map, uint32_t slot, int column, int row) {
  asm volatile(
      "cp.async.bulk.tensor.2d.global.shared::cta.tile.bulk_group [%0, {%2, %3}], [%1];" ::"l"(
          &map),
      "r"(slot), "r"(column), "r"(row)
      : "memory");
}

__device__ __forceinline__ void CommitStores() {
  asm volatile("cp.async.bulk.commit_group;" ::: "memory");
}

// Returns when all but the latest `pending` groups of this thread's stores have read their source.
template <int pending>
__device__ __forceinline__ void WaitStoresRead() {
  asm volatile("cp.async.bulk.wait_group.read %0;" ::"n"(pending) : "memory");
}

// Orders this thread's ordinary writes to shared memory before later reads by copies or wgmma.
__device__ __forceinline__ void FenceSharedWrites() {
  asm volatile("fence.proxy.async.shared::cta;" ::: "memory");
}

// ---- registers ----------------------------------------------------------------------------------

template <int count>
__device__ __forceinline__ void ShrinkRegisters() {
  asm volatile("setmaxnreg.dec.sync.aligned.u32 %0;" ::"n"(count));
}

template <int count>
__device__ __forceinline__ void GrowRegisters() {
  asm volatile("setmaxnreg.inc.sync.aligned.u32 %0;" ::"n"(count));
}

// Four 8x8 matrices of 16-bit values: lane i gives the address of row i % 8 of matrix i / 8.
__device__ __forceinline__ void StoreMatrices(uint32_t address, uint32_t a, uint32_t b, uint32_t c,
                                              uint32_t d) {
  asm volatile("stmatrix.sync.aligned.m8n8.x4.shared.b16 [%0], {%1, %2, %3, %4};" ::"r"(address),
               "r"(a), "r"(b), "r"(c), "r"(d)
               : "memory");
}

}  // namespace mlpserve::cuda
