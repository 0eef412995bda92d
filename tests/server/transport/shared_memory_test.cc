// Shared memory through the server: its methods, and requests whose rows lie there.
#include <cstring>
#include <limits>
#include <memory>
#include <span>
#include <string>
#include <thread>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/server/shared_memory/shared_object.h"
#include "tests/server/transport/server_fixture.h"

namespace mlpserve {
namespace {

using grpc::StatusCode;
using testing::HasSubstr;

constexpr int64_t kMax = std::numeric_limits<int64_t>::max();

class SharingClient : public ServerTest {
 protected:
  static constexpr int64_t kRowBytes = kFeatures * sizeof(float);
  static constexpr size_t kObjectBytes = 1 << 20;

  grpc::Status Status(const std::string& name,
                      inference::SystemSharedMemoryStatusResponse* response) {
    inference::SystemSharedMemoryStatusRequest request;
    request.set_name(name);
    grpc::ClientContext context;
    SetDeadline(&context);
    return stub_->SystemSharedMemoryStatus(&context, request, response);
  }

  // "in" and "out", each the whole object.
  void RegisterBoth() {
    ASSERT_TRUE(Register("in", in_.key(), 0, kObjectBytes).ok());
    ASSERT_TRUE(Register("out", out_.key(), 0, kObjectBytes).ok());
  }

  // Its rows are put into "in", and asked for in "out".
  Request SharedRequest(int64_t rows, int64_t in_offset = 0, int64_t out_offset = 0) {
    Request request = EchoRequest(rows);
    in_.Write(static_cast<size_t>(in_offset), request.raw_input_contents(0));
    request.clear_raw_input_contents();
    Share("in", rows * kRowBytes, in_offset, request.mutable_inputs(0));
    auto* output = request.add_outputs();
    output->set_name("y");
    Share("out", rows * kRowBytes, out_offset, output);
    return request;
  }
  static std::string RowsOf(int64_t rows) { return EchoRequest(rows).raw_input_contents(0); }

