#include "client/tensor/npy.h"

#include <algorithm>
#include <charconv>
#include <cstring>
#include <utility>

#include "absl/strings/str_cat.h"
#include "kernels/status/status_macros.h"

namespace mlpserve::client {
namespace {

constexpr std::string_view kMagic = "\x93NUMPY";
constexpr size_t kAlignment = 64;  // of the data in the file

struct Descriptor {
  std::string_view text;
  ElementType type;
};

// As NumPy writes them: '|' where byte order means nothing.
constexpr Descriptor kDescriptors[] = {
    {"|b1", ElementType::kBool},   {"|u1", ElementType::kUint8},  {"<u2", ElementType::kUint16},
    {"<u4", ElementType::kUint32}, {"<u8", ElementType::kUint64}, {"|i1", ElementType::kInt8},
    {"<i2", ElementType::kInt16},  {"<i4", ElementType::kInt32},  {"<i8", ElementType::kInt64},
    {"<f2", ElementType::kFp16},   {"<f4", ElementType::kFp32},   {"<f8", ElementType::kFp64},
};

absl::Status Malformed(std::string_view expected, std::string_view found) {
  return absl::InvalidArgumentError(
      absl::StrCat("npy: expected ", std::string(expected), ", found ", std::string(found)));
}

struct Header {
  std::string_view descriptor;
  bool fortran_order = false;
  std::vector<int64_t> shape;
};

// Reads the Python dictionary of the header: string keys; a string, a bool or a tuple of integers
// each.
class HeaderParser {
 public:
  explicit HeaderParser(std::string_view text) : rest_(text) {}

  absl::StatusOr<Header> Parse() {
    Header header;
    Key keys[] = {{"descr", "the name of a bool, integer or float type", &HeaderParser::TakeType},
                  {"fortran_order", "True or False", &HeaderParser::TakeOrder},
                  {"shape", "a tuple of sizes", &HeaderParser::TakeShape}};
    if (!Take('{')) return Unexpected("'{'");
    while (!Take('}')) {
      std::string_view name;
      if (!TakeString(name) || !Take(':')) return Unexpected("a key and ':'");
      Key* const key = std::find_if(std::begin(keys), std::end(keys),
                                    [&](const Key& known) { return known.name == name; });
      if (key == std::end(keys)) return Malformed("the keys descr, fortran_order and shape", name);
      if (std::exchange(key->seen, true)) {
        return Malformed("each key once", absl::StrCat("two of ", std::string(name)));
      }
      if (!(this->*key->take)(header)) {
        return Unexpected(absl::StrCat(std::string(key->value), " as '", std::string(name), "'"));
      }
      if (!Take(',') && Peek() != '}') return Unexpected("',' or '}'");
    }
    if (Peek() != '\0') return Unexpected("nothing after '}'");
    for (const Key& key : keys) {
      if (!key.seen) {
        return Malformed("the keys descr, fortran_order and shape",
                         absl::StrCat("a header without ", std::string(key.name)));
      }
    }
    return header;
  }

 private:
  struct Key {
    std::string_view name;
    std::string_view value;  // in words
    bool (HeaderParser::*take)(Header& header);
    bool seen = false;
  };

  absl::Status Unexpected(std::string_view expected) const {
    return Malformed(absl::StrCat(std::string(expected), " in the header"),
                     absl::StrCat("'", std::string(rest_.substr(0, 20)), "'"));
  }

  char Peek() {
    while (!rest_.empty() && (rest_.front() == ' ' || rest_.front() == '\n'))
      rest_.remove_prefix(1);
    return rest_.empty() ? '\0' : rest_.front();
  }

  bool Take(char wanted) {
    if (Peek() != wanted) return false;
    rest_.remove_prefix(1);
    return true;
  }

  bool TakeWord(std::string_view word) {
    Peek();
    if (rest_.substr(0, word.size()) != word) return false;
    rest_.remove_prefix(word.size());
    return true;
  }

  bool TakeType(Header& header) { return TakeString(header.descriptor); }

  bool TakeOrder(Header& header) {
    header.fortran_order = TakeWord("True");
    return header.fortran_order || TakeWord("False");
  }

