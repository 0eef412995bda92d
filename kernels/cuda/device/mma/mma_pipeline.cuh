// a·bᵀ over one CTA's part of k, with mma.sync: operands come through a ring of shared-memory
// stages that cp.async fills. sm_80 and up.
//
// Both operands are rows of k. A stage holds kTileK elements of each of the tile's rows, in 16-byte
// chunks; two chunks are the depth of one mma (16 elements of 16 bits, 8 of TF32), so one code
// serves every format. Chunks of a row are stored at chunk ^ phase(row), with phases such that the
// eight rows that ldmatrix reads at a time lie in different banks.
// Rows beyond a matrix, and elements beyond k, are filled with zeros on the way in.
#pragma once

#include "kernels/cuda/device/prelude.cuh"
#include "kernels/cuda/device/ptx/async_copy.cuh"
#include "kernels/cuda/device/ptx/mma_instruction.cuh"
#include "kernels/cuda/device/ptx/shared_memory.cuh"

namespace mlpserve::cuda {

// How the rows of b map to columns of the eight-column products.
enum class ColumnOrder {
  kPlain,  // product j holds rows 8j .. 8j + 7
  kRuns,   // of every 32 rows, a thread's two columns in each of four products are its own eight
           // neighbours: lane t of a quad holds 8t + 2j and 8t + 2j + 1 of product j
};

template <Type type, int kTileA, int kTileB, int kTileK, int kWarpsA, int kWarpsB, int kStages,
          int kCtasPerSm, ColumnOrder kOrder>
class MmaPipeline {
 public:
  static constexpr int kThreads = kWarpsA * kWarpsB * 32;
  static constexpr int kProductsA = kTileA / kWarpsA / 16;
  static constexpr int kProductsB = kTileB / kWarpsB / 8;
  static constexpr int kRowBytes = kTileK * static_cast<int>(sizeof(Stored<type>));
  static constexpr int kStageBytes = (kTileA + kTileB) * kRowBytes;
  static constexpr int kSharedBytes = kStageBytes * kStages;

  // Of one operand: a matrix of rows, the first of which is the tile's.
  struct Operand {
    const void* first_row;
    int64_t stride_bytes;
    int rows;  // that exist, at least 1

    // Of `matrix`, of `all` rows that are `stride` elements apart, from row `first` on.
    static __device__ __forceinline__ Operand From(const void* matrix, int64_t stride, int first,
                                                   int all) {
      const int64_t stride_bytes = stride * static_cast<int64_t>(sizeof(Stored<type>));
      return {static_cast<const char*>(matrix) + first * stride_bytes, stride_bytes, all - first};
    }
  };

  // `shared` holds kSharedBytes at a multiple of 128. k_begin is a multiple of kTileK.
  __device__ __forceinline__ MmaPipeline(void* shared, const Operand& a, const Operand& b,
                                         int k_begin, int k_end)
      : shared_(SharedAddress(shared)),
        a_(a, k_begin),
        b_(b, k_begin),
        bytes_left_((k_end - k_begin) * static_cast<int>(sizeof(Stored<type>))) {
    const int lane = threadIdx.x % 32;
    const int warp = threadIdx.x / 32;
    const int row_a = warp / kWarpsB * (kTileA / kWarpsA) + lane % 16;
    const int row_b = warp % kWarpsB * (kTileB / kWarpsB) + RowOfB(lane);
    offset_a_ = row_a * kRowBytes + Place<ColumnOrder::kPlain>(row_a, lane / 16);
    offset_b_ = (kTileA + row_b) * kRowBytes + Place<kOrder>(row_b, lane / 8 % 2);
  }

  // sums[i][j] is product (i, j) of this warp: rows 16i + {g, g + 8} of its part of a, and for each
  // its two columns, where lane = 4g + t. Shared memory is free again after it.
  __device__ __forceinline__ void Run(float (&sums)[kProductsA][kProductsB][4]) {
#pragma unroll
    for (int stage = 0; stage < kStages - 1; ++stage) CopyStage(stage);
    if constexpr (kLoadAhead) {
      RunAhead(sums);
    } else {
      RunInTurn(sums);
    }
    WaitForCopies<0>();
    __syncthreads();
  }

 private:
  static constexpr int kChunks = kRowBytes / 16;
  static constexpr int kSteps = kChunks / 2;
  static constexpr int kOtherRegisters = 40;  // addresses, counts, and what the compiler needs
  static constexpr int kRowsPerPass = kThreads / kChunks;  // rows that all threads copy at once

