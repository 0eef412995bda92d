// TLS for the gRPC server, from files that are read again when they change.
#pragma once

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "grpcpp/security/server_credentials.h"

namespace mlpserve {

// PEM files. All empty: no TLS.
struct TlsFiles {
  std::string certificate;  // of this server, with those that lead to its root
  std::string key;
  std::string client_ca;  // roots of the clients' certificates, which every client then must have
};

// What the server listens with. The files are looked at each second; replace them in one step (as
// a rename, or Kubernetes' secrets, do), since a key that does not fit its certificate is ignored
// until it does. Connections that are open stay as they are.
// Errors: INVALID_ARGUMENT, naming the file that is missing or cannot be read.
absl::StatusOr<std::shared_ptr<grpc::ServerCredentials>> MakeCredentials(const TlsFiles& files);

}  // namespace mlpserve
