#include "server/safetensors/file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "absl/strings/str_cat.h"
#include "kernels/status/status_macros.h"

namespace mlpserve {
namespace {

absl::Status OpenError(const std::string& path, int error) {
  const std::string message = absl::StrCat(path, ": ", std::strerror(error));
  if (error == ENOENT || error == ENOTDIR) return absl::NotFoundError(message);
  return absl::UnavailableError(message);
}

}  // namespace

absl::StatusOr<File> File::Open(const std::string& path) {
  const int descriptor = open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (descriptor < 0) return OpenError(path, errno);
  File file(path, descriptor, 0);
  struct stat info = {};
  if (fstat(descriptor, &info) != 0) return OpenError(path, errno);
  if (!S_ISREG(info.st_mode)) {
    return absl::InvalidArgumentError(absl::StrCat(path, ": expected a regular file, found ",
                                                   S_ISDIR(info.st_mode) ? "a folder" : "none"));
  }
  file.size_ = static_cast<uint64_t>(info.st_size);
  return file;
}

File::~File() {
  if (descriptor_ >= 0) close(descriptor_);
}

absl::Status File::ReadAt(uint64_t offset, std::span<std::byte> to) const {
  while (!to.empty()) {
    const ssize_t got = pread(descriptor_, to.data(), to.size(), static_cast<off_t>(offset));
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) {
      return absl::UnavailableError(
          absl::StrCat(path_, ": reading at byte ", offset, ": ", std::strerror(errno)));
    }
    if (got == 0) {
      return absl::UnavailableError(absl::StrCat(path_, ": expected ", size_,
                                                 " bytes, found the end at byte ", offset,
                                                 ": the file was changed while it was read"));
    }
    offset += static_cast<uint64_t>(got);
    to = to.subspan(static_cast<size_t>(got));
  }
  return absl::OkStatus();
}

absl::StatusOr<std::string> ReadTextFile(const std::string& path, uint64_t max_bytes) {
  MLPSERVE_ASSIGN_OR_RETURN(const File file, File::Open(path));
  if (file.size() > max_bytes) {
    return absl::InvalidArgumentError(
        absl::StrCat(path, ": expected at most ", max_bytes, " bytes, found ", file.size()));
  }
  std::string text(file.size(), '\0');
  MLPSERVE_RETURN_IF_ERROR(file.ReadAt(0, std::as_writable_bytes(std::span(text))));
  return text;
}

}  // namespace mlpserve
