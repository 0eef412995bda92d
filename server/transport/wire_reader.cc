#include "server/transport/wire_reader.h"

#include <algorithm>
#include <bit>
#include <cstring>

#include "absl/strings/str_cat.h"
#include "server/text/utf8.h"

namespace mlpserve {
namespace {

constexpr std::string_view kTruncated = "a field reaches past the end of its message";

}  // namespace

WireReader::WireReader(std::span<const Bytes> pieces, std::deque<std::string>& joined)
    : pieces_(pieces), joined_(joined) {
  for (const Bytes& piece : pieces) total_ += piece.size();
  unread_ = left_ = total_;
}

absl::Status WireReader::Malformed(std::string_view type, std::string_view path) const {
  const std::string place = path.empty() ? "" : absl::StrCat("in ", std::string(path), ", ");
  return absl::InvalidArgumentError(absl::StrCat("malformed ", std::string(type), ": ",
                                                 std::string(error_), " (", place, "near byte ",
                                                 position(), ")"));
}

void WireReader::NextPiece() {
  while (next_.empty()) next_ = pieces_[piece_++];
}

bool WireReader::ReadByte(uint8_t* byte) {
  if (left_ == 0) return Fail(kTruncated);
  NextPiece();
  *byte = std::to_integer<uint8_t>(next_.front());
  next_ = next_.subspan(1);
  --left_;
  --unread_;
  return true;
}

bool WireReader::ReadBase128(int most_bytes, std::string_view too_long, uint64_t* value) {
  uint64_t result = 0;
  for (int i = 0; i < most_bytes; ++i) {
    uint8_t byte;
    if (!ReadByte(&byte)) return false;
    result |= static_cast<uint64_t>(byte & 0x7f) << (7 * i);
    if (byte < 0x80) {
      *value = result;
      return true;
    }
  }
  return Fail(too_long);
}

bool WireReader::ReadVarint(uint64_t* value) {
  return ReadBase128(10, "a varint is longer than 10 bytes", value);
}

bool WireReader::ReadTag(uint32_t* tag) {
  uint32_t& field = fields_[static_cast<size_t>(depth_)];
  field = 0;
  uint64_t wide;
  if (!ReadBase128(5, "a tag is longer than 5 bytes", &wide)) return false;
  *tag = static_cast<uint32_t>(wide);
  if (*tag != wide) return Fail("a tag has more than 32 bits");
  field = *tag >> 3;
  return field != 0 || Fail("a field has number 0");
}

bool WireReader::ReadSize(uint32_t* size) {
  uint64_t wide;
  if (!ReadBase128(5, "a length is longer than 5 bytes", &wide)) return false;
  if (wide > left_) return Fail(kTruncated);
  *size = static_cast<uint32_t>(wide);
  return true;
}

bool WireReader::ReadLittleEndian(int bytes, uint64_t* value) {
  static_assert(std::endian::native == std::endian::little, "tensors are used as they arrive");
  uint64_t result = 0;
  if (next_.size() >= static_cast<size_t>(bytes)) {
    std::memcpy(&result, next_.data(), static_cast<size_t>(bytes));
    *value = result;
    return SkipBytes(static_cast<uint64_t>(bytes));
  }
  for (int i = 0; i < bytes; ++i) {
    uint8_t byte;
    if (!ReadByte(&byte)) return false;
    result |= static_cast<uint64_t>(byte) << (8 * i);
  }
  *value = result;
  return true;
}

bool WireReader::ReadFixed32(uint32_t* value) {
  uint64_t wide;
  if (!ReadLittleEndian(4, &wide)) return false;
  *value = static_cast<uint32_t>(wide);
  return true;
}

bool WireReader::ReadFixed64(uint64_t* value) { return ReadLittleEndian(8, value); }

bool WireReader::ReadString(std::string_view* value) {
  uint32_t size;
  if (!ReadSize(&size)) return false;
  *value = {};
  if (size == 0) return true;
  NextPiece();
  if (next_.size() >= size) {
    *value = {reinterpret_cast<const char*>(next_.data()), size};
    if (!SkipBytes(size)) return false;
  } else {
    std::string& joined = joined_.emplace_back();
    joined.reserve(size);
    while (joined.size() < size) {
      NextPiece();
      const size_t part = std::min<size_t>(size - joined.size(), next_.size());
      joined.append(reinterpret_cast<const char*>(next_.data()), part);
      if (!SkipBytes(part)) return false;
    }
    *value = joined;
  }
  return IsUtf8(*value) || Fail("a string is not UTF-8");
}

bool WireReader::ReadBytes(std::vector<Bytes>* pieces, uint64_t* size) {
  uint32_t unread;
  if (!ReadSize(&unread)) return false;
  *size = unread;
  while (unread > 0) {
    NextPiece();
    const size_t part = std::min<size_t>(unread, next_.size());
    pieces->push_back(next_.first(part));
    if (!SkipBytes(part)) return false;
    unread -= static_cast<uint32_t>(part);
  }
  return true;
}

bool WireReader::SkipBytes(uint64_t size) {
  if (size > left_) return Fail(kTruncated);
  left_ -= size;
  unread_ -= size;
  while (size > 0) {
    NextPiece();
    const size_t part = std::min<uint64_t>(size, next_.size());
    next_ = next_.subspan(part);
    size -= part;
  }
  return true;
}

bool WireReader::Skip(uint32_t tag) {
  uint64_t value;
  uint32_t size;
  switch (static_cast<WireType>(tag & 7)) {
    case WireType::kVarint:
      return ReadVarint(&value);
    case WireType::kFixed64:
      return SkipBytes(8);
    case WireType::kLengthDelimited:
      return ReadSize(&size) && SkipBytes(size);
    case WireType::kStartGroup:
      return SkipGroup(tag);
    case WireType::kEndGroup:
      return Fail("a group ends that has not begun");
    case WireType::kFixed32:
      return SkipBytes(4);
  }
  return Fail("a field has an unknown wire type");
}

bool WireReader::SkipGroup(uint32_t start_tag) {
  if (++depth_ > kMaxDepth) return Fail("nested too deeply");
  const uint32_t end_tag = WireTag(start_tag >> 3, WireType::kEndGroup);
  for (;;) {
    if (AtEnd()) return Fail("a group does not end");
    uint32_t tag;
    if (!ReadTag(&tag)) return false;
    if (tag == end_tag) break;
    if (!Skip(tag)) return false;
  }
  --depth_;
  return true;
}

}  // namespace mlpserve
