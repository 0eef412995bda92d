#include "server/batching/row_copy.h"

#include <numeric>
#include <vector>

#include "gtest/gtest.h"

namespace mlpserve {
namespace {

using Bytes = std::span<const std::byte>;

TEST(RowCopyTest, EveryRangeOfEveryWayToCutIsCopied) {
  std::vector<std::byte> source(9);
  for (size_t i = 0; i < source.size(); ++i) source[i] = static_cast<std::byte>(i + 1);
  for (unsigned cuts = 0; cuts < 1u << 8; ++cuts) {
    std::vector<Bytes> pieces;
    size_t begin = 0;
    for (size_t end = 1; end <= source.size(); ++end) {
      if (end < source.size() && (cuts >> (end - 1) & 1) == 0) continue;
      pieces.push_back(Bytes(source).subspan(begin, end - begin));
      pieces.emplace_back();  // an empty piece changes nothing
      begin = end;
    }
    ASSERT_EQ(TotalBytes(pieces), source.size());
    for (size_t offset = 0; offset <= source.size(); ++offset) {
      for (size_t size = 0; offset + size <= source.size(); ++size) {
        std::vector<std::byte> to(size);
        CopyBytes(pieces, offset, to);
        ASSERT_TRUE(std::equal(to.begin(), to.end(), source.begin() + static_cast<long>(offset)));
      }
    }
  }
}

TEST(RowCopyTest, NoPiecesHoldNoBytes) {
  EXPECT_EQ(TotalBytes({}), 0u);
  CopyBytes({}, 0, {});
}

}  // namespace
}  // namespace mlpserve
