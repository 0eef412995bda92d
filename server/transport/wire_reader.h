// Reads protobuf's wire format from bytes that lie in several pieces, without joining them.
// https://protobuf.dev/programming-guides/encoding/
//
// Accepts and rejects what protobuf's own C++ parser (3.21) accepts and rejects, down to overlong
// varints, groups and the depth of nesting: what a client's bytes mean must not depend on which of
// the two reads them. With one exception: protobuf cuts a tag of more than 32 bits, and reads the
// field as another one; here it is an error.
//
// Not a parser of messages: the caller knows the fields (see infer_message.cc).
// Threads: none. Ownership: borrows the pieces, which must outlive the reader and the views that it
// returns. Bounds: nesting to kMaxDepth; memory only for strings that straddle two pieces.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"

namespace mlpserve {

using Bytes = std::span<const std::byte>;

enum class WireType : uint8_t {
  kVarint = 0,
  kFixed64 = 1,
  kLengthDelimited = 2,
  kStartGroup = 3,
  kEndGroup = 4,
  kFixed32 = 5,
};

constexpr uint32_t WireTag(uint32_t field, WireType type) {
  return field << 3 | static_cast<uint32_t>(type);
}

// Every Read returns false where the bytes are malformed; `error` then says why, and nothing more
// may be read.
class WireReader {
 public:
  static constexpr int kMaxDepth = 100;  // protobuf's default recursion limit

  // `joined` keeps the strings that had to be joined; it must outlive the views into it.
  WireReader(std::span<const Bytes> pieces, std::deque<std::string>& joined);

  // At the end of the innermost message, or of everything.
  bool AtEnd() const { return left_ == 0; }
  uint64_t position() const { return total_ - unread_; }
  std::string_view error() const { return error_; }
  // After an error: the numbers of the fields in which it lies, the outermost first; 0 where the
  // field itself could not be read.
  std::span<const uint32_t> error_fields() const {
    return {fields_.data(), static_cast<size_t>(depth_) + 1};
  }

  // After an error, in a message of this type: INVALID_ARGUMENT, why and where; `path` is what
  // `error_fields` are called.
  absl::Status Malformed(std::string_view type, std::string_view path) const;

  bool ReadTag(uint32_t* tag);
  bool ReadVarint(uint64_t* value);
  bool ReadFixed32(uint32_t* value);
  bool ReadFixed64(uint64_t* value);

  // A length-delimited field whose tag was read. Strings must be UTF-8, as proto3 asks; bytes need
  // not be.
  bool ReadString(std::string_view* value);
  // Appends the field's bytes as the views that they lie in; an empty field appends none.
  bool ReadBytes(std::vector<Bytes>* pieces, uint64_t* size);

  // Reads a message field: calls field(tag) for each of its fields, which must read or Skip it.
  template <typename Field>
  bool ReadMessage(Field&& field);
  // Reads all the bytes as the fields of one message, as ReadMessage does for a nested one.
  template <typename Field>
  bool ReadTopLevel(Field&& field);
  // Reads a packed field: calls element() until it has read the field's bytes.
  template <typename Element>
  bool ReadPacked(Element&& element);

  // Skips a field whose tag was read.
  bool Skip(uint32_t tag);

 private:
  bool Fail(std::string_view error) {
    error_ = error;
    return false;
  }
  bool ReadByte(uint8_t* byte);
  bool ReadBase128(int most_bytes, std::string_view too_long, uint64_t* value);
  // Makes at least one byte available at `next_`; the pieces must hold one.
  void NextPiece();
  bool ReadSize(uint32_t* size);
  bool ReadLittleEndian(int bytes, uint64_t* value);
  bool SkipBytes(uint64_t size);
  bool SkipGroup(uint32_t start_tag);

  std::span<const Bytes> pieces_;
  std::deque<std::string>& joined_;
  Bytes next_;          // unread bytes of the piece that is being read
  size_t piece_ = 0;    // index of the piece after that one
  uint64_t total_ = 0;  // bytes of all pieces
  uint64_t unread_ = 0;
  uint64_t left_ = 0;  // bytes to the end of the innermost message; <= unread_
  int depth_ = 0;
  std::array<uint32_t, kMaxDepth + 2> fields_{};  // being read, by depth
  std::string_view error_;
};

template <typename Field>
bool WireReader::ReadTopLevel(Field&& field) {
  while (!AtEnd()) {
    uint32_t tag;
    if (!ReadTag(&tag) || !field(tag)) return false;
  }
  return true;
}

template <typename Field>
bool WireReader::ReadMessage(Field&& field) {
  uint32_t size;
  if (!ReadSize(&size)) return false;
  if (++depth_ > kMaxDepth) return Fail("nested too deeply");
  const uint64_t after = left_ - size;
  left_ = size;
  if (!ReadTopLevel(field)) return false;
  left_ = after;
  --depth_;
  return true;
}

template <typename Element>
bool WireReader::ReadPacked(Element&& element) {
  uint32_t size;
  if (!ReadSize(&size)) return false;
  const uint64_t after = left_ - size;
  left_ = size;
  while (!AtEnd()) {
    if (!element()) return false;
  }
  left_ = after;
  return true;
}

}  // namespace mlpserve
