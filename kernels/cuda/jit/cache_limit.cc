#include "kernels/cuda/jit/cache_limit.h"

#include <algorithm>
#include <filesystem>
#include <system_error>
#include <vector>

namespace mlpserve::cuda {
namespace {

namespace fs = std::filesystem;

struct Entry {
  fs::path path;
  fs::file_time_type modified;
  int64_t bytes = 0;
};

std::vector<Entry> EntriesOf(const std::string& directory, const std::string& ending) {
  std::vector<Entry> entries;
  std::error_code error;
  for (fs::directory_iterator file(directory, error), end; !error && file != end;
       file.increment(error)) {
    if (file->path().extension() != ending) continue;
    std::error_code gone;  // another process may have removed the file meanwhile
    Entry entry{.path = file->path(), .modified = file->last_write_time(gone)};
    if (!gone) entry.bytes = static_cast<int64_t>(file->file_size(gone));
    if (!gone) entries.push_back(std::move(entry));
  }
  return entries;
}

}  // namespace

CacheTrim TrimCache(const std::string& directory, const std::string& ending, int64_t max_bytes,
                    const std::string& keep) {
  std::vector<Entry> entries = EntriesOf(directory, ending);
  std::ranges::sort(entries, {}, &Entry::modified);
  CacheTrim trim;
  for (const Entry& entry : entries) trim.bytes_left += entry.bytes;
  for (const Entry& entry : entries) {
    if (trim.bytes_left <= max_bytes) break;
    std::error_code error;
    if (entry.path == keep || !fs::remove(entry.path, error) || error) continue;
    ++trim.entries;
    trim.bytes += entry.bytes;
    trim.bytes_left -= entry.bytes;
  }
  return trim;
}

}  // namespace mlpserve::cuda
