// digits_demo: sends the held-out digits to a running server and shows what comes back, for
// deploy/quickstart. Exit code 1: a call failed, or the server decides otherwise than float64.
#include <cstdio>
#include <iostream>
#include <span>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "client/infer_all.h"
#include "client/remote_block.h"
#include "client/tensor/classes.h"
#include "client/tensor/tensor_file.h"
#include "deploy/demo/digit_picture.h"
#include "deploy/demo/http_get.h"
#include "deploy/demo/metrics_text.h"

namespace mlpserve::demo {
namespace {

using client::Accuracy;
using client::Argmax;
using client::Client;
using client::Deadline;
using client::RemoteBlock;

constexpr char kModel[] = "digits";
constexpr auto kDeadline = std::chrono::seconds(30);
constexpr int kRounds = 20;
constexpr int64_t kRequestRows[] = {1, 5, 2, 64, 17, 3, 32, 8};  // of a round, over and over
constexpr int kInFlight = 64;
constexpr int kPicturesInALine = 5;

struct TestSet {
  std::vector<float> rows;      // [count, 64]
  std::vector<int64_t> labels;  // [count]
  std::vector<int64_t> oracle;  // [count], the decisions of the float64 forward pass
};

absl::StatusOr<std::vector<int64_t>> ReadClasses(const std::string& file, const std::string& name) {
  const absl::StatusOr<client::Tensor> tensor = client::ReadTensor({file, name}, "");
  if (!tensor.ok()) return tensor.status();
  return client::ClassesOf(*tensor);
}

absl::StatusOr<TestSet> ReadTestSet(const std::string& file) {
  const absl::StatusOr<client::Tensor> rows = client::ReadTensor({file, "x"}, "");
  if (!rows.ok()) return rows.status();
  absl::StatusOr<std::vector<int64_t>> labels = ReadClasses(file, "label");
  if (!labels.ok()) return labels.status();
  absl::StatusOr<std::vector<int64_t>> oracle = ReadClasses(file, "logits64");
  if (!oracle.ok()) return oracle.status();
  if (rows->shape.size() != 2 || rows->shape[1] != kDigitPixels ||
      rows->shape[0] != static_cast<int64_t>(labels->size()) || labels->size() != oracle->size()) {
    return absl::InvalidArgumentError(
        absl::StrCat(file, ": expected as many rows of ", kDigitPixels, " pixels as labels, found ",
                     client::Describe(*rows), " and ", labels->size(), " labels"));
  }
  return TestSet{client::ToFloats(*rows), *std::move(labels), *std::move(oracle)};
}

// The first digits that are right, and below them the first that are wrong.
void ShowPictures(const TestSet& test, std::span<const int64_t> predicted) {
  std::vector<LabelledDigit> right, wrong;
  for (size_t i = 0; i < predicted.size(); ++i) {
    auto& line = predicted[i] == test.labels[i] ? right : wrong;
    if (line.size() == kPicturesInALine) continue;
    const auto pixels = std::span(test.rows).subspan(i * kDigitPixels, kDigitPixels);
    line.push_back({pixels, predicted[i], test.labels[i]});
  }
  std::cout << '\n' << Pictures(right) << '\n';
  if (!wrong.empty()) std::cout << Pictures(wrong) << '\n';
}

std::string Microseconds(double seconds) { return absl::StrFormat("%.0f us", seconds * 1e6); }

void ShowLatency(const std::string& text, const char* label, const char* metric) {
  const std::optional<Histogram> histogram = FindHistogram(text, metric, kModel);
  if (!histogram) {
    std::cout << absl::StrFormat("  %-10s not in /metrics (%s)\n", label, metric);
    return;
  }
  std::cout << absl::StrFormat(
      "  %-10s p50 %9s   p90 %9s   p99 %9s\n", label, Microseconds(Quantile(*histogram, 0.5)),
      Microseconds(Quantile(*histogram, 0.9)), Microseconds(Quantile(*histogram, 0.99)));
}

absl::Status ShowMetrics(const std::string& http_address) {
  const absl::StatusOr<std::string> text = HttpGet(http_address, "/metrics", kDeadline);
  if (!text.ok()) return text.status();
  std::cout << "\nThe server's own figures, from http://" << http_address << "/metrics:\n";
  ShowLatency(*text, "request", "mlpserve_request_duration_seconds");
  ShowLatency(*text, "in queue", "mlpserve_queue_duration_seconds");
  ShowLatency(*text, "arithmetic", "mlpserve_compute_infer_duration_seconds");
  const std::optional<Histogram> rows = FindHistogram(*text, "mlpserve_batch_rows", kModel);
  const std::optional<Histogram> fill = FindHistogram(*text, "mlpserve_batch_fill_ratio", kModel);
  if (rows && fill) {
    std::cout << absl::StrFormat("  %d batches of %.1f rows in the mean, filled to %.1f%%\n",
                                 static_cast<int64_t>(rows->count), rows->mean(),
                                 100 * fill->mean());
  }
  return absl::OkStatus();
}

absl::Status Run(const std::string& grpc_address, const std::string& http_address,
                 const std::string& file) {
  const absl::StatusOr<TestSet> test = ReadTestSet(file);
  if (!test.ok()) return test.status();
  Client client(grpc_address);
  const absl::StatusOr<RemoteBlock> block =
      RemoteBlock::Open(client, kModel, "", Deadline::In(kDeadline));
  if (!block.ok()) return block.status();

  int64_t requests = 0;
  std::vector<int64_t> predicted;
  Accuracy accuracy, agreement;
  for (int round = 0; round < kRounds; ++round) {
    const int64_t step = kRequestRows[static_cast<size_t>(round) % std::size(kRequestRows)];
    const absl::StatusOr<std::vector<float>> scores =
        client::InferAll(*block, test->rows,
                         {.rows_per_request = step, .in_flight = kInFlight, .deadline = kDeadline});
    if (!scores.ok()) return scores.status();
    requests += (static_cast<int64_t>(test->labels.size()) + step - 1) / step;
    predicted = Argmax(*scores, block->output_features());
    accuracy = *client::Compare(predicted, test->labels);
    const Accuracy same = *client::Compare(predicted, test->oracle);
    agreement.rows += same.rows;
    agreement.right += same.right;
  }
  ShowPictures(*test, predicted);
  std::cout << absl::StrFormat("%d digits, %d times over, in %d requests of 1 to 64 rows.\n",
                               accuracy.rows, kRounds, requests);
  std::cout << absl::StrFormat("Accuracy %.1f%% (%d of %d); %d of %d decisions as in float64.\n",
                               accuracy.percent(), accuracy.right, accuracy.rows, agreement.right,
                               agreement.rows);
  if (absl::Status status = ShowMetrics(http_address); !status.ok()) return status;
  if (agreement.right == agreement.rows) return absl::OkStatus();
  return absl::InternalError("expected every decision as in float64, found another");
}

}  // namespace
}  // namespace mlpserve::demo

int main(int argc, char** argv) {
  if (argc != 4) {
    std::cerr << "Usage: digits_demo GRPC_ADDRESS HTTP_ADDRESS test.safetensors\n";
    return 2;
  }
  const absl::Status status = mlpserve::demo::Run(argv[1], argv[2], argv[3]);
  std::cout.flush();
  if (status.ok()) return 0;
  std::cerr << "digits_demo: " << absl::StatusCodeToString(status.code()) << ": "
            << status.message() << std::endl;
  return 1;
}
