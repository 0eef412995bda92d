#include "server/transport/inflater.h"

#include <zlib.h>

#include <algorithm>
#include <cstddef>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "grpc/byte_buffer_reader.h"
#include "grpc/compression.h"
#include "grpcpp/support/proto_buffer_reader.h"
#include "grpcpp/support/slice.h"
#include "kernels/status/status_macros.h"

namespace mlpserve {
namespace {

constexpr int64_t kLeastPieceBytes = 4 << 10;

// The only public way to what a ByteBuffer says of its compression.
class Buffer final : public grpc::ProtoBufferReader {
 public:
  explicit Buffer(grpc::ByteBuffer& buffer) : ProtoBufferReader(&buffer) {}

  grpc_compression_algorithm algorithm() {
    if (!status().ok()) return GRPC_COMPRESS_NONE;
    return reader()->buffer_in->data.raw.compression;
  }
};

const char* NameOf(grpc_compression_algorithm algorithm) {
  return algorithm == GRPC_COMPRESS_GZIP ? "gzip" : "deflate";
}

// A part of an inflated message, counted in `held` as long as it lives.
struct Piece {
  Piece(std::shared_ptr<std::atomic<int64_t>> counted, int64_t size)
      : held(std::move(counted)), capacity(size), bytes(new std::byte[static_cast<size_t>(size)]) {}
  ~Piece() { held->fetch_sub(capacity, std::memory_order_relaxed); }
  Piece(const Piece&) = delete;
  Piece& operator=(const Piece&) = delete;

  const std::shared_ptr<std::atomic<int64_t>> held;
  const int64_t capacity;
  const std::unique_ptr<std::byte[]> bytes;
};

// One message being inflated.
class Inflation {
 public:
  Inflation(const Inflater::Options& options, std::shared_ptr<std::atomic<int64_t>> held,
            grpc_compression_algorithm algorithm)
      : options_(options), held_(std::move(held)), algorithm_(algorithm) {
    constexpr int kGzipHeader = 16;  // zlib's: else its own header, which HTTP calls deflate
    const int window = MAX_WBITS + (algorithm == GRPC_COMPRESS_GZIP ? kGzipHeader : 0);
    begun_ = inflateInit2(&stream_, window) == Z_OK;
  }
  ~Inflation() {
    if (begun_) inflateEnd(&stream_);
  }
  Inflation(const Inflation&) = delete;
  Inflation& operator=(const Inflation&) = delete;

  absl::Status Run(const std::vector<grpc::Slice>& from, int64_t bytes) {
    if (!begun_) return absl::ResourceExhaustedError("there is no memory to inflate a message");
    from_bytes_ = bytes;
    for (const grpc::Slice& slice : from) MLPSERVE_RETURN_IF_ERROR(Take(slice));
    FinishPiece();
    return ended_ ? absl::OkStatus() : Malformed();
  }
  std::vector<grpc::Slice>& slices() { return slices_; }

 private:
  absl::Status Take(const grpc::Slice& slice) {
    stream_.next_in = const_cast<Bytef*>(slice.begin());  // zlib only reads it
    stream_.avail_in = static_cast<uInt>(slice.size());
    while (stream_.avail_in > 0 || (stream_.avail_out == 0 && !ended_)) {
      if (ended_) return Malformed();
      if (stream_.avail_out == 0) MLPSERVE_RETURN_IF_ERROR(NextPiece());
      const int result = inflate(&stream_, Z_NO_FLUSH);
      if (result == Z_BUF_ERROR) break;  // it wants the next slice
      if (result != Z_OK && result != Z_STREAM_END) return Malformed();
      ended_ = result == Z_STREAM_END;
    }
    return TooLong();
  }

  absl::Status NextPiece() {
    FinishPiece();
    MLPSERVE_RETURN_IF_ERROR(TooLong());
    const int64_t size = std::clamp(std::max(4 * from_bytes_, 2 * inflated_), kLeastPieceBytes,
                                    Inflater::kMostPieceBytes);
    if (held_->fetch_add(size, std::memory_order_relaxed) + size > options_.most_bytes) {
      held_->fetch_sub(size, std::memory_order_relaxed);
      return absl::ResourceExhaustedError(
          absl::StrCat("inflated messages hold ", options_.most_bytes,
                       " bytes, which is all that they may (--memory-quota-bytes): try again"));
    }
    piece_ = std::make_unique<Piece>(held_, size);
    stream_.next_out = reinterpret_cast<Bytef*>(piece_->bytes.get());
    stream_.avail_out = static_cast<uInt>(size);
    return absl::OkStatus();
  }

  void FinishPiece() {
    if (piece_ == nullptr) return;
    const int64_t used = piece_->capacity - static_cast<int64_t>(stream_.avail_out);
    inflated_ += used;
    std::byte* const bytes = piece_->bytes.get();
    slices_.emplace_back(
        bytes, static_cast<size_t>(used), [](void* piece) { delete static_cast<Piece*>(piece); },
        piece_.release());
    stream_.avail_out = 0;
  }

  absl::Status TooLong() const {
    const int64_t unfinished =
        piece_ == nullptr ? 0 : piece_->capacity - static_cast<int64_t>(stream_.avail_out);
    if (inflated_ + unfinished <= options_.max_message_bytes) return absl::OkStatus();
    return absl::ResourceExhaustedError(
        absl::StrCat("expected a request of at most ", options_.max_message_bytes,
                     " bytes (--max-message-bytes), found more in ", from_bytes_,
                     " bytes compressed with ", NameOf(algorithm_)));
  }

  absl::Status Malformed() const {
    return absl::InvalidArgumentError(absl::StrCat("malformed message: expected ", from_bytes_,
                                                   " bytes compressed with ", NameOf(algorithm_),
                                                   ", as the call says, found others"));
  }

  const Inflater::Options& options_;
  const std::shared_ptr<std::atomic<int64_t>> held_;
  const grpc_compression_algorithm algorithm_;
  z_stream stream_{};
  bool begun_ = false;
  bool ended_ = false;
  int64_t from_bytes_ = 0;
  int64_t inflated_ = 0;  // in `slices_`
  std::unique_ptr<Piece> piece_;
  std::vector<grpc::Slice> slices_;
};

}  // namespace

absl::Status Inflater::Inflate(grpc::ByteBuffer& message) const {
  const grpc_compression_algorithm algorithm = Buffer(message).algorithm();
  // gRPC marks an empty message as compressed where its call is.
  if (algorithm == GRPC_COMPRESS_NONE || message.Length() == 0) return absl::OkStatus();
  if (!options_.enabled) {
    return absl::UnimplementedError(
        absl::StrCat("expected a message that is not compressed, as the server was started without "
                     "--grpc-compression, found one compressed with ",
                     NameOf(algorithm)));
  }
  std::vector<grpc::Slice> slices;
  if (!message.Dump(&slices).ok()) slices.clear();
  Inflation inflation(options_, held_, algorithm);
  MLPSERVE_RETURN_IF_ERROR(inflation.Run(slices, static_cast<int64_t>(message.Length())));
  grpc::ByteBuffer inflated(inflation.slices().data(), inflation.slices().size());
  message.Swap(&inflated);
  return absl::OkStatus();
}

}  // namespace mlpserve
