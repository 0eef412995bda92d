// How a batch is cut up, as a pure function of its size. A plan is a plain struct; the choice needs
// no block and no threads to test.
#pragma once

#include <cstdint>

namespace mlpserve::cpu {

struct BlockShape {
  int64_t weights = 0;       // of all layers
  int64_t weight_bytes = 0;  // as packed
  int64_t widest = 0;        // features between or around layers
  bool batch_statistics = false;
};

struct Plan {
  bool by_chunks = true;   // chunks of rows pass through all layers; else layer after layer
  int64_t chunk_rows = 0;  // rows of a chunk, or of a layer's task
  int threads = 1;         // worth using; 1: the calling thread alone
};

// Rows of a chunk at most: every chunk reads all weights once more, from the L3 cache or memory
// where they are many; but a chunk's rows should stay in the L2 cache.
int64_t LargestChunk(const BlockShape& shape);

// Rows below which `threads` threads go layer after layer, each with its share of the weights. Also
// the rows that such a batch has at most, batch statistics apart.
int64_t FewRows(const BlockShape& shape, int threads);

// Whether the weights exceed the L2 cache, and so are fetched into it a little ahead of their use.
bool FetchesAhead(const BlockShape& shape);

Plan ChoosePlan(const BlockShape& shape, int64_t rows, int threads);

}  // namespace mlpserve::cpu
