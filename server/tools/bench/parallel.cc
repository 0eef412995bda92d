#include "server/tools/bench/parallel.h"

#include <algorithm>
#include <thread>
#include <vector>

namespace mlpserve::tools {

void InParallel(int64_t count, const std::function<void(int64_t begin, int64_t end)>& work) {
  const int64_t pieces =
      std::min<int64_t>(count, std::max(1u, std::thread::hardware_concurrency()));
  std::vector<std::jthread> threads;
  for (int64_t i = 0; i < pieces; ++i) {
    const int64_t begin = count * i / pieces;
    const int64_t end = count * (i + 1) / pieces;
    if (i + 1 < pieces) {
      threads.emplace_back([&work, begin, end] { work(begin, end); });
    } else {
      work(begin, end);
    }
  }
}

}  // namespace mlpserve::tools
