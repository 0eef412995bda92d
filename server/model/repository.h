// What lies in a model repository: which blocks, and which of their versions to load.
//
// A scan looks at names and reads each model.json; it loads nothing, logs nothing and keeps
// nothing, so that it can be repeated. What serves is the caller's affair.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "server/model/block_config.h"

namespace mlpserve {

struct RepositoryBlock {
  std::string name;  // of the folder
  std::string directory;
  absl::StatusOr<BlockConfig> config;  // or why the block cannot be served
  // To load, as the version policy says, ascending; empty without a config. A listed version may
  // have no folder: ReadBlock then says so.
  std::vector<int64_t> versions;
  // Of the policy `latest`: the older versions that there are, highest first. Where one of
  // `versions` fails, the next of these serves in its place.
  std::vector<int64_t> fallbacks;
};

// A file or folder that is not a block's, or not a version's.
struct IgnoredPath {
  std::string path;
  std::string reason;
};

struct RepositoryScan {
  std::vector<RepositoryBlock> blocks;  // by name
  std::vector<IgnoredPath> ignored;     // by path
};

// A block is a folder with a model.json. A version folder is named by a decimal integer from 1 to
// 2^63 - 1 without leading zeros; "0" and "01" are ignored, as Triton does, and a block that has no
// other has an error for a config. Symbolic links are followed (Kubernetes mounts consist of them);
// one that leads nowhere is ignored, and so is a name that begins with a dot or holds control
// characters or what is not UTF-8. Errors: NOT_FOUND, no such directory; INVALID_ARGUMENT, it is
// none; UNAVAILABLE, it cannot be read. A repository without blocks is none. A folder that cannot
// be read is a block with an error for a config, but for a file system's own lost+found.
absl::StatusOr<RepositoryScan> ScanRepository(const std::string& directory);

// The same for one block of the repository. Errors: NOT_FOUND, no block of this name; that it
// cannot be served is told by its config.
absl::StatusOr<RepositoryBlock> ScanBlock(const std::string& repository, const std::string& name);

// INVALID_ARGUMENT unless a folder of this name can be a block's.
absl::Status CheckBlockName(const std::string& name);

// The version that a folder's name means, if it means one.
std::optional<int64_t> ParseVersionName(const std::string& name);

// Takes `config` for the block, instead of what its model.json says, with the versions that this
// asks for.
void SetConfig(BlockConfig config, RepositoryBlock& block);

// Of the version folders that there are (ascending), those to load.
std::vector<int64_t> SelectVersions(const VersionPolicy& policy,
                                    const std::vector<int64_t>& present);

// One line of information for each.
void LogIgnored(const RepositoryScan& scan);

}  // namespace mlpserve
