// Which blocks of a repository have changed since they were taken, and have stopped changing.
//
// Pure: it is told what each look at the repository found, and says what to load. A change is told
// once two looks in a row have found the same: so a file that is still being written, and a folder
// that is just being replaced, wait.
#pragma once

#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "server/model/file_signature.h"

namespace mlpserve {

class RepositoryWatch {
 public:
  using Signatures = std::map<std::string, BlockSignature>;  // by block

  struct Change {
    std::string name;
    bool gone = false;           // there is no such block any more
    std::set<int64_t> versions;  // whose files are others than those that were taken

    bool operator==(const Change&) const = default;
  };

  // What is loaded at first.
  explicit RepositoryWatch(Signatures taken) : taken_(std::move(taken)) {}

  // The changes that `now` shows, each once: they count as taken, whatever loading them comes to.
  std::vector<Change> Look(const Signatures& now);

 private:
  void LookAt(const std::string& name, const Signatures& now, std::vector<Change>& changes);

  Signatures taken_;
  Signatures unsettled_;  // as the last look found them, of blocks that were not as taken
};

}  // namespace mlpserve
