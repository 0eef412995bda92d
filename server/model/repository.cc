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

// The version that a folder's name means, if it means one.
std::optional<int64_t> ParseVersion(const std::string& name) {
  int64_t version = 0;
  const char* end = name.data() + name.size();
  const auto [stopped, error] = std::from_chars(name.data(), end, version);
  if (error != std::errc() || stopped != end || version < 1 || name.front() == '0') {
    return std::nullopt;
  }
  return version;
}

// Why an entry of the repository cannot be a block's folder; empty if it can.
std::string ReasonToIgnore(const fs::path& path) {
  const std::string name = path.filename().string();
  if (name.front() == '.') return "its name begins with a dot";
  if (Printable(name) != name) return "its name holds control characters or is not UTF-8";
  std::error_code error;
  const fs::file_status target = fs::status(path, error);
  if (target.type() == fs::file_type::not_found) return "a symbolic link that leads nowhere";
  if (error) return error.message();
  return fs::is_directory(target) ? "" : "not a folder";
}

struct VersionFolders {
  std::vector<int64_t> versions;  // ascending
  bool has_model_json = false;
};

absl::StatusOr<VersionFolders> ListBlock(const fs::path& directory,
                                         std::vector<IgnoredPath>& ignored) {
  MLPSERVE_ASSIGN_OR_RETURN(const std::vector<fs::path> entries, List(directory));
  VersionFolders found;
  for (const fs::path& path : entries) {
    const std::string name = path.filename().string();
    std::error_code error;
    if (name == "model.json") {
      found.has_model_json = true;
    } else if (fs::is_directory(path, error)) {
      if (const std::optional<int64_t> version = ParseVersion(name)) {
        found.versions.push_back(*version);
      } else {
        ignored.push_back({path.string(), "its name is no version: an integer from 1 on"});
      }
    }
  }
  std::sort(found.versions.begin(), found.versions.end());
  return found;
}

void ScanFolder(const fs::path& path, RepositoryScan& scan) {
  std::vector<IgnoredPath> ignored;
  RepositoryBlock block;
  block.name = path.filename().string();
  block.directory = path.string();
  absl::StatusOr<VersionFolders> folders = ListBlock(path, ignored);
  if (!folders.ok()) {
    block.config = folders.status();
    scan.blocks.push_back(std::move(block));
    return;
  }
  if (!folders->has_model_json) {
    scan.ignored.push_back({path.string(), "no model.json in it"});
    return;
  }
  if (folders->versions.empty()) {
    scan.ignored.push_back({path.string(), "no version folder in it (an integer from 1 on)"});
    return;
  }
  block.config = ReadConfig(block.directory);
  if (block.config.ok()) {
    block.versions = SelectVersions(block.config->version_policy, folders->versions);
  }
  scan.blocks.push_back(std::move(block));
  scan.ignored.insert(scan.ignored.end(), ignored.begin(), ignored.end());
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
