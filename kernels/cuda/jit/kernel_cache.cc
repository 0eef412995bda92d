#include "kernels/cuda/jit/kernel_cache.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <system_error>
#include <utility>

#include "absl/strings/str_cat.h"
#include "kernels/cuda/jit/sha256.h"

namespace mlpserve::cuda {
namespace {

constexpr char kEnding[] = ".kernel";

absl::Status DiskError(const char* call, const std::string& path) {
  return absl::UnavailableError(absl::StrCat(call, " ", path, ": ", std::strerror(errno)));
}

class FileDescriptor {
 public:
  explicit FileDescriptor(int fd) : fd_(fd) {}
  ~FileDescriptor() {
    if (fd_ >= 0) close(fd_);
  }
  FileDescriptor(const FileDescriptor&) = delete;
  FileDescriptor& operator=(const FileDescriptor&) = delete;
  int get() const { return fd_; }

 private:
  int fd_;
};

absl::Status WriteAndFlush(const std::string& path, std::string_view bytes) {
  const FileDescriptor file(open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644));
  if (file.get() < 0) return DiskError("open", path);
  while (!bytes.empty()) {
    const ssize_t written = write(file.get(), bytes.data(), bytes.size());
    if (written < 0 && errno == EINTR) continue;
    if (written <= 0) return DiskError("write", path);
    bytes.remove_prefix(written);
  }
  return fsync(file.get()) == 0 ? absl::OkStatus() : DiskError("fsync", path);
}

std::optional<std::string> ReadWhole(const std::string& path) {
  const FileDescriptor file(open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (file.get() < 0) return std::nullopt;
  std::string bytes;
  char part[65536];
  for (;;) {
    const ssize_t count = read(file.get(), part, sizeof(part));
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) return std::nullopt;
    if (count == 0) return bytes;
    bytes.append(part, count);
  }
}

// Flushes the directory, so that the renaming survives a power failure.
absl::Status FlushDirectory(const std::string& directory) {
  const FileDescriptor file(open(directory.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (file.get() < 0 || fsync(file.get()) != 0) return DiskError("fsync", directory);
  return absl::OkStatus();
}

}  // namespace

KernelCache::KernelCache(std::string directory, KernelCacheOptions options)
    : directory_(std::move(directory)),
      options_(std::move(options)),
      bytes_(std::make_shared<std::atomic<int64_t>>(0)) {
  Trim("", 0);
}

// After `bytes` more have been written, as `written`.
void KernelCache::Trim(const std::string& written, int64_t bytes) const {
  const bool is_first_look = written.empty();
  if (bytes_->fetch_add(bytes) + bytes <= options_.max_bytes && !is_first_look) return;
  const int64_t aim = is_first_look ? options_.max_bytes : options_.max_bytes / 10 * 9;
  const CacheTrim trim = TrimCache(directory_, kEnding, aim, written);
  *bytes_ = trim.bytes_left;
  if (trim.entries > 0 && options_.on_trim) options_.on_trim(trim);
}

absl::StatusOr<KernelCache> KernelCache::Open(const std::string& directory,
                                              KernelCacheOptions options) {
  std::error_code error;
  std::filesystem::create_directories(directory, error);
  if (!std::filesystem::is_directory(directory)) {
    return absl::FailedPreconditionError(
        absl::StrCat("kernel cache ", directory, ": expected a directory: ", error.message()));
  }
  if (access(directory.c_str(), R_OK | X_OK) != 0) {
    return absl::FailedPreconditionError(
        absl::StrCat("kernel cache ", directory, ": ", std::strerror(errno)));
  }
  return KernelCache(directory, std::move(options));
}

std::string KernelCache::Key(std::string_view source, const CompileOptions& options,
                             std::string_view compiler_version) {
  return Sha256Hex({source, options.arch, options.line_info ? "line info" : "", compiler_version});
}

std::string KernelCache::PathOf(const std::string& key) const {
  return absl::StrCat(directory_, "/", key, kEnding);
}

std::optional<CompiledKernel> KernelCache::Read(const std::string& key) const {
  const std::string path = PathOf(key);
  const std::optional<std::string> bytes = ReadWhole(path);
  if (!bytes) return std::nullopt;
  // Marks the entry as used now, so that it is not among the first to be removed. In a directory
  // of another owner this fails, which does no harm.
  (void)utimensat(AT_FDCWD, path.c_str(), nullptr, 0);
  return DecodeEntry(key, *bytes);
}

absl::Status KernelCache::Write(const std::string& key, const CompiledKernel& kernel) const {
  static std::atomic<int> writes{0};  // names the temporary file: two threads may write one key
  const std::string temporary =
      absl::StrCat(PathOf(key), ".", getpid(), ".", writes.fetch_add(1), ".tmp");
  const std::string entry = EncodeEntry(key, kernel);
  absl::Status status = WriteAndFlush(temporary, entry);
  if (status.ok() && rename(temporary.c_str(), PathOf(key).c_str()) != 0) {
    status = DiskError("rename", temporary);
  }
  if (!status.ok()) {
    unlink(temporary.c_str());
    return status;
  }
  Trim(PathOf(key), static_cast<int64_t>(entry.size()));
  return FlushDirectory(directory_);
}

}  // namespace mlpserve::cuda
