// A model repository of small blocks, for tests of what loads one.
#pragma once

#include <array>
#include <span>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"
#include "server/model/repository.h"
#include "server/safetensors/writer.h"
#include "tests/server/temporary_folder.h"

namespace mlpserve {

class TinyRepository {
 public:
  static constexpr int64_t kFeatures = 2;

  // Version 1 of each: one layer of kFeatures inputs and outputs.
  explicit TinyRepository(const std::vector<std::string>& names) {
    for (const std::string& name : names) Add(name);
  }

  const TemporaryFolder& folder() const { return folder_; }
  RepositoryScan Scan() const {
    auto scan = ScanRepository(folder_.path());
    EXPECT_TRUE(scan.ok()) << scan.status();
    return *std::move(scan);
  }

  static constexpr char kModelJson[] =
      R"({"input": {"name": "x", "features": 2}, "output": {"name": "y", "features": 2},
          "layers": [{"name": "fc", "weight": "w"}], "batching": {"max_rows": 4}})";

  void Add(const std::string& name) {
    folder_.Write(absl::StrCat(name, "/model.json"), kModelJson);
    AddVersion(name, 1);
  }
  // Writes, or writes anew, a version's weights.
  void AddVersion(const std::string& name, int64_t version) {
    const std::string path = absl::StrCat(name, "/", version, "/weights.safetensors");
    folder_.Write(path, "");
    const std::array<float, kFeatures * kFeatures> weights{1, 2, 3, 4};
    const TensorToWrite tensor{
        .name = "w", .shape = {kFeatures, kFeatures}, .data = std::as_bytes(std::span(weights))};
    const absl::Status written = WriteSafetensors(folder_.path(path), {&tensor, 1});
    EXPECT_TRUE(written.ok()) << written;
  }

 private:
  TemporaryFolder folder_;
};

}  // namespace mlpserve
