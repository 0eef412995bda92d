#include "client/load/expected_outputs.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <fstream>

#include "proto/open_inference.pb.h"

namespace mlpserve::load {
namespace {

using ::testing::HasSubstr;

// An answer with the output y, [n, 2].
inference::ModelInferResponse Answer(const std::vector<float>& values,
                                     const std::string& name = "y") {
  inference::ModelInferResponse message;
  auto& output = *message.add_outputs();
  output.set_name(name);
  output.set_datatype("FP32");
  output.add_shape(static_cast<int64_t>(values.size()) / 2);
  output.add_shape(2);
  message.add_raw_output_contents(values.data(), values.size() * sizeof(float));
  return message;
}

class ExpectedOutputsTest : public ::testing::Test {
 protected:
  ExpectedOutputsTest() {
    const std::string file = ::testing::TempDir() + "/expected.csv";
    std::ofstream(file) << "1,2\n3,nan\n500,inf\n";
    files_["y"] = {file, ""};
    expected_ = ExpectedOutputs::Read(files_, 3, 0.01).value();
  }

  std::string Error(const inference::ModelInferResponse& answer, int64_t first, int64_t rows) {
    const absl::Status status = expected_.Check(answer, first, rows);
    EXPECT_EQ(status.code(), absl::StatusCode::kDataLoss);
    return std::string(status.message());
  }

  std::map<std::string, client::TensorPath> files_;
  ExpectedOutputs expected_;
};

TEST_F(ExpectedOutputsTest, WithinTheToleranceAllIsWell) {
  EXPECT_TRUE(expected_.Check(Answer({1.005F, 1.985F}), 0, 1).ok());
  EXPECT_TRUE(expected_.Check(Answer({504, INFINITY, 1, 2}), 2, 2).ok()) << "starts again";
  EXPECT_TRUE(expected_.Check(Answer({3, NAN}), 1, 1).ok());
}

TEST_F(ExpectedOutputsTest, TheFirstDifferenceIsNamed) {
  EXPECT_THAT(Error(Answer({1, 2, 3.04F, NAN}), 0, 2),
              HasSubstr("output 'y', row 1, column 0: expected 3, found 3.04"));
  EXPECT_THAT(Error(Answer({3, 0}), 1, 1), HasSubstr("column 1: expected nan, found 0"));
  EXPECT_THAT(Error(Answer({NAN, 2}), 0, 1), HasSubstr("expected 1, found nan"));
  EXPECT_THAT(Error(Answer({500, -INFINITY}), 2, 1), HasSubstr("expected inf, found -inf"));
  EXPECT_THAT(Error(Answer({1, 2}), 0, 2), HasSubstr("expected 2 rows of 2 values, found 2"));
  EXPECT_THAT(Error(Answer({1, 2}, "z"), 0, 1), HasSubstr("expected output 'y', found none"));
  EXPECT_THAT(Error(inference::ModelInferResponse(), 0, 1), HasSubstr("output 'y', found none"));
}

TEST_F(ExpectedOutputsTest, AFileOfOtherLengthIsRefused) {
  EXPECT_THAT(std::string(ExpectedOutputs::Read(files_, 4, 0.01).status().message()),
              HasSubstr("expected.csv: expected 4 rows of output 'y', found FP32 [3,2]"));
}

}  // namespace
}  // namespace mlpserve::load
