#include "server/text/strict_json.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "absl/strings/str_cat.h"

namespace mlpserve {
namespace {

using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::Not;

std::string ErrorOf(std::string_view json) {
  const absl::Status status =
      ParseStrictJson(json, [](const JsonEvent&) { return absl::OkStatus(); });
  return std::string(status.message());
}

TEST(StrictJson, PassesEventsWithTheirDepth) {
  std::vector<std::string> events;
  const absl::Status status = ParseStrictJson(
      R"( {"a": [1, -2, 1e3, {}], "b": "t\u00e9", "c": true, "d": null} )",
      [&](const JsonEvent& event) {
        events.push_back(absl::StrCat(event.depth, " ", std::string(Name(event.kind)), " ",
                                      event.text, event.integer));
        return absl::OkStatus();
      });
  EXPECT_TRUE(status.ok()) << status;
  EXPECT_THAT(events, ElementsAre("0 an object 0", "1 a key a0", "1 an array 0", "2 an integer 1",
                                  "2 a number 0", "2 a number 0", "2 an object 0", "2 an object 0",
                                  "1 an array 0", "1 a key b0", "1 a string té0", "1 a key c0",
                                  "1 a boolean 0", "1 a key d0", "1 null 0", "0 an object 0"));
}

TEST(StrictJson, StopsAtTheHandlersError) {
  int events = 0;
  const absl::Status status = ParseStrictJson("[1, 2, 3]", [&](const JsonEvent&) {
    return ++events == 2 ? absl::NotFoundError("enough") : absl::OkStatus();
  });
  EXPECT_EQ(status, absl::NotFoundError("enough"));
  EXPECT_EQ(events, 2);
}

TEST(StrictJson, RefusesWhatLenientParsersTake) {
  EXPECT_THAT(ErrorOf(""), HasSubstr("unexpected end of input"));
  EXPECT_THAT(ErrorOf("{'a': 1}"), HasSubstr("parse error at line 1, column 2"));
  EXPECT_THAT(ErrorOf("{a: 1}"), HasSubstr("parse error"));
  EXPECT_THAT(ErrorOf("{\"a\": 1,}"), HasSubstr("parse error"));
  EXPECT_THAT(ErrorOf("[1,]"), HasSubstr("parse error"));
  EXPECT_THAT(ErrorOf("{\n// c\n}"), HasSubstr("parse error at line 2"));
  EXPECT_THAT(ErrorOf("{} x"), HasSubstr("parse error"));
  EXPECT_THAT(ErrorOf("[NaN]"), HasSubstr("parse error"));
  EXPECT_THAT(ErrorOf("[01]"), HasSubstr("parse error"));
  EXPECT_THAT(ErrorOf("[1e999]"), HasSubstr("number overflow"));
  EXPECT_THAT(ErrorOf("\"\x01\""), HasSubstr("control character"));
  EXPECT_THAT(ErrorOf("\"\xC0\x80\""), HasSubstr("ill-formed UTF-8"));
  EXPECT_THAT(ErrorOf(std::string("[]\0", 3)), HasSubstr("NUL byte at byte 2"));
  EXPECT_THAT(ErrorOf("\xEF\xBB\xBF[]"), HasSubstr("byte order mark"));
}

TEST(StrictJson, NamesThePathOfADuplicateKeyAndOfANull) {
  EXPECT_EQ(ErrorOf(R"({"a":1,"a":2})"), "duplicate key \"a\"");
  EXPECT_EQ(ErrorOf(R"({"l":[{},{"e":{"k":[],"k":[]}}]})"), "l[1].e: duplicate key \"k\"");
  EXPECT_EQ(ErrorOf(R"({"l":[[],[1,null]]})"), "l[1][1]: expected a value in a list, found null");
  EXPECT_EQ(ErrorOf(R"([{"a":1},{"a":1}])"), "");
}

TEST(StrictJson, RefusesMoreThanAHundredLevels) {
  EXPECT_EQ(ErrorOf(std::string(100, '[') + std::string(100, ']')), "");
  EXPECT_THAT(ErrorOf(std::string(101, '[') + std::string(101, ']')),
              HasSubstr("expected at most 100 levels"));
  EXPECT_THAT(ErrorOf(std::string(1'000'000, '[')), HasSubstr("expected at most 100 levels"));
}

TEST(StrictJson, QuotesTextThatIsNotUtf8InWordsThatAre) {
  EXPECT_THAT(ErrorOf("{\"name\": \"\xFF\"}"),
              AllOf(HasSubstr("ill-formed UTF-8"), HasSubstr("\\xff"), Not(HasSubstr("\xFF"))));
}

TEST(Quoted, EscapesAndShortens) {
  EXPECT_EQ(Quoted("a\"b\nü"), "\"a\\\"b\\nü\"");
  EXPECT_EQ(Quoted("\xFF"), "\"\\xff\"");
  EXPECT_EQ(Quoted(std::string(201, 'x')), "\"" + std::string(200, 'x') + "...\"");
}

}  // namespace
}  // namespace mlpserve
