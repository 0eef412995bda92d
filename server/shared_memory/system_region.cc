#include "server/shared_memory/system_region.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cctype>
#include <cerrno>
#include <string_view>
#include <system_error>
#include <utility>

#include "absl/strings/str_cat.h"
#include "kernels/status/status_macros.h"
#include "server/net/descriptor.h"
#include "server/text/utf8.h"

namespace mlpserve {
namespace {

std::string Reason(int error) { return std::generic_category().message(error); }

// What shm_open takes, and no more: it would also open "..".
absl::Status CheckKey(const std::string& key) {
  constexpr size_t kMostBytes = 254;
  std::string_view name = key;
  if (!name.empty() && name.front() == '/') name.remove_prefix(1);
  const bool plain = std::all_of(name.begin(), name.end(),
                                 [](unsigned char c) { return c != '/' && std::iscntrl(c) == 0; });
  if (plain && !name.empty() && name != "." && name != ".." && name.size() <= kMostBytes) {
    return absl::OkStatus();
  }
  return absl::InvalidArgumentError(
      absl::StrCat("key: expected a name of 1 to ", kMostBytes,
                   " bytes without control characters and without a slash but a first one, found ",
                   QuotedShort(Printable(key))));
}

absl::Status OpenError(const std::string& key, int error) {
  const std::string message = absl::StrCat("key ", QuotedShort(key), ": ", Reason(error));
  switch (error) {
    case ENOENT:
      return absl::NotFoundError(message);
    case EACCES:
      return absl::PermissionDeniedError(message);
    case EMFILE:
    case ENFILE:
    case ENOMEM:
      return absl::ResourceExhaustedError(message);
    default:
      return absl::InvalidArgumentError(message);
  }
}

class SystemRegion final : public SharedRegion {
 public:
  SystemRegion(Descriptor object, uint64_t offset, uint64_t bytes)
      : object_(std::move(object)), offset_(offset), bytes_(bytes) {}

  absl::Status Read(uint64_t offset, std::span<std::byte> to) const override {
    for (uint64_t at = offset_ + offset; !to.empty();) {
      const ssize_t count = pread(object_.get(), to.data(), to.size(), static_cast<off_t>(at));
      if (count < 0 && errno == EINTR) continue;
      if (count < 0) return absl::InvalidArgumentError(absl::StrCat("reading: ", Reason(errno)));
      if (count == 0) return CutShort();
      to = to.subspan(static_cast<size_t>(count));
      at += static_cast<uint64_t>(count);
    }
    return absl::OkStatus();
  }

  absl::Status Write(uint64_t offset, std::span<const std::byte> from) const override {
    uint64_t at = offset_ + offset;
    // Beyond its end the object would grow, and serve nobody. Where it is cut just after this, it
    // grows no further than it had been.
    if (Size() < at + from.size()) return CutShort();
    while (!from.empty()) {
      const ssize_t count = pwrite(object_.get(), from.data(), from.size(), static_cast<off_t>(at));
      if (count < 0 && errno == EINTR) continue;
      if (count <= 0) return WriteError(count < 0 ? errno : ENOSPC);
      from = from.subspan(static_cast<size_t>(count));
      at += static_cast<uint64_t>(count);
    }
    return absl::OkStatus();
  }

  uint64_t Size() const {
    struct stat status {};
    return fstat(object_.get(), &status) == 0 ? static_cast<uint64_t>(status.st_size) : 0;
  }
  bool IsMemory() const {
    struct stat status {};
    return fstat(object_.get(), &status) == 0 && S_ISREG(status.st_mode);
  }

 private:
  absl::Status CutShort() const {
    return absl::InvalidArgumentError(
        absl::StrCat("expected the ", offset_ + bytes_,
                     " bytes that its object had when it was registered, found ", Size()));
  }

  static absl::Status WriteError(int error) {
    const std::string message = absl::StrCat("writing: ", Reason(error));
    return error == ENOSPC || error == ENOMEM ? absl::ResourceExhaustedError(message)
                                              : absl::InvalidArgumentError(message);
  }

  const Descriptor object_;
  const uint64_t offset_;
  const uint64_t bytes_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<SharedRegion>> OpenSystemRegion(const std::string& key,
                                                               uint64_t offset, uint64_t bytes) {
  MLPSERVE_RETURN_IF_ERROR(CheckKey(key));
  Descriptor object(shm_open(key.c_str(), O_RDWR | O_NONBLOCK, 0));
  if (!object.valid()) return OpenError(key, errno);
  auto region = std::make_unique<SystemRegion>(std::move(object), offset, bytes);
  if (!region->IsMemory()) {
    return absl::InvalidArgumentError(
        absl::StrCat("key ", QuotedShort(key), ": expected shared memory, found another file"));
  }
  const uint64_t size = region->Size();
  if (bytes > size || offset > size - bytes) {
    return absl::InvalidArgumentError(absl::StrCat("key ", QuotedShort(key), ": expected ", bytes,
                                                   " bytes from offset ", offset,
                                                   " on, found a size of ", size));
  }
  return region;
}

}  // namespace mlpserve
