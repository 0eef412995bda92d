#include "server/safetensors/writer.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <string_view>

#include "absl/strings/str_cat.h"
#include "server/safetensors/header.h"

namespace mlpserve {
namespace {

std::string JsonString(const std::string& text) {
  std::string json = "\"";
  for (const char c : text) {
    if (c == '"' || c == '\\') {
      json += {'\\', c};
    } else if (static_cast<unsigned char>(c) < 0x20) {
      char escape[8];
      std::snprintf(escape, sizeof(escape), "\\u%04x", static_cast<unsigned>(c));
      json += escape;
    } else {
      json += c;
    }
  }
  return json + "\"";
}

std::string HeaderJson(std::span<const TensorToWrite> tensors,
                       const std::map<std::string, std::string>& metadata) {
  std::string json = "{";
  const char* separator = "";
  if (!metadata.empty()) {
    absl::StrAppend(&json, "\"__metadata__\":{");
    for (const auto& [key, value] : metadata) {
      absl::StrAppend(&json, separator, JsonString(key), ":", JsonString(value));
      separator = ",";
    }
    absl::StrAppend(&json, "}");
  }
  uint64_t offset = 0;
  for (const TensorToWrite& tensor : tensors) {
    absl::StrAppend(&json, separator, JsonString(tensor.name), ":{\"dtype\":\"",
                    std::string(Name(tensor.type)), "\",\"shape\":", ShapeString(tensor.shape),
                    ",\"data_offsets\":[", offset, ",", offset + tensor.data.size(), "]}");
    separator = ",";
    offset += tensor.data.size();
  }
  json += "}";
  json.resize((json.size() + 7) / 8 * 8, ' ');
  return json;
}

// Writes to a temporary file, which is removed unless it was renamed.
class ReplacingFile {
 public:
  explicit ReplacingFile(const std::string& path)
      : path_(path), temporary_(absl::StrCat(path, ".", getpid(), ".tmp")) {}
  ReplacingFile(const ReplacingFile&) = delete;
  ReplacingFile& operator=(const ReplacingFile&) = delete;
  ~ReplacingFile() {
    if (descriptor_ < 0) return;
    close(descriptor_);
    unlink(temporary_.c_str());
  }

  absl::Status Open() {
    descriptor_ = open(temporary_.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
    return descriptor_ < 0 ? Error("opening") : absl::OkStatus();
  }

  absl::Status Append(std::span<const std::byte> bytes) {
    while (!bytes.empty()) {
      const ssize_t wrote = write(descriptor_, bytes.data(), bytes.size());
      if (wrote < 0 && errno == EINTR) continue;
      if (wrote < 0) return Error("writing");
      bytes = bytes.subspan(static_cast<size_t>(wrote));
    }
    return absl::OkStatus();
  }

  absl::Status Commit() {
    if (fsync(descriptor_) != 0) return Error("syncing");
    if (rename(temporary_.c_str(), path_.c_str()) != 0) return Error("renaming");
    close(descriptor_);
    descriptor_ = -1;
    return absl::OkStatus();
  }

 private:
  absl::Status Error(const char* what) const {
    return absl::UnavailableError(
        absl::StrCat(path_, ": ", what, " ", temporary_, ": ", std::strerror(errno)));
  }

  const std::string path_;
  const std::string temporary_;
  int descriptor_ = -1;
};

}  // namespace

absl::Status WriteSafetensors(const std::string& path, std::span<const TensorToWrite> tensors,
                              const std::map<std::string, std::string>& metadata) {
  const std::string json = HeaderJson(tensors, metadata);
  const uint64_t length = json.size();
  uint64_t file_bytes = sizeof(length) + length;
  for (const TensorToWrite& tensor : tensors) file_bytes += tensor.data.size();
  // The reader's rules are the writer's.
  absl::Status status = ParseHeader(json, file_bytes, path).status();
  ReplacingFile file(path);
  if (status.ok()) status = file.Open();
  if (status.ok()) status = file.Append(std::as_bytes(std::span(&length, 1)));
  if (status.ok()) status = file.Append(std::as_bytes(std::span(json)));
  for (const TensorToWrite& tensor : tensors) {
    if (status.ok()) status = file.Append(tensor.data);
  }
  return status.ok() ? file.Commit() : status;
}

}  // namespace mlpserve