  static_assert(kRowBytes == 64 || kRowBytes == 128, "a stage's row is 64 or 128 bytes");
  static_assert(kTileA % (kWarpsA * 16) == 0, "a warp multiplies 16 rows of a at a time");
  static_assert(kTileB % (kWarpsB * (kOrder == ColumnOrder::kRuns ? 32 : 8)) == 0,
                "a warp multiplies 8 rows of b at a time, 32 for runs of 8");
  static_assert(kStages >= 2, "one stage is read while another is filled");

  // Registers decide: two CTAs of an SM leave each thread 128 of them.
  static constexpr int kRegisters = 65536 / (kThreads * kCtasPerSm);
  static constexpr int kSumRegisters = kProductsA * kProductsB * 4;
  static constexpr int kFragmentRegisters = kProductsA * 4 + kProductsB * 2;
  static constexpr bool kLoadAhead =
      kSumRegisters + 2 * kFragmentRegisters + kOtherRegisters <= kRegisters;

  struct Fragments {
    uint32_t a[kProductsA][4];
    uint32_t b[kProductsB][2];
  };

  // Where this thread copies from: a chunk of a row, and the same chunk of every kRowsPerPass-th
  // row after it. Rows beyond the last are never read: no bytes of them are asked for.
  struct Source {
    __device__ __forceinline__ Source(const Operand& operand, int k_begin)
        : row(static_cast<int>(threadIdx.x) / kChunks),
          rows(operand.rows - row),
          pass_bytes(operand.stride_bytes * kRowsPerPass),
          p(static_cast<const char*>(operand.first_row) + row * operand.stride_bytes +
            k_begin * static_cast<int64_t>(sizeof(Stored<type>)) + threadIdx.x % kChunks * 16) {}
    int row;
    int rows;  // that exist from `row` on
    int64_t pass_bytes;
    const char* p;
  };

  // Loads the fragments of one step while it multiplies those of the step before.
  __device__ __forceinline__ void RunAhead(float (&sums)[kProductsA][kProductsB][4]) {
    static_assert(kSteps % 2 == 0, "fragments alternate between two sets of registers");
    WaitForCopies<kStages - 2>();
    __syncthreads();
    Fragments fragments[2];
    int read = 0;
    LoadFragments(fragments[0], 0, 0);
    while (IsUnread()) {
#pragma unroll
      for (int step = 0; step < kSteps; ++step) {
        if (step == kSteps - 1) {  // the next stage must have come before its first fragments load
          WaitForCopies<kStages - 2>();
          __syncthreads();
          read = Next(read);
        }
        LoadFragments(fragments[(step + 1) % 2], read, (step + 1) % kSteps);
        // Into the stage that all warps left at the last synchronisation.
        if (step == 0) CopyStage(Previous(read));
        MultiplyAll(sums, fragments[step % 2]);
      }
    }
  }

  // One set of fragments: other warps multiply while this one loads.
  __device__ __forceinline__ void RunInTurn(float (&sums)[kProductsA][kProductsB][4]) {
    int read = 0;
    while (IsUnread()) {
      WaitForCopies<kStages - 2>();
      __syncthreads();
      CopyStage(Previous(read));
#pragma unroll
      for (int step = 0; step < kSteps; ++step) {
        Fragments fragments;
        LoadFragments(fragments, read, step);
        MultiplyAll(sums, fragments);
      }
      read = Next(read);
    }
  }

  // Whether a stage is left to multiply, just before the copy of the one kStages - 1 ahead of it.
  __device__ __forceinline__ bool IsUnread() const {
    return bytes_left_ > -(kStages - 1) * kRowBytes;
  }

  static __device__ __forceinline__ int RowOfB(int lane) {
    const int r = lane % 8;
    const int product = lane / 16;  // of the two that one ldmatrix loads
    if constexpr (kOrder == ColumnOrder::kRuns) return r / 2 * 8 + product * 2 + r % 2;
    return product * 8 + r;
  }

  // Of the first of two products; the second one's row is RowOfB's business.
  static constexpr __device__ int FirstRow(int product) {
    if constexpr (kOrder == ColumnOrder::kRuns) return product / 4 * 32 + product % 4 * 2;
    return product * 8;
  }