  bool TakeString(std::string_view& value) {
    const char quote = Peek();
    if (quote != '\'' && quote != '"') return false;
    const size_t end = rest_.find(quote, 1);
    if (end == std::string_view::npos) return false;
    value = rest_.substr(1, end - 1);
    rest_.remove_prefix(end + 1);
    return true;
  }

  bool TakeShape(Header& header) {
    if (!Take('(')) return false;
    while (!Take(')')) {
      Peek();
      int64_t size = 0;
      const auto [end, error] = std::from_chars(rest_.data(), rest_.data() + rest_.size(), size);
      if (error != std::errc() || size < 0) return false;
      rest_.remove_prefix(static_cast<size_t>(end - rest_.data()));
      header.shape.push_back(size);
      if (!Take(',') && Peek() != ')') return false;
    }
    return true;
  }

  std::string_view rest_;
};

// Splits a file into its header's text and the bytes behind it.
absl::Status Split(std::string_view contents, std::string_view& header, std::string_view& data) {
  if (contents.substr(0, kMagic.size()) != kMagic) {
    return Malformed("a file that begins with \\x93NUMPY", "another file");
  }
  if (contents.size() < 12) return Malformed("a header", "the end of the file");
  const int version = static_cast<unsigned char>(contents[6]);
  if (version < 1 || version > 3) return Malformed("version 1, 2 or 3", absl::StrCat(version));
  const size_t length_bytes = version == 1 ? 2 : 4;
  uint32_t length = 0;
  std::memcpy(&length, contents.data() + 8, length_bytes);
  const std::string_view rest = contents.substr(8 + length_bytes);
  if (length > rest.size()) {
    return Malformed(absl::StrCat("a header of ", length, " bytes"),
                     absl::StrCat(rest.size(), " bytes"));
  }
  header = rest.substr(0, length);
  data = rest.substr(length);
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<Tensor> ParseNpy(std::string_view contents) {
  std::string_view text, data;
  MLPSERVE_RETURN_IF_ERROR(Split(contents, text, data));
  MLPSERVE_ASSIGN_OR_RETURN(Header header, HeaderParser(text).Parse());
  const auto* descriptor =
      std::find_if(std::begin(kDescriptors), std::end(kDescriptors),
                   [&](const Descriptor& known) { return known.text == header.descriptor; });
  if (descriptor == std::end(kDescriptors)) {
    return Malformed("little-endian bools, integers or floats ('<f4')",
                     absl::StrCat("'", std::string(header.descriptor), "'"));
  }
  if (header.fortran_order && header.shape.size() > 1) {
    return Malformed("C order (numpy.ascontiguousarray)", "Fortran order");
  }
  MLPSERVE_ASSIGN_OR_RETURN(const int64_t bytes, ByteCount(descriptor->type, header.shape));
  if (static_cast<uint64_t>(bytes) != data.size()) {
    return Malformed(absl::StrCat(bytes, " bytes of ", Describe(descriptor->type, header.shape)),
                     absl::StrCat(data.size()));
  }
  return Tensor{descriptor->type, std::move(header.shape), std::string(data)};
}

absl::StatusOr<std::string> FormatNpy(const Tensor& tensor) {
  if (tensor.type == ElementType::kBf16) {
    return FormatNpy(FromFloats(ToFloats(tensor), tensor.shape, ElementType::kFp32));
  }
  const auto* descriptor =
      std::find_if(std::begin(kDescriptors), std::end(kDescriptors),
                   [&](const Descriptor& known) { return known.type == tensor.type; });
  std::string header = absl::StrCat("{'descr': '", std::string(descriptor->text),
                                    "', 'fortran_order': False, 'shape': (");
  for (const int64_t size : tensor.shape) absl::StrAppend(&header, size, ",");
  absl::StrAppend(&header, "), }");
  constexpr size_t kPrefix = 10;  // magic, version, length
  const size_t unpadded = kPrefix + header.size() + 1;
  header.append((kAlignment - unpadded % kAlignment) % kAlignment, ' ');
  header.push_back('\n');
  if (header.size() > 0xffff) return Malformed("a header of at most 65535 bytes", "a longer one");
  const uint16_t length = static_cast<uint16_t>(header.size());
  std::string file(kMagic);
  file.append("\x01\x00", 2);
  file.append(reinterpret_cast<const char*>(&length), sizeof(length));
  return absl::StrCat(file, header, tensor.bytes);
}

}  // namespace mlpserve::client
