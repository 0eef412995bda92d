#include "client/load/shared_rows.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <system_error>

#include "absl/strings/str_cat.h"

namespace mlpserve::load {
namespace {

std::string NewKey() {
  static std::atomic<int> count = 0;
  return absl::StrCat("/mlpserve-load-", getpid(), "-", count++);
}

absl::Status Failed(std::string_view what, const std::string& key, int error) {
  const std::string message = absl::StrCat("shared memory ", key, ": ", std::string(what), ": ",
                                           std::generic_category().message(error));
  return error == ENOSPC ? absl::ResourceExhaustedError(message) : absl::UnavailableError(message);
}

}  // namespace

absl::StatusOr<std::unique_ptr<SharedRows>> SharedRows::Create(int64_t bytes) {
  const std::string key = NewKey();
  const int descriptor = shm_open(key.c_str(), O_RDWR | O_CREAT | O_EXCL, 0600);
  if (descriptor < 0) return Failed("it cannot be made", key, errno);
  std::unique_ptr<SharedRows> rows(new SharedRows(key, descriptor, bytes));
  const int error = posix_fallocate(descriptor, 0, bytes);
  if (error != 0) return Failed(absl::StrCat("expected room for ", bytes, " bytes"), key, error);
  return rows;
}

SharedRows::~SharedRows() {
  close(descriptor_);
  shm_unlink(key_.c_str());
}

absl::Status SharedRows::Write(int64_t offset, std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t count = pwrite(descriptor_, bytes.data(), bytes.size(), offset);
    if (count <= 0) return Failed("it cannot be written", key_, errno);
    bytes.remove_prefix(static_cast<size_t>(count));
    offset += count;
  }
  return absl::OkStatus();
}

absl::StatusOr<std::string> SharedRows::Read(int64_t offset, int64_t bytes) const {
  std::string read(static_cast<size_t>(bytes), '\0');
  for (size_t done = 0; done < read.size();) {
    const ssize_t count = pread(descriptor_, read.data() + done, read.size() - done,
                                offset + static_cast<off_t>(done));
    if (count <= 0) return Failed("it cannot be read", key_, errno);
    done += static_cast<size_t>(count);
  }
  return read;
}

}  // namespace mlpserve::load
