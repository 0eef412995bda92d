// Compiled kernels on disk, one file each, named after what they were compiled from.
//
// Any number of threads and processes may share a directory: an entry appears whole (written to a
// temporary file, flushed to disk, renamed) or not at all, and is never changed. Each entry carries
// a digest of itself; one that is damaged reads as missing, and the next Write replaces it.
// Nothing is ever deleted: an entry is some tens of kilobytes, a layer has a few, and the directory
// may be emptied at any time.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "kernels/cuda/jit/nvrtc.h"

namespace mlpserve::cuda {

class KernelCache {
 public:
  // Creates the directory where it is missing.
  // Errors: FAILED_PRECONDITION, naming the path, where it is no directory that can be used.
  static absl::StatusOr<KernelCache> Open(const std::string& directory);

  // The key of a kernel: a digest of everything that its code depends on.
  static std::string Key(std::string_view source, const CompileOptions& options,
                         std::string_view compiler_version);

  // Nothing where there is no whole entry.
  std::optional<CompiledKernel> Read(const std::string& key) const;
  // Errors: UNAVAILABLE, where the disk is full or read-only. The cache is as before then.
  absl::Status Write(const std::string& key, const CompiledKernel& kernel) const;

  std::string PathOf(const std::string& key) const;

 private:
  explicit KernelCache(std::string directory) : directory_(std::move(directory)) {}

  std::string directory_;
};

// A kernel's entry as bytes, and back (nothing, where a byte is not as it was written).
std::string EncodeEntry(const std::string& key, const CompiledKernel& kernel);
std::optional<CompiledKernel> DecodeEntry(const std::string& key, std::string_view bytes);

}  // namespace mlpserve::cuda
