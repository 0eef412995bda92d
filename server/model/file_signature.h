// What tells whether a file is still the one that was seen before, without reading it.
#pragma once

#include <cstdint>
#include <map>
#include <string>

namespace mlpserve {

struct RepositoryBlock;

// All zero where there is no file. The time of the last change of the inode catches a copy that
// keeps the time of its source.
struct FileSignature {
  uint64_t device = 0;
  uint64_t inode = 0;
  int64_t bytes = 0;
  int64_t written_ns = 0;
  int64_t changed_ns = 0;

  bool operator==(const FileSignature&) const = default;
};

FileSignature SignatureOf(const std::string& path);  // symbolic links are followed

// Of everything that a block is loaded from.
struct BlockSignature {
  FileSignature model_json;
  std::map<int64_t, FileSignature> weights;  // by version; of those that may be loaded

  bool operator==(const BlockSignature&) const = default;
};

BlockSignature SignatureOf(const RepositoryBlock& block);

// The weights of a version of the block in this folder.
std::string WeightsPath(const std::string& block_directory, int64_t version);

}  // namespace mlpserve
