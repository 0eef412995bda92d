// A request's whole way through the server without gRPC's events: parsed, checked, batched,
// computed by the CPU backend, answered and recorded, on the calling thread.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "grpcpp/support/byte_buffer.h"
#include "kernels/status/status_macros.h"
#include "proto/open_inference.pb.h"
#include "server/catalog/catalog.h"
#include "server/engine/cpu_backend.h"
#include "server/lifecycle/served_block.h"
#include "server/metrics/metrics.h"
#include "server/transport/infer_work.h"

namespace mlpserve {

inline constexpr int64_t kCountedInputs = 64;
inline constexpr int64_t kCountedOutputs = 32;

// The bytes of a request of `rows` rows as a client sends it, in pieces as gRPC reads them.
inline grpc::ByteBuffer CountedRequest(int64_t rows) {
  inference::ModelInferRequest request;
  request.set_model_name("counted");
  request.set_id("17");
  auto& x = *request.add_inputs();
  x.set_name("x");
  x.set_datatype("FP32");
  x.add_shape(rows);
  x.add_shape(kCountedInputs);
  request.add_raw_input_contents(std::string(static_cast<size_t>(rows * kCountedInputs * 4), '\0'));
  const std::string bytes = request.SerializeAsString();
  std::vector<grpc::Slice> slices;
  constexpr size_t kPiece = 8 << 10;
  for (size_t at = 0; at < bytes.size(); at += kPiece)
    slices.emplace_back(bytes.substr(at, kPiece));
  return {slices.data(), slices.size()};
}

// What serves it.
struct CountedBlock {
  CountedBlock() {
    BlockSpec block;
    block.name = "counted";
    LayerSpec& layer = block.layers.emplace_back();
    layer.inputs = kCountedInputs;
    layer.outputs = kCountedOutputs;
    layer.weight = std::vector<float>(kCountedInputs * kCountedOutputs, 1);
    auto metrics_of_block = metrics.AddBlock("counted", 1);
    auto created = ServedBlock::Create({.backend = *backend, .threads = threads}, block, {}, {},
                                       metrics_of_block);
    served = *std::move(created);
    CatalogEntry entry;
    entry.config.name = "counted";
    entry.config.input = {.name = "x", .datatype = DataType::kFp32, .features = kCountedInputs};
    entry.config.output = {.name = "y", .datatype = DataType::kFp32, .features = kCountedOutputs};
    entry.version = 1;
    entry.state = BlockState::kReady;
    entry.sink = ServedBlock::Sink(served);
    entry.metrics = metrics_of_block;
    catalog.Put(std::move(entry));
    state.Advance(Phase::kServing);
  }

  const std::unique_ptr<Backend> backend = MakeCpuBackend({.threads = 1});
  BatchThreads threads{{}};
  Metrics metrics{BuildInfo{}};
  std::shared_ptr<ServedBlock> served;
  Catalog catalog;
  ServingState state;
  UnreadAnswers unread{{}};
  Inflater inflater{{}};
  const InferNeeds needs{.catalog = catalog,
                         .state = state,
                         .metrics = metrics,
                         .unread = unread,
                         .inflater = inflater,
                         .max_message_bytes = int64_t{64} << 20};
};

// Used again and again, as calls are.
class CountedWork final : public InferWork {
 public:
  explicit CountedWork(CountedBlock& block) : block_(block) {}

  // `received` is swapped in before. The answer, to be cleared by the caller.
  absl::Status Serve() {
    timing = {};
    timing.received = Clock::now();
    MLPSERVE_RETURN_IF_ERROR(Prepare(block_.needs, TimePoint::max()));
    Submit();
    return status_;
  }
  void OnDone(absl::Status status, std::span<OutputRows> outputs) override {
    status_ = std::move(status);
    if (before_answer != nullptr) before_answer();
    if (status_.ok()) answer = Respond(outputs, InferResponseForm::kUnary);
    Record(block_.needs, status_, static_cast<int64_t>(answer.Length()));
    ReleaseBytes();
  }

  void (*before_answer)() = nullptr;
  grpc::ByteBuffer answer;

 private:
  CountedBlock& block_;
  absl::Status status_;
};

}  // namespace mlpserve
