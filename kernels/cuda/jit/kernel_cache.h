// Compiled kernels on disk, one file each, named after what they were compiled from.
//
// Any number of threads and processes may share a directory: an entry appears whole (written to a
// temporary file, flushed to disk, renamed) or not at all, and is never changed. Each entry carries
// a digest of itself; one that is damaged reads as missing, and the next Write replaces it.
//
// Bound: max_bytes on disk. A Write that goes beyond removes the entries that were not read or
// written for longest, down to nine tenths of the bound, so that removing is rare. A process counts
// what others wrote only when it removes; between two removals the directory may exceed the bound
// by what the others write. The directory may be emptied at any time.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "kernels/cuda/jit/cache_limit.h"
#include "kernels/cuda/jit/nvrtc.h"

namespace mlpserve::cuda {

struct KernelCacheOptions {
  int64_t max_bytes = int64_t{1} << 30;           // some 20,000 kernels; a layer has a few
  std::function<void(const CacheTrim&)> on_trim;  // for the log; called on the thread that writes
};

class KernelCache {
 public:
  // Creates the directory where it is missing.
  // Errors: FAILED_PRECONDITION, naming the path, where it is no directory that can be used.
  static absl::StatusOr<KernelCache> Open(const std::string& directory,
                                          KernelCacheOptions options = {});

  // The key of a kernel: a digest of everything that its code depends on.
  static std::string Key(std::string_view source, const CompileOptions& options,
                         std::string_view compiler_version);

  // Returns nothing where there is no complete entry.
  std::optional<CompiledKernel> Read(const std::string& key) const;
  // Errors: UNAVAILABLE, where the disk is full or read-only. The cache is as before then.
  absl::Status Write(const std::string& key, const CompiledKernel& kernel) const;

  std::string PathOf(const std::string& key) const;

 private:
  KernelCache(std::string directory, KernelCacheOptions options);

  void Trim(const std::string& written, int64_t bytes) const;

  std::string directory_;
  KernelCacheOptions options_;
  // Bytes on disk as far as is known, a count that all copies of this object share.
  std::shared_ptr<std::atomic<int64_t>> bytes_;
};

// A kernel's entry as bytes, and back; nothing where any byte differs from what was written.
std::string EncodeEntry(const std::string& key, const CompiledKernel& kernel);
std::optional<CompiledKernel> DecodeEntry(const std::string& key, std::string_view bytes);

}  // namespace mlpserve::cuda
