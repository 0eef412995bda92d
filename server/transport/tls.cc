#include "server/transport/tls.h"

#include <fstream>
#include <iterator>

#include "absl/status/status.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "grpcpp/security/tls_certificate_provider.h"
#include "grpcpp/security/tls_certificate_verifier.h"
#include "grpcpp/security/tls_credentials_options.h"
#include "kernels/status/status_macros.h"

namespace mlpserve {
namespace {

constexpr unsigned kRefreshSeconds = 1;

absl::Status CheckFile(const char* flag, const std::string& path) {
  if (path.empty()) {
    return absl::InvalidArgumentError(absl::StrCat(
        flag, ": expected a file, as TLS needs a certificate and its key, found none"));
  }
  std::ifstream file(path);
  const std::string text((std::istreambuf_iterator<char>(file)), std::istreambuf_iterator<char>());
  if (absl::StrContains(text, "-----BEGIN ")) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat(flag, ": expected a PEM file, found ",
                                                 file.is_open() ? "something else in " : "no file ",
                                                 path));
}

}  // namespace

absl::StatusOr<std::shared_ptr<grpc::ServerCredentials>> MakeCredentials(const TlsFiles& files) {
  if (files.certificate.empty() && files.key.empty() && files.client_ca.empty()) {
    return grpc::InsecureServerCredentials();
  }
  MLPSERVE_RETURN_IF_ERROR(CheckFile("--tls-certificate", files.certificate));
  MLPSERVE_RETURN_IF_ERROR(CheckFile("--tls-key", files.key));
  const bool mutual = !files.client_ca.empty();
  if (mutual) MLPSERVE_RETURN_IF_ERROR(CheckFile("--tls-client-ca", files.client_ca));
  grpc::experimental::TlsServerCredentialsOptions options(
      std::make_shared<grpc::experimental::FileWatcherCertificateProvider>(
          files.key, files.certificate, files.client_ca, kRefreshSeconds));
  options.watch_identity_key_cert_pairs();
  if (mutual) {
    options.watch_root_certs();
    options.set_cert_request_type(GRPC_SSL_REQUEST_AND_REQUIRE_CLIENT_CERTIFICATE_AND_VERIFY);
  }
  // A client has no host name to be held to; that its certificate is one of the roots' is checked
  // in the handshake.
  options.set_certificate_verifier(std::make_shared<grpc::experimental::NoOpCertificateVerifier>());
  options.set_check_call_host(false);
  return grpc::experimental::TlsServerCredentials(options);
}

}  // namespace mlpserve
