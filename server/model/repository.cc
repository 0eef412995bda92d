#include "server/model/repository.h"

#include <spdlog/spdlog.h>

#include <algorithm>
#include <charconv>
#include <filesystem>
#include <optional>
#include <string_view>
#include <system_error>
#include <utility>

#include "absl/strings/str_cat.h"
#include "kernels/status/status_macros.h"
#include "server/model/model_reader.h"
#include "server/text/utf8.h"

namespace mlpserve {
namespace {

namespace fs = std::filesystem;

// The entries of a folder, by name.
absl::StatusOr<std::vector<fs::path>> List(const fs::path& directory) {
  std::vector<fs::path> entries;
  std::error_code error;
  fs::directory_iterator at(directory, error);
  while (!error && at != fs::directory_iterator()) {
    entries.push_back(at->path());
    at.increment(error);
  }
  if (error) {
    return absl::UnavailableError(absl::StrCat(directory.string(), ": ", error.message()));
  }
  std::sort(entries.begin(), entries.end());
  return entries;
}

constexpr size_t kMostNameBytes = 255;  // what file systems take

// Why a block cannot have this name; empty if it can.
std::string ReasonAgainstName(const std::string& name) {
  if (name.empty()) return "its name is empty";
  if (name.size() > kMostNameBytes) return "its name is longer than 255 bytes";
  if (name.front() == '.') return "its name begins with a dot";
  if (name.find('/') != std::string::npos) return "its name holds a slash";
  if (Printable(name) != name) return "its name holds control characters or is not UTF-8";
  return "";
}

// Why an entry of the repository cannot be a block's folder; empty if it can.
std::string ReasonToIgnore(const fs::path& path) {
  std::string reason = ReasonAgainstName(path.filename().string());
  if (!reason.empty()) return reason;
  std::error_code error;
  if (fs::symlink_status(path, error).type() == fs::file_type::not_found) {
    return "there is nothing of that name";
  }
  const fs::file_status target = fs::status(path, error);
  if (target.type() == fs::file_type::not_found) return "a symbolic link that leads nowhere";
  if (error) return error.message();
  return fs::is_directory(target) ? "" : "not a folder";
}

// What lies in a block's folder.
struct BlockFolder {
  std::vector<int64_t> versions;  // ascending
  bool has_model_json = false;
  bool has_config_pbtxt = false;
  std::vector<IgnoredPath> ignored;
};

absl::StatusOr<BlockFolder> ListBlock(const fs::path& directory) {
  MLPSERVE_ASSIGN_OR_RETURN(const std::vector<fs::path> entries, List(directory));
  BlockFolder found;
  for (const fs::path& path : entries) {
    const std::string name = path.filename().string();
    std::error_code error;
    if (name == "model.json") {
      found.has_model_json = true;
    } else if (name == "config.pbtxt") {
      found.has_config_pbtxt = true;
    } else if (fs::is_directory(path, error)) {
      if (const std::optional<int64_t> version = ParseVersionName(name)) {
        found.versions.push_back(*version);
      } else {
        found.ignored.push_back({path.string(), "its name is no version: an integer from 1 on"});
      }
    } else if (fs::is_symlink(path, error) && !fs::exists(path, error)) {
      found.ignored.push_back({path.string(), "a symbolic link that leads nowhere"});
    }
  }
  std::sort(found.versions.begin(), found.versions.end());
  return found;
}

// Why there is nothing to load in a block's folder.
absl::Status NoVersion(const std::string& directory, const BlockFolder& folder) {
  std::string found;
  for (const IgnoredPath& path : folder.ignored) {
    absl::StrAppend(&found, found.empty() ? "" : ", ",
                    Printable(fs::path(path.path).filename().string()), " (", path.reason, ")");
  }
  return absl::NotFoundError(
      absl::StrCat(directory, ": expected a version folder, named by an integer from 1 on, found ",
                   found.empty() ? "none" : found));
}

void FillVersions(const std::vector<int64_t>& present, RepositoryBlock& block) {
  const VersionPolicy& policy = block.config->version_policy;
  block.versions = SelectVersions(policy, present);
  block.fallbacks.clear();
  if (policy.kind != VersionPolicy::Kind::kLatest) return;
  block.fallbacks.assign(present.rbegin() + static_cast<int64_t>(block.versions.size()),
                         present.rend());
}

RepositoryBlock BlockOf(const fs::path& path, const BlockFolder& folder) {
  RepositoryBlock block{.name = path.filename().string(),
                        .directory = path.string(),
                        .config = NoVersion(path.string(), folder)};
  if (folder.versions.empty()) return block;
  block.config = ReadConfig(block.directory);
  if (block.config.ok()) FillVersions(folder.versions, block);
  return block;
}

RepositoryBlock Unreadable(const fs::path& path, const absl::Status& status) {
  return {.name = path.filename().string(), .directory = path.string(), .config = status};
}

std::string ReasonWithoutModelJson(const BlockFolder& folder) {
  return folder.has_config_pbtxt
             ? "no model.json in it, but Triton's config.pbtxt: a model for Triton, to be exported "
               "again with mlpserve.export"
             : "no model.json in it";
}

void ScanFolder(const fs::path& path, RepositoryScan& scan) {
  const absl::StatusOr<BlockFolder> folder = ListBlock(path);
  if (!folder.ok()) {
    if (path.filename() == "lost+found") {
      scan.ignored.push_back({path.string(), "a file system's own folder"});
    } else {
      scan.blocks.push_back(Unreadable(path, folder.status()));
    }
    return;
  }
  if (!folder->has_model_json) {
    scan.ignored.push_back({path.string(), ReasonWithoutModelJson(*folder)});
    return;
  }
  scan.blocks.push_back(BlockOf(path, *folder));
  scan.ignored.insert(scan.ignored.end(), folder->ignored.begin(), folder->ignored.end());
}

}  // namespace

absl::StatusOr<RepositoryScan> ScanRepository(const std::string& directory) {
  std::error_code error;
  const fs::file_status target = fs::status(directory, error);
  if (target.type() == fs::file_type::not_found) {
    return absl::NotFoundError(absl::StrCat(directory, ": no such folder"));
  }
  if (error) return absl::UnavailableError(absl::StrCat(directory, ": ", error.message()));
  if (!fs::is_directory(target)) {
    return absl::InvalidArgumentError(
        absl::StrCat(directory, ": expected a folder of blocks, found a file"));
  }
  MLPSERVE_ASSIGN_OR_RETURN(const std::vector<fs::path> entries, List(directory));
  RepositoryScan scan;
  for (const fs::path& path : entries) {
    std::string reason = ReasonToIgnore(path);
    if (reason.empty()) {
      ScanFolder(path, scan);
    } else {
      scan.ignored.push_back({path.string(), std::move(reason)});
    }
  }
  return scan;
}

absl::StatusOr<RepositoryBlock> ScanBlock(const std::string& repository, const std::string& name) {
  const fs::path path = fs::path(repository) / name;
  std::string reason = ReasonAgainstName(name);
  if (reason.empty()) reason = ReasonToIgnore(path);
  if (reason.empty()) {
    const absl::StatusOr<BlockFolder> folder = ListBlock(path);
    if (!folder.ok()) return Unreadable(path, folder.status());
    if (folder->has_model_json) return BlockOf(path, *folder);
    reason = ReasonWithoutModelJson(*folder);
  }
  return absl::NotFoundError(
      absl::StrCat("no block ", Printable(QuotedShort(name)), " in ", repository, ": ", reason));
}

absl::Status CheckBlockName(const std::string& name) {
  const std::string reason = ReasonAgainstName(name);
  if (reason.empty()) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat("expected the name of a block's folder, found one that cannot be: ", reason));
}