  const SharedObject in_{"in", kObjectBytes};
  const SharedObject out_{"out", kObjectBytes};
};

class SharedMemoryTest : public SharingClient {
 protected:
  void SetUp() override {
    SharingClient::SetUp();
    options_.shared_memory = SharedMemory::kSystem;
    Start(options_);
  }
};

TEST_F(SharedMemoryTest, RowsAreReadAndWrittenThere) {
  RegisterBoth();
  for (const int64_t rows : {1, 3, 1000, 60'000}) {
    Response response;
    const grpc::Status status = Infer(SharedRequest(rows, 48, 16), &response);
    ASSERT_TRUE(status.ok()) << status.error_message();
    EXPECT_EQ(out_.Read(16, rows * kRowBytes), RowsOf(rows));
    ASSERT_EQ(response.outputs_size(), 1);
    const auto& output = response.outputs(0);
    EXPECT_THAT(output.shape(), testing::ElementsAre(rows, kFeatures));
    EXPECT_EQ(output.parameters().size(), 3u);
    EXPECT_EQ(output.parameters().at("shared_memory_region").string_param(), "out");
    EXPECT_EQ(output.parameters().at("shared_memory_byte_size").int64_param(), rows * kRowBytes);
    EXPECT_EQ(output.parameters().at("shared_memory_offset").int64_param(), 16);
    ASSERT_EQ(response.raw_output_contents_size(), 1);
    EXPECT_EQ(response.raw_output_contents(0), "");
  }
  EXPECT_EQ(out_.Read(0, 16), std::string(16, '\0')) << "what was not asked for stays";
}

TEST_F(SharedMemoryTest, EitherTensorMayLieInTheMessage) {
  RegisterBoth();
  Request request = SharedRequest(5);
  request.clear_outputs();
  Response response;
  ASSERT_TRUE(Infer(request, &response).ok());
  EXPECT_EQ(response.raw_output_contents(0), RowsOf(5));
  EXPECT_TRUE(response.outputs(0).parameters().empty());

  request = EchoRequest(7);
  auto* output = request.add_outputs();
  output->set_name("y");
  Share("out", 8 * kRowBytes, 0, output);
  ASSERT_TRUE(Infer(request, &response).ok());
  EXPECT_EQ(response.raw_output_contents(0), "");
  EXPECT_EQ(response.outputs(0).parameters().at("shared_memory_byte_size").int64_param(),
            7 * kRowBytes);
  EXPECT_EQ(out_.Read(0, 7 * kRowBytes), RowsOf(7));
  EXPECT_EQ(out_.Read(7 * kRowBytes, kRowBytes), std::string(kRowBytes, '\0'));
}

TEST_F(SharedMemoryTest, ResultsInPiecesAreWrittenOneAfterTheOther) {
  RegisterBoth();
  const std::string results = RowsOf(999);
  sink_->AnswerWith(results, 7);
  Response response;
  ASSERT_TRUE(Infer(SharedRequest(999), &response).ok());
  EXPECT_EQ(out_.Read(0, results.size()), results);
  EXPECT_TRUE(sink_->WaitUntilLeasesOut(0)) << "nothing refers to the results any more";
}

TEST_F(SharedMemoryTest, RequestsOnAStreamMayUseIt) {
  RegisterBoth();
  grpc::ClientContext context;
  SetDeadline(&context);
  const auto stream = stub_->ModelStreamInfer(&context);
  ASSERT_TRUE(stream->Write(SharedRequest(2)));
  ASSERT_TRUE(stream->Write(EchoRequest(3)));
  Request unknown = SharedRequest(2);
  Share("nowhere", 2 * kRowBytes, 0, unknown.mutable_inputs(0));
  ASSERT_TRUE(stream->Write(unknown));
  stream->WritesDone();
  inference::ModelStreamInferResponse answer;
  ASSERT_TRUE(stream->Read(&answer));
  EXPECT_EQ(answer.error_message(), "");
  EXPECT_EQ(answer.infer_response().outputs(0).parameters().count("shared_memory_region"), 1u);
  EXPECT_EQ(out_.Read(0, 2 * kRowBytes), RowsOf(2));
  ASSERT_TRUE(stream->Read(&answer));
  EXPECT_EQ(answer.infer_response().raw_output_contents(0), RowsOf(3));
  ASSERT_TRUE(stream->Read(&answer));
  EXPECT_EQ(answer.error_message(),
            "block \"echo\": no shared memory region is registered as \"nowhere\"");
  EXPECT_TRUE(stream->Finish().ok());
}

TEST_F(SharedMemoryTest, RangesBeyondTheRegionAreRefused) {
  ASSERT_TRUE(Register("in", in_.key(), 0, 10 * kRowBytes).ok());
  ASSERT_TRUE(Register("out", out_.key(), 0, 10 * kRowBytes).ok());
  EXPECT_TRUE(InferError(SharedRequest(10)).ok());
  for (const auto& [rows, offset] : {std::pair<int64_t, int64_t>{11, 0},
                                     {10, 1},
                                     {1, 10 * kRowBytes},
                                     {1, kMax},
                                     {1, kMax - kRowBytes + 1}}) {
    Request request = SharedRequest(rows);
    Share("in", rows * kRowBytes, offset, request.mutable_inputs(0));
    const std::string found = absl::StrCat("expected a range of its 160 bytes, found ",
                                           rows * kRowBytes, " bytes from offset ", offset, " on");
    grpc::Status status = InferError(request);
    EXPECT_EQ(status.error_code(), StatusCode::INVALID_ARGUMENT);
    EXPECT_EQ(status.error_message(),
              absl::StrCat("block \"echo\": shared memory region \"in\": ", found));
    request = EchoRequest(rows);
    request.add_outputs()->set_name("y");
    Share("out", rows * kRowBytes, offset, request.mutable_outputs(0));
    status = InferError(request);
    EXPECT_EQ(status.error_code(), StatusCode::INVALID_ARGUMENT);
    EXPECT_EQ(status.error_message(),
              absl::StrCat("block \"echo\": shared memory region \"out\": ", found));
  }
  EXPECT_EQ(sink_->seen().size(), 1u) << "what is refused is not run";
}

TEST_F(SharedMemoryTest, AnInputThatWasCutShortFailsItsRequest) {
  RegisterBoth();
  const Request request = SharedRequest(1000);
  in_.Resize(100);
  const grpc::Status status = InferError(request);
  EXPECT_EQ(status.error_code(), StatusCode::INVALID_ARGUMENT);
  EXPECT_EQ(
      status.error_message(),
      "block \"echo\": shared memory region \"in\": expected the 1048576 bytes that its object had "
      "when it was registered, found 100");
  EXPECT_EQ(out_.Read(0, 16), std::string(16, '\0')) << "nothing is answered";
  in_.Resize(kObjectBytes);
  EXPECT_TRUE(InferError(SharedRequest(1000)).ok()) << "the call is used again";
}

TEST_F(SharedMemoryTest, AnOutputThatWasCutShortFailsItsRequest) {
  RegisterBoth();
  const Request request = SharedRequest(1000);
  sink_->Hold();
  std::thread client([&] {
    const grpc::Status status = InferError(request);
    EXPECT_EQ(status.error_code(), StatusCode::INVALID_ARGUMENT);
    EXPECT_THAT(status.error_message(), HasSubstr("shared memory region \"out\": expected the "
                                                  "1048576 bytes that its object had"));
  });
  ASSERT_TRUE(sink_->WaitUntilHeld(1));
  out_.Resize(0);
  sink_->Release();
  client.join();
  EXPECT_EQ(out_.Read(0, 1), "") << "it must not grow";
}

TEST_F(SharedMemoryTest, WhatIsUnregisteredServesTheRequestsThatUseIt) {
  RegisterBoth();
  const Request request = SharedRequest(9);
  sink_->Hold();
  std::thread client([&] {
    const grpc::Status status = InferError(request);
    EXPECT_TRUE(status.ok()) << status.error_message();
  });
  ASSERT_TRUE(sink_->WaitUntilHeld(1));
  EXPECT_TRUE(Unregister("").ok());
  inference::SystemSharedMemoryStatusResponse status;
  ASSERT_TRUE(Status("", &status).ok());
  EXPECT_TRUE(status.regions().empty());
  sink_->Release();  // reads the rows
  client.join();
  EXPECT_EQ(out_.Read(0, 9 * kRowBytes), RowsOf(9));
  EXPECT_EQ(InferError(request).error_code(), StatusCode::NOT_FOUND);
}

TEST_F(SharedMemoryTest, NothingIsWrittenForAClientThatLeft) {
  RegisterBoth();
  const Request request = SharedRequest(9);
  sink_->Hold();
  grpc::ClientContext context;
  SetDeadline(&context);
  std::thread client([&] {
    Response response;
    EXPECT_EQ(stub_->ModelInfer(&context, request, &response).error_code(), StatusCode::CANCELLED);
  });
  ASSERT_TRUE(sink_->WaitUntilHeld(1));
  context.TryCancel();
  client.join();
  ASSERT_TRUE(sink_->WaitUntilCancelled(1));
  EXPECT_EQ(out_.Read(0, 9 * kRowBytes), std::string(9 * kRowBytes, '\0'));
}

TEST_F(SharedMemoryTest, RegionsAreToldOfAndUnregistered) {
  RegisterBoth();
  ASSERT_TRUE(Register("part", in_.key(), 4096, 100).ok());
  inference::SystemSharedMemoryStatusResponse response;
  ASSERT_TRUE(Status("", &response).ok());
  EXPECT_EQ(response.regions().size(), 3u);
  response.Clear();
  ASSERT_TRUE(Status("part", &response).ok());
  ASSERT_EQ(response.regions().size(), 1u);
  const auto& part = response.regions().at("part");
  EXPECT_EQ(part.name(), "part");
  EXPECT_EQ(part.key(), in_.key());
  EXPECT_EQ(part.offset(), 4096u);
  EXPECT_EQ(part.byte_size(), 100u);
  EXPECT_TRUE(Unregister("part").ok());
  EXPECT_TRUE(Unregister("part").ok()) << "as with Triton";
  const grpc::Status unknown = Status("part", &response);
  EXPECT_EQ(unknown.error_code(), StatusCode::NOT_FOUND);
  EXPECT_EQ(unknown.error_message(), "no shared memory region is registered as \"part\"");
}

TEST_F(SharedMemoryTest, WhatCannotBeRegisteredSaysWhy) {
  const uint64_t half = uint64_t{1} << 63;
  grpc::Status status = Register("in", in_.key(), half, half);
  EXPECT_EQ(status.error_code(), StatusCode::INVALID_ARGUMENT);
  EXPECT_THAT(status.error_message(), HasSubstr("found a size of 1048576"));
  status = Register("in", "/../etc/passwd", 0, 1);
  EXPECT_EQ(status.error_code(), StatusCode::INVALID_ARGUMENT);
  status = Register("in", "/mlpserve_test_nothing", 0, 1);
  EXPECT_EQ(status.error_code(), StatusCode::NOT_FOUND);
  ASSERT_TRUE(Register("in", in_.key(), 0, 1).ok());
  status = Register("in", in_.key(), 0, 1);
  EXPECT_EQ(status.error_code(), StatusCode::ALREADY_EXISTS);
  EXPECT_EQ(status.error_message(), "shared memory region \"in\": it is registered already");
}

TEST_F(SharedMemoryTest, OfTheOtherKindThereIsNone) {
  const std::string service = "/inference.GRPCInferenceService/";
  EXPECT_TRUE(CallByName(service + "CudaSharedMemoryStatus").ok());
  EXPECT_TRUE(CallByName(service + "CudaSharedMemoryUnregister").ok());
  inference::CudaSharedMemoryRegisterRequest request;
  request.set_name("gpu");
  request.set_byte_size(1);
  const grpc::Status status =
      CallByName(service + "CudaSharedMemoryRegister", request.SerializeAsString());
  EXPECT_EQ(status.error_code(), StatusCode::FAILED_PRECONDITION);
  EXPECT_THAT(status.error_message(), HasSubstr("--shared-memory=cuda"));
}

// Memory of a GPU, which a string stands in for.
class StringRegion final : public SharedRegion {
 public:
  explicit StringRegion(std::string& memory) : memory_(memory) {}
  absl::Status Read(uint64_t offset, std::span<std::byte> to) const override {
    std::memcpy(to.data(), memory_.data() + offset, to.size());
    return absl::OkStatus();
  }
  absl::Status Write(uint64_t offset, std::span<const std::byte> from) const override {
    std::memcpy(memory_.data() + offset, from.data(), from.size());
    return absl::OkStatus();
  }

 private:
  std::string& memory_;
};

class CudaMemoryTest : public SharingClient {
 protected:
  void SetUp() override {
    SharingClient::SetUp();
    options_.shared_memory = SharedMemory::kCuda;
    options_.open_cuda_region =
        [this](const std::string& handle, int64_t device,
               uint64_t bytes) -> absl::StatusOr<std::unique_ptr<SharedRegion>> {
      if (handle == "handle" && device == 2 && bytes <= memory_.size()) {
        return std::make_unique<StringRegion>(memory_);
      }
      return absl::InvalidArgumentError("no such memory");
    };
    Start(options_);
  }

  grpc::Status RegisterCuda(const std::string& handle) {
    inference::CudaSharedMemoryRegisterRequest request;
    request.set_name("gpu");
    request.set_raw_handle(handle);
    request.set_device_id(2);
    request.set_byte_size(memory_.size());
    inference::CudaSharedMemoryRegisterResponse response;
    grpc::ClientContext context;
    SetDeadline(&context);
    return stub_->CudaSharedMemoryRegister(&context, request, &response);
  }

  std::string memory_ = std::string(4 * kRowBytes, '\0');
};

TEST_F(CudaMemoryTest, RowsMayLieOnADevice) {
  const grpc::Status wrong = RegisterCuda("another");
  EXPECT_EQ(wrong.error_code(), StatusCode::INVALID_ARGUMENT);
  EXPECT_EQ(wrong.error_message(), "shared memory region \"gpu\": no such memory");
  ASSERT_TRUE(RegisterCuda("handle").ok());
  EXPECT_EQ(RegisterCuda("handle").error_code(), StatusCode::ALREADY_EXISTS);
  Request request = EchoRequest(2);
  memory_.replace(0, 2 * kRowBytes, request.raw_input_contents(0));
  request.clear_raw_input_contents();
  Share("gpu", 2 * kRowBytes, 0, request.mutable_inputs(0));
  request.add_outputs()->set_name("y");
  Share("gpu", 2 * kRowBytes, 2 * kRowBytes, request.mutable_outputs(0));
  Response response;
  ASSERT_TRUE(Infer(request, &response).ok());
  EXPECT_EQ(memory_.substr(2 * kRowBytes), RowsOf(2));
  EXPECT_EQ(response.raw_output_contents(0), "");
}

TEST_F(CudaMemoryTest, RegionsAreToldOfAndUnregistered) {
  ASSERT_TRUE(RegisterCuda("handle").ok());
  inference::CudaSharedMemoryStatusResponse response;
  grpc::ClientContext context;
  ASSERT_TRUE(stub_->CudaSharedMemoryStatus(&context, {}, &response).ok());
  ASSERT_EQ(response.regions().size(), 1u);
  EXPECT_EQ(response.regions().at("gpu").name(), "gpu");
  EXPECT_EQ(response.regions().at("gpu").device_id(), 2u);
  EXPECT_EQ(response.regions().at("gpu").byte_size(), 4u * kRowBytes);
  EXPECT_TRUE(Unregister("").ok()) << "of system memory there is none";
  EXPECT_EQ(RegisterCuda("handle").error_code(), StatusCode::ALREADY_EXISTS);
  EXPECT_TRUE(CallByName("/inference.GRPCInferenceService/CudaSharedMemoryUnregister").ok());
  EXPECT_TRUE(RegisterCuda("handle").ok());
}

TEST_F(CudaMemoryTest, ItsExtensionAloneIsListed) {
  inference::ServerMetadataResponse response;
  grpc::ClientContext context;
  ASSERT_TRUE(stub_->ServerMetadata(&context, {}, &response).ok());
  EXPECT_THAT(response.extensions(), testing::Contains("cuda_shared_memory"));
  EXPECT_THAT(response.extensions(), testing::Not(testing::Contains("system_shared_memory")));
  const grpc::Status system = Register("in", in_.key(), 0, 1);
  EXPECT_EQ(system.error_code(), StatusCode::FAILED_PRECONDITION);
  EXPECT_THAT(system.error_message(), HasSubstr("--shared-memory=system"));
}

TEST_F(SharedMemoryTest, TheExtensionIsListedWhereItIsOn) {
  inference::ServerMetadataResponse response;
  grpc::ClientContext context;
  ASSERT_TRUE(stub_->ServerMetadata(&context, {}, &response).ok());
  EXPECT_THAT(response.extensions(), testing::Contains("system_shared_memory"));
}

class NoSharedMemoryTest : public SharingClient {
 protected:
  void SetUp() override {
    SharingClient::SetUp();
    Start(options_);
  }
};

TEST_F(NoSharedMemoryTest, EveryWayToItNamesTheFlag) {
  const auto expected = [](const std::string& kind) {
    return "expected a server that was started with --shared-memory=" + kind +
           ", found one that reads and writes no such memory of its clients";
  };
  for (const std::string kind : {"System", "Cuda"}) {
    for (const char* what : {"Status", "Register", "Unregister"}) {
      const grpc::Status status =
          CallByName(absl::StrCat("/inference.GRPCInferenceService/", kind, "SharedMemory", what));
      EXPECT_EQ(status.error_code(), StatusCode::FAILED_PRECONDITION) << kind << what;
      EXPECT_EQ(status.error_message(), expected(kind == "Cuda" ? "cuda" : "system"));
    }
  }
  const grpc::Status status = InferError(SharedRequest(1));
  EXPECT_EQ(status.error_code(), StatusCode::FAILED_PRECONDITION);
  EXPECT_EQ(status.error_message(), "block \"echo\": " + expected("system"));
  inference::ServerMetadataResponse response;
  grpc::ClientContext context;
  ASSERT_TRUE(stub_->ServerMetadata(&context, {}, &response).ok());
  EXPECT_THAT(response.extensions(), testing::Not(testing::Contains("system_shared_memory")));
}

}  // namespace
}  // namespace mlpserve