  // Byte offset of a chunk in its row.
  template <ColumnOrder order>
  static __device__ __forceinline__ uint32_t Place(uint32_t row, uint32_t chunk) {
    uint32_t phase;
    if constexpr (order == ColumnOrder::kRuns) {  // ldmatrix reads rows 8i and 8i + 1, i = 0 .. 3
      phase = kChunks == 8 ? row / 8 % 4 * 2 + row % 2 : row / 8 % 4;
    } else {
      phase = kChunks == 8 ? row % 8 : row / 2 % 4;
    }
    return (chunk ^ phase) * 16;
  }

  // The place of the chunk 2·step further on: chunks lie at chunk ^ phase, and rows are aligned.
  static __device__ __forceinline__ uint32_t AtStep(uint32_t address, int step) {
    return address ^ (step * 32);
  }

  static __device__ __forceinline__ int Next(int stage) {
    return stage + 1 == kStages ? 0 : stage + 1;
  }

  static __device__ __forceinline__ int Previous(int stage) {
    return stage == 0 ? kStages - 1 : stage - 1;
  }

  template <int kRows, ColumnOrder order>
  __device__ __forceinline__ void CopyRows(const Source& source, uint32_t to, int bytes) {
    const int chunk = threadIdx.x % kChunks;
    const char* from = source.p;
#pragma unroll
    for (int pass = 0; pass < (kRows + kRowsPerPass - 1) / kRowsPerPass; ++pass) {
      const int row = source.row + pass * kRowsPerPass;
      if (kRows % kRowsPerPass == 0 || row < kRows) {
        const bool exists = pass * kRowsPerPass < source.rows;
        CopyChunk(to + row * kRowBytes + Place<order>(row, chunk), from, exists ? bytes : 0);
      }
      from += source.pass_bytes;
    }
  }

  // Starts the copies of the next stage, if there is one; an empty group keeps the count otherwise.
  __device__ __forceinline__ void CopyStage(int stage) {
    if (bytes_left_ > 0) {
      const int chunk = threadIdx.x % kChunks;
      const int bytes = max(0, min(16, bytes_left_ - chunk * 16));
      const uint32_t to = shared_ + stage * kStageBytes;
      CopyRows<kTileA, ColumnOrder::kPlain>(a_, to, bytes);
      CopyRows<kTileB, kOrder>(b_, to + kTileA * kRowBytes, bytes);
      a_.p += kRowBytes;
      b_.p += kRowBytes;
    }
    bytes_left_ -= kRowBytes;
    CommitCopies();
  }

  __device__ __forceinline__ void LoadFragments(Fragments& f, int stage, int step) {
    const uint32_t a = AtStep(shared_ + stage * kStageBytes + offset_a_, step);
    const uint32_t b = AtStep(shared_ + stage * kStageBytes + offset_b_, step);
#pragma unroll
    for (int i = 0; i < kProductsA; ++i) LoadMatrices(f.a[i], a + i * 16 * kRowBytes);
    if constexpr (kProductsB == 1) {
      LoadMatrices(f.b[0], b);
    } else {
#pragma unroll
      for (int j = 0; j < kProductsB; j += 2) {
        uint32_t r[4];
        LoadMatrices(r, b + FirstRow(j) * kRowBytes);
        f.b[j][0] = r[0];
        f.b[j][1] = r[1];
        f.b[j + 1][0] = r[2];
        f.b[j + 1][1] = r[3];
      }
    }
  }

  __device__ __forceinline__ void MultiplyAll(float (&sums)[kProductsA][kProductsB][4],
                                              Fragments& f) {
    if constexpr (type == Type::kTf32) {
      for (auto& a : f.a) {
        for (uint32_t& bits : a) bits = RoundToTf32(bits);
      }
      for (auto& b : f.b) {
        for (uint32_t& bits : b) bits = RoundToTf32(bits);
      }
    }
#pragma unroll
    for (int i = 0; i < kProductsA; ++i) {
#pragma unroll
      for (int j = 0; j < kProductsB; ++j) Multiply<type>(sums[i][j], f.a[i], f.b[j]);
    }
  }

  uint32_t shared_;
  Source a_;
  Source b_;
  int bytes_left_;     // of k, from the next stage to copy on; below zero when there is none
  uint32_t offset_a_;  // in a stage, of what this lane gives ldmatrix at step 0
  uint32_t offset_b_;
};

}  // namespace mlpserve::cuda
