// The golden cases of tests/goldens: models and outputs written by PyTorch in float64.
#include <cmath>
#include <filesystem>
#include <string>
#include <vector>

#include "server/model/model_reader.h"
#include "server/safetensors/reader.h"
#include "tests/conformance/conformance.h"
#include "tests/source_folder.h"

namespace mlpserve {
namespace {

struct GoldenCase {
  BlockSpec block;
  std::vector<float> x;
  std::vector<double> y;

  int64_t rows() const { return static_cast<int64_t>(x.size()) / block.input_features(); }
};

absl::StatusOr<GoldenCase> ReadCase(const std::string& folder) {
  absl::StatusOr<BlockSpec> block = ReadBlock(folder, 1);
  if (!block.ok()) return block.status();
  absl::StatusOr<SafetensorsReader> tensors =
      SafetensorsReader::Open(folder + "/cases.safetensors");
  if (!tensors.ok()) return tensors.status();
  absl::StatusOr<std::vector<float>> x = tensors->ReadFloats("x");
  if (!x.ok()) return x.status();
  absl::StatusOr<std::vector<double>> y = tensors->ReadDoubles("y");
  if (!y.ok()) return y.status();
  return GoldenCase{*std::move(block), *std::move(x), *std::move(y)};
}

std::vector<std::string> CaseFolders() {
  std::vector<std::string> folders;
  for (const auto& entry : std::filesystem::directory_iterator(SourceFolder() + "/tests/goldens")) {
    if (entry.is_directory()) folders.push_back(entry.path().string());
  }
  return folders;
}

TEST_P(BackendConformance, GoldenCasesHoldInEveryFormat) {
  const std::vector<std::string> folders = CaseFolders();
  ASSERT_GE(folders.size(), 9u);
  for (const std::string& folder : folders) {
    absl::StatusOr<GoldenCase> golden = ReadCase(folder);
    ASSERT_TRUE(golden.ok()) << golden.status();
    BlockSpec& block = golden->block;
    for (ComputeType compute : kComputeTypes) {
      for (DataType wire : kDataTypes) {
        block.compute = compute;
        block.input_type = block.output_type = wire;
        OracleResult expected = EvaluateOracle(block, golden->x, golden->rows());
        ASSERT_EQ(expected.values.size(), golden->y.size()) << folder;
        for (size_t i = 0; i < golden->y.size(); ++i) {
          ASSERT_NEAR(expected.values[i], golden->y[i], 1e-11 * (1 + std::fabs(golden->y[i])))
              << "the oracle differs from PyTorch at value " << i << " of " << folder;
        }
        expected.values = golden->y;
        const std::vector<float> actual = Run(block, golden->x, golden->rows());
        ExpectWithinBounds(block, expected, golden->x, actual, folder);
      }
    }
  }
}

}  // namespace
}  // namespace mlpserve
