// Work over a range, cut into one piece for each processor.
#pragma once

#include <cstdint>
#include <functional>

namespace mlpserve::tools {

// Calls work(begin, end) for pieces that cover [0, count), on as many threads as there are
// processors; returns when all are done. count 0: no call.
void InParallel(int64_t count, const std::function<void(int64_t begin, int64_t end)>& work);

}  // namespace mlpserve::tools
