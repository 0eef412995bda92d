#include "server/transport/reflection.h"

#include <google/protobuf/descriptor.h>
#include <google/protobuf/descriptor.pb.h>

#include <set>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "grpcpp/support/status.h"
#include "proto/health.grpc.pb.h"
#include "proto/open_inference.grpc.pb.h"

namespace mlpserve {
namespace {

using google::protobuf::DescriptorPool;
using google::protobuf::FileDescriptor;
using grpc::reflection::v1::ServerReflectionRequest;
using grpc::reflection::v1::ServerReflectionResponse;

// Longer than any name; what is not echoed costs nothing.
constexpr size_t kMaxRequestBytes = 1024;

void Refuse(grpc::StatusCode code, const std::string& message, ServerReflectionResponse* response) {
  response->mutable_error_response()->set_error_code(code);
  response->mutable_error_response()->set_error_message(message);
}

// The file after those that it imports, each once.
void AppendFile(const FileDescriptor& file, std::set<const FileDescriptor*>& seen,
                ServerReflectionResponse* response) {
  if (!seen.insert(&file).second) return;
  for (int i = 0; i < file.dependency_count(); ++i) {
    AppendFile(*file.dependency(i), seen, response);
  }
  google::protobuf::FileDescriptorProto proto;
  file.CopyTo(&proto);
  proto.SerializeToString(
      response->mutable_file_descriptor_response()->add_file_descriptor_proto());
}

void AnswerFile(const FileDescriptor* file, const std::string& wanted,
                ServerReflectionResponse* response) {
  if (file == nullptr) {
    return Refuse(grpc::StatusCode::NOT_FOUND, absl::StrCat("there is no ", wanted), response);
  }
  std::set<const FileDescriptor*> seen;
  AppendFile(*file, seen, response);
}

void ListServices(ServerReflectionResponse* response) {
  const char* const kServices[] = {
      inference::GRPCInferenceService::service_full_name(),
      grpc::health::v1::Health::service_full_name(),
      grpc::reflection::v1::ServerReflection::service_full_name(),
      grpc::reflection::v1alpha::ServerReflection::service_full_name(),
  };
  for (const char* service : kServices) {
    response->mutable_list_services_response()->add_service()->set_name(service);
  }
}

void AnswerExtension(const grpc::reflection::v1::ExtensionRequest& wanted,
                     ServerReflectionResponse* response) {
  const DescriptorPool& pool = *DescriptorPool::generated_pool();
  const auto* type = pool.FindMessageTypeByName(wanted.containing_type());
  const auto* extension =
      type == nullptr ? nullptr : pool.FindExtensionByNumber(type, wanted.extension_number());
  AnswerFile(
      extension == nullptr ? nullptr : extension->file(),
      absl::StrCat("extension ", wanted.extension_number(), " of ", wanted.containing_type()),
      response);
}

void AnswerExtensionNumbers(const std::string& name, ServerReflectionResponse* response) {
  const DescriptorPool& pool = *DescriptorPool::generated_pool();
  const auto* type = pool.FindMessageTypeByName(name);
  if (type == nullptr) {
    return Refuse(grpc::StatusCode::NOT_FOUND, absl::StrCat("there is no message ", name),
                  response);
  }
  std::vector<const google::protobuf::FieldDescriptor*> extensions;
  pool.FindAllExtensions(type, &extensions);
  auto* numbers = response->mutable_all_extension_numbers_response();
  numbers->set_base_type_name(name);
  for (const auto* extension : extensions) numbers->add_extension_number(extension->number());
}

}  // namespace

void AnswerReflection(const ServerReflectionRequest& request, ServerReflectionResponse* response) {
  if (request.ByteSizeLong() > kMaxRequestBytes) {
    return Refuse(grpc::StatusCode::INVALID_ARGUMENT,
                  absl::StrCat("expected a request of at most ", kMaxRequestBytes, " bytes, found ",
                               request.ByteSizeLong()),
                  response);
  }
  response->set_valid_host(request.host());
  *response->mutable_original_request() = request;
  const DescriptorPool& pool = *DescriptorPool::generated_pool();
  switch (request.message_request_case()) {
    case ServerReflectionRequest::kFileByFilename:
      return AnswerFile(pool.FindFileByName(request.file_by_filename()),
                        absl::StrCat("file ", request.file_by_filename()), response);
    case ServerReflectionRequest::kFileContainingSymbol:
      return AnswerFile(pool.FindFileContainingSymbol(request.file_containing_symbol()),
                        absl::StrCat("symbol ", request.file_containing_symbol()), response);
    case ServerReflectionRequest::kFileContainingExtension:
      return AnswerExtension(request.file_containing_extension(), response);
    case ServerReflectionRequest::kAllExtensionNumbersOfType:
      return AnswerExtensionNumbers(request.all_extension_numbers_of_type(), response);
    case ServerReflectionRequest::kListServices:
      return ListServices(response);
    case ServerReflectionRequest::MESSAGE_REQUEST_NOT_SET:
      break;
  }
  Refuse(grpc::StatusCode::INVALID_ARGUMENT, "expected a question, found none", response);
}

Reflection::Reflection() {
  v1_method_.accept = [this](auto*... arguments) { v1_.RequestServerReflectionInfo(arguments...); };
  v1alpha_method_.accept = [this](auto*... arguments) {
    v1alpha_.RequestServerReflectionInfo(arguments...);
  };
  v1_method_.answer = v1alpha_method_.answer = AnswerReflection;
}

void Reflection::Accept(CallQueue& queue) const {
  using Stream = AnswerStream<ServerReflectionRequest, ServerReflectionResponse>;
  Stream::Accept(v1_method_, queue);
  Stream::Accept(v1alpha_method_, queue);
}

}  // namespace mlpserve
