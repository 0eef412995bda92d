// Runs one part of what a request costs so many times, for callgrind to count its instructions.
//
// usage: run_request parse|batch ROWS ROUNDS
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <vector>

#include "server/batching/batcher.h"
#include "server/transport/message_bytes.h"
#include "tests/budgets/served_request.h"

namespace mlpserve {
namespace {

int Parse(int64_t rows, int64_t rounds) {
  const grpc::ByteBuffer request = CountedRequest(rows);
  std::vector<grpc::Slice> slices;
  std::vector<Bytes> pieces;
  ReadSlices(request, &slices, &pieces);
  InferMessage message;
  for (int64_t i = 0; i < rounds; ++i) {
    if (!ParseInferMessage(pieces, &message).ok()) return 1;
  }
  return 0;
}

// Ends each batch at once.
struct NoArithmetic final : BatchRunner {
  void Run(const BatchRun& run, BatchEvents& events) override {
    events.OnDone(run, absl::OkStatus(), {});
  }
  int64_t ready_rows() const override { return 4096; }
  void Grow() override {}
};

struct Request final : InferRequest {
  void OnDone(absl::Status status, std::span<OutputRows> outputs) override {
    if (!status.ok() || outputs.size() != 1) std::abort();
  }
};

int Batch(int64_t rows, int64_t rounds) {
  constexpr int64_t kRowBytes = kCountedInputs * 4;
  constexpr int64_t kMaxRows = 4096;
  std::vector<std::vector<std::byte>> slots(3, std::vector<std::byte>(kMaxRows * kRowBytes));
  std::vector<std::vector<std::byte>> outputs(6, std::vector<std::byte>(kMaxRows * kRowBytes));
  BatchBuffers buffers{.slots = {},
                       .outputs = {},
                       .input_row_bytes = kRowBytes,
                       .output_row_bytes = kRowBytes,
                       .lanes = 1,
                       .runs_inline = true};
  for (auto& slot : slots) buffers.slots.emplace_back(slot);
  for (auto& output : outputs) buffers.outputs.emplace_back(output);
  NoArithmetic runner;
  BatchThreads threads{{}};
  // The calling thread does it all: when another would help depends on time, which callgrind
  // stretches.
  constexpr Duration kNoLimit = std::chrono::hours(1);
  const auto batcher = *Batcher::Create({.max_rows = kMaxRows, .help_limit = kNoLimit},
                                        std::move(buffers), runner, threads, nullptr);
  const std::vector<std::byte> bytes(static_cast<size_t>(rows * kRowBytes));
  const std::span<const std::byte> piece(bytes);
  Request request;
  request.rows = rows;
  request.input = {&piece, 1};
  for (int64_t i = 0; i < rounds; ++i) batcher->Submit(request);
  return 0;
}

}  // namespace
}  // namespace mlpserve

int main(int argc, char** argv) {
  const std::string part = argc == 4 ? argv[1] : "";
  if (part == "parse") return mlpserve::Parse(std::atoll(argv[2]), std::atoll(argv[3]));
  if (part == "batch") return mlpserve::Batch(std::atoll(argv[2]), std::atoll(argv[3]));
  std::fprintf(stderr, "usage: run_request parse|batch ROWS ROUNDS\n");
  return 2;
}