std::optional<int64_t> ParseVersionName(const std::string& name) {
  int64_t version = 0;
  const char* end = name.data() + name.size();
  const auto [stopped, error] = std::from_chars(name.data(), end, version);
  if (error != std::errc() || stopped != end || version < 1 || name.front() == '0') {
    return std::nullopt;
  }
  return version;
}

void SetConfig(BlockConfig config, RepositoryBlock& block) {
  config.directory = block.directory;
  const absl::StatusOr<BlockFolder> folder = ListBlock(block.directory);
  block.config = std::move(config);
  if (folder.ok() && !folder->versions.empty()) {
    FillVersions(folder->versions, block);
  } else {
    block.config = folder.ok() ? NoVersion(block.directory, *folder) : folder.status();
  }
}

std::vector<int64_t> SelectVersions(const VersionPolicy& policy,
                                    const std::vector<int64_t>& present) {
  switch (policy.kind) {
    case VersionPolicy::Kind::kAll:
      return present;
    case VersionPolicy::Kind::kListed:
      return policy.listed;
    case VersionPolicy::Kind::kLatest:
      break;
  }
  const auto count =
      std::min(static_cast<int64_t>(present.size()), std::max<int64_t>(policy.latest, 0));
  return {present.end() - count, present.end()};
}

void LogIgnored(const RepositoryScan& scan) {
  for (const IgnoredPath& path : scan.ignored) {
    spdlog::info("model repository: {} ignored: {}", Printable(path.path), path.reason);
  }
}

}  // namespace mlpserve
