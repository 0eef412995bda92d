#include "server/lifecycle/sent_block.h"

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <system_error>

#include "absl/strings/str_cat.h"
#include "kernels/status/status_macros.h"
#include "server/model/repository.h"
#include "server/text/utf8.h"

namespace mlpserve {
namespace {

namespace fs = std::filesystem;

constexpr char kWeights[] = "/weights.safetensors";

absl::Status CheckPath(const std::string& path) {
  const size_t slash = path.find('/');
  if (slash != std::string::npos && path.substr(slash) == kWeights &&
      ParseVersionName(path.substr(0, slash)).has_value()) {
    return absl::OkStatus();
  }
  return absl::InvalidArgumentError(
      absl::StrCat("parameter ", Printable(QuotedShort("file:" + path)),
                   ": expected the path VERSION/weights.safetensors"));
}

absl::Status WriteFile(const fs::path& path, const std::string& bytes) {
  std::error_code error;
  fs::create_directories(path.parent_path(), error);
  std::ofstream file(path, std::ios::binary);
  file.write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
  file.close();
  if (file.good()) return absl::OkStatus();
  return absl::UnavailableError(
      absl::StrCat(path.string(), ": it cannot be written: ", std::strerror(errno)));
}

absl::StatusOr<std::string> NewFolder() {
  std::error_code error;
  std::string folder = (fs::temp_directory_path(error) / "mlpserve-XXXXXX").string();
  if (mkdtemp(folder.data()) != nullptr) return folder;
  return absl::UnavailableError(absl::StrCat(folder, ": ", std::strerror(errno)));
}

}  // namespace

absl::StatusOr<SentBlock> SentBlock::Write(const ModelControl::LoadRequest& request) {
  MLPSERVE_RETURN_IF_ERROR(CheckBlockName(request.name));
  for (const auto& [path, bytes] : request.files) MLPSERVE_RETURN_IF_ERROR(CheckPath(path));
  MLPSERVE_ASSIGN_OR_RETURN(std::string folder, NewFolder());
  SentBlock sent(std::move(folder));
  const fs::path block = fs::path(sent.repository()) / request.name;
  MLPSERVE_RETURN_IF_ERROR(WriteFile(block / "model.json", request.config.value_or("{}")));
  for (const auto& [path, bytes] : request.files) {
    MLPSERVE_RETURN_IF_ERROR(WriteFile(block / path, bytes));
  }
  return sent;
}

SentBlock::~SentBlock() {
  std::error_code error;
  if (!folder_.empty()) fs::remove_all(folder_, error);
}

}  // namespace mlpserve
