// Keeps a directory of cache entries within a number of bytes.
#pragma once

#include <cstdint>
#include <string>

namespace mlpserve::cuda {

struct CacheTrim {
  int64_t entries = 0;  // removed
  int64_t bytes = 0;    // that they took
  int64_t bytes_left = 0;
};

// Removes the files of `directory` that end with `ending`, those first whose time of modification
// is oldest, until the others take at most `max_bytes`, but never `keep`. Files that others remove
// at the same time, or that may not be removed, are passed over.
CacheTrim TrimCache(const std::string& directory, const std::string& ending, int64_t max_bytes,
                    const std::string& keep);

}  // namespace mlpserve::cuda
