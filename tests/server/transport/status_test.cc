#include "server/transport/status.h"

#include <string>

#include "gtest/gtest.h"
#include "server/text/utf8.h"

namespace mlpserve {
namespace {

TEST(ToGrpcStatus, ALongMessageIsCutBetweenCharacters) {
  for (size_t before = 0; before < 4; ++before) {
    std::string text(before, 'x');
    while (text.size() < 5000) text += "\xF0\x9F\x98\x80";
    const grpc::Status status = ToGrpcStatus(absl::NotFoundError(text));
    EXPECT_EQ(status.error_code(), grpc::StatusCode::NOT_FOUND);
    EXPECT_TRUE(IsUtf8(status.error_message()));
    EXPECT_LE(status.error_message().size(), 2048u);
    EXPECT_GT(status.error_message().size(), 2040u);
  }
}

TEST(ToGrpcStatus, AShortMessageStays) {
  EXPECT_EQ(ToGrpcStatus(absl::UnavailableError("gone")).error_message(), "gone");
  EXPECT_TRUE(ToGrpcStatus(absl::OkStatus()).ok());
}

}  // namespace
}  // namespace mlpserve
