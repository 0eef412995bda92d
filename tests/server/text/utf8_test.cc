#include "server/text/utf8.h"

#include <gtest/gtest.h>

namespace mlpserve {
namespace {

TEST(Utf8, TakesTheEndsOfEveryLength) {
  for (const char* text :
       {"", "a", "\x7F", "\xC2\x80", "\xDF\xBF", "\xE0\xA0\x80", "\xED\x9F\xBF", "\xEE\x80\x80",
        "\xEF\xBF\xBF", "\xF0\x90\x80\x80", "\xF4\x8F\xBF\xBF"}) {
    EXPECT_TRUE(IsUtf8(text)) << testing::PrintToString(text);
  }
}

TEST(Utf8, RefusesOverlongSurrogateTooLargeAndCutSequences) {
  for (const char* text :
       {"\x80", "\xBF", "\xC0\x80", "\xC1\xBF", "\xE0\x9F\xBF", "\xED\xA0\x80", "\xED\xBF\xBF",
        "\xF0\x8F\xBF\xBF", "\xF4\x90\x80\x80", "\xF5\x80\x80\x80", "\xFF", "\xC3", "\xE2\x82",
        "\xF0\x9F\x98", "\xC3(", "\xE2(\xA1", "\xE2\x82(", "\xF0\x9F\x98(", "a\xC3"}) {
    EXPECT_FALSE(IsUtf8(text)) << testing::PrintToString(text);
  }
}

TEST(CutUtf8, EndsWithAWholeCharacter) {
  EXPECT_EQ(CutUtf8("abc", 3), "abc");
  EXPECT_EQ(CutUtf8("abc", 2), "ab");
  EXPECT_EQ(CutUtf8("a\xC3\xA9", 2), "a");
  EXPECT_EQ(CutUtf8("a\xF0\x9F\x98\x80", 4), "a");
  EXPECT_EQ(CutUtf8("\xF0\x9F\x98\x80", 3), "");
  EXPECT_EQ(CutUtf8("", 0), "");
}

TEST(QuotedShort, IsCutWhereItIsLong) {
  EXPECT_EQ(QuotedShort("digits"), "\"digits\"");
  const std::string quoted = QuotedShort(std::string(1000, 'x'));
  EXPECT_EQ(quoted, "\"" + std::string(64, 'x') + "...\" (1000 bytes)");
}

TEST(Printable, KeepsTextAndEscapesControlCharactersAndStrayBytes) {
  EXPECT_EQ(Printable("a \"b\" \\ \xC3\xA9"), "a \"b\" \\ \xC3\xA9");
  EXPECT_EQ(Printable(std::string_view("a\0b\n\x1B\x7F", 6)), "a\\x00b\\x0a\\x1b\\x7f");
  EXPECT_EQ(Printable("\xFF|\xE2\x82|\xC3\xA9\xC3"), "\\xff|\\xe2\\x82|\xC3\xA9\\xc3");
}

}  // namespace
}  // namespace mlpserve
