// How a batch is cut into tasks, as a pure function of its size. A plan is a plain struct, so that
// the choice can be tested without a block and without threads.
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

// The most rows of a chunk. Larger chunks read the weights less often, which come from the L3 cache
// or from memory where they are many; but the rows of a chunk should stay in the L2 cache.
int64_t LargestChunk(const BlockShape& shape);

// Below this number of rows, `threads` threads go layer after layer, each with its share of the
// weights. Batches that go layer after layer never have more rows, unless they need batch
// statistics.
int64_t FewRows(const BlockShape& shape, int threads);

// Whether the weights exceed the L2 cache, and so are fetched into it a little ahead of their use.
bool FetchesAhead(const BlockShape& shape);

Plan ChoosePlan(const BlockShape& shape, int64_t rows, int threads);

}  // namespace mlpserve::cpu
