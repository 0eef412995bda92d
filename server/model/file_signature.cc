#include "server/model/file_signature.h"

#include <sys/stat.h>

#include "absl/strings/str_cat.h"
#include "server/model/repository.h"

namespace mlpserve {
namespace {

int64_t Nanoseconds(const timespec& time) {
  return int64_t{time.tv_sec} * 1'000'000'000 + int64_t{time.tv_nsec};
}

}  // namespace

FileSignature SignatureOf(const std::string& path) {
  struct stat info = {};
  if (stat(path.c_str(), &info) != 0) return {};
  return {.device = info.st_dev,
          .inode = info.st_ino,
          .bytes = info.st_size,
          .written_ns = Nanoseconds(info.st_mtim),
          .changed_ns = Nanoseconds(info.st_ctim)};
}

BlockSignature SignatureOf(const RepositoryBlock& block) {
  BlockSignature signature{.model_json = SignatureOf(block.directory + "/model.json")};
  for (const auto* versions : {&block.versions, &block.fallbacks}) {
    for (const int64_t version : *versions) {
      signature.weights[version] = SignatureOf(WeightsPath(block.directory, version));
    }
  }
  return signature;
}

std::string WeightsPath(const std::string& block_directory, int64_t version) {
  return absl::StrCat(block_directory, "/", version, "/weights.safetensors");
}

}  // namespace mlpserve
