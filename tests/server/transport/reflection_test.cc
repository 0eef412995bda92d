// Server reflection, v1 and v1alpha, over the wire.
#include "server/transport/reflection.h"

#include <google/protobuf/descriptor.pb.h>

#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/server/transport/server_fixture.h"

namespace mlpserve {
namespace {

using grpc::reflection::v1::ServerReflectionRequest;
using grpc::reflection::v1::ServerReflectionResponse;
using testing::HasSubstr;

class ReflectionTest : public ServerTest {
 protected:
  void SetUp() override {
    ServerTest::SetUp();
    Start(options_);
  }

  // The answers to these questions, asked on one stream.
  template <typename Service>
  std::vector<ServerReflectionResponse> Ask(const std::vector<ServerReflectionRequest>& questions) {
    const auto stub = Service::NewStub(channel_);
    grpc::ClientContext context;
    SetDeadline(&context);
    const auto stream = stub->ServerReflectionInfo(&context);
    std::vector<ServerReflectionResponse> answers;
    for (const ServerReflectionRequest& question : questions) {
      EXPECT_TRUE(stream->Write(question));
      EXPECT_TRUE(stream->Read(&answers.emplace_back()));
    }
    stream->WritesDone();
    EXPECT_TRUE(stream->Finish().ok());
    return answers;
  }

  template <typename Service>
  void ServesItsDescription() {
    ServerReflectionRequest list, symbol;
    list.set_list_services("");
    symbol.set_file_containing_symbol("inference.GRPCInferenceService.ModelInfer");
    const auto answers = Ask<Service>({list, symbol});
    std::vector<std::string> services;
    for (const auto& service : answers[0].list_services_response().service()) {
      services.push_back(service.name());
    }
    EXPECT_THAT(services,
                testing::ElementsAre("inference.GRPCInferenceService", "grpc.health.v1.Health",
                                     "grpc.reflection.v1.ServerReflection",
                                     "grpc.reflection.v1alpha.ServerReflection"));
    std::vector<std::string> files;
    for (const std::string& bytes : answers[1].file_descriptor_response().file_descriptor_proto()) {
      google::protobuf::FileDescriptorProto file;
      ASSERT_TRUE(file.ParseFromString(bytes));
      files.push_back(file.name());
    }
    EXPECT_THAT(files,
                testing::ElementsAre("proto/model_config.proto", "proto/open_inference.proto"));
  }
};

TEST_F(ReflectionTest, BothVersionsListTheServicesAndDescribeThem) {
  ServesItsDescription<grpc::reflection::v1::ServerReflection>();
  ServesItsDescription<grpc::reflection::v1alpha::ServerReflection>();
}

TEST_F(ReflectionTest, EveryListedServiceCanBeLookedUp) {
  ServerReflectionRequest list;
  list.set_list_services("");
  ServerReflectionResponse services;
  AnswerReflection(list, &services);
  for (const auto& service : services.list_services_response().service()) {
    ServerReflectionRequest question;
    question.set_file_containing_symbol(service.name());
    ServerReflectionResponse answer;
    AnswerReflection(question, &answer);
    EXPECT_TRUE(answer.has_file_descriptor_response()) << service.name();
  }
}

TEST_F(ReflectionTest, WhatThereIsNotIsNotFound) {
  ServerReflectionRequest file, symbol, extension, numbers;
  file.set_file_by_filename("nowhere.proto");
  symbol.set_file_containing_symbol("no.Symbol");
  extension.mutable_file_containing_extension()->set_containing_type("no.Type");
  numbers.set_all_extension_numbers_of_type("no.Type");
  for (const auto& answer :
       Ask<grpc::reflection::v1::ServerReflection>({file, symbol, extension, numbers})) {
    EXPECT_EQ(answer.error_response().error_code(), grpc::StatusCode::NOT_FOUND);
    EXPECT_THAT(answer.error_response().error_message(), HasSubstr("no"));
    EXPECT_TRUE(answer.has_original_request());
  }
}

TEST_F(ReflectionTest, AQuestionThatIsNoneOrLongIsRefusedAndNotEchoed) {
  ServerReflectionRequest longer;
  longer.set_file_containing_symbol(std::string(1 << 20, 's'));
  for (const auto& answer :
       Ask<grpc::reflection::v1::ServerReflection>({ServerReflectionRequest(), longer})) {
    EXPECT_EQ(answer.error_response().error_code(), grpc::StatusCode::INVALID_ARGUMENT);
    EXPECT_LT(answer.ByteSizeLong(), 200U);
  }
}

TEST_F(ReflectionTest, AMessageKnowsItsExtensionsOfWhichThereAreNone) {
  ServerReflectionRequest question;
  question.set_all_extension_numbers_of_type("inference.ModelInferRequest");
  ServerReflectionResponse answer;
  AnswerReflection(question, &answer);
  EXPECT_EQ(answer.all_extension_numbers_response().base_type_name(),
            "inference.ModelInferRequest");
  EXPECT_EQ(answer.all_extension_numbers_response().extension_number_size(), 0);
}

}  // namespace
}  // namespace mlpserve
