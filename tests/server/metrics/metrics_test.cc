#include "server/metrics/metrics.h"

#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <sstream>
#include <thread>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "server/metrics/http_server.h"
#include "server/metrics/metric_table.h"
#include "tests/server/metrics/http_client.h"
#include "tests/source_folder.h"

namespace mlpserve {
namespace {

using std::chrono::microseconds;
using std::chrono::milliseconds;
using std::chrono::nanoseconds;
using testing::HasSubstr;
using testing::Not;

const BuildInfo kBuild = {.version = "0.1.0", .commit = "0123abc", .compiler = "g++ 12.2"};

RequestSample Sample(int64_t rows) {
  return {.total = microseconds(150),
          .queue = microseconds(20),
          .compute_input = microseconds(3),
          .compute_infer = microseconds(90),
          .compute_output = microseconds(4),
          .rows = rows,
          .received_bytes = 256 * rows,
          .sent_bytes = 40 * rows,
          .done = std::chrono::steady_clock::now()};
}

// A little of everything that a server with one block on the CPU shows.
void PlayScenario(Metrics& metrics) {
  const auto block = metrics.AddBlock("digits", 1);
  block->RecordRequest(Sample(1));
  block->RecordRequest(Sample(6));
  block->RecordBatch({7, 8, microseconds(3), microseconds(90), microseconds(4)});
  block->RecordFailure(absl::StatusCode::kDeadlineExceeded, milliseconds(5));
  block->RecordEviction(Eviction::kDeadline);
  metrics.SetQueue("digits", 1, [] {
    return QueueState{.pending_requests = 2,
                      .queued_rows = 9,
                      .queued_rows_limit = 65536,
                      .slots_in_use = 1,
                      .slots = 3};
  });
  metrics.SetMemory("digits", 1, [] {
    return BlockMemory{.weights = 70000, .buffers = 512, .buffers_reserved = 4096, .device = 9};
  });
  metrics.SetVariants("digits", 1, {{"fc0", 8, "onednn"}, {"fc1", 8, "onednn"}});
  metrics.RecordLoad("digits", 1, milliseconds(250));
  metrics.RecordLoadFailure("broken");
  metrics.RecordRefusal(absl::StatusCode::kNotFound);
  metrics.SetModelStates([] {
    return std::vector<ModelStatus>{{"broken", 0, BlockState::kFailed},
                                    {"digits", 1, BlockState::kReady}};
  });
  metrics.SetConnections(
      [] { return ConnectionCounts{.open = 4, .limit = 100, .refused_by_limit = 7}; });
  metrics.SetBackend("cpu", "a processor, AVX2");
  metrics.SetDegraded(Degradation::kNoGpu, true);
}

std::vector<DeviceState> OneDevice() {
  return {{.device = "0",
           .uuid = "GPU-1",
           .memory_used_bytes = 1e9,
           .memory_total_bytes = 24e9,
           .utilization_ratio = 0.5,
           .power_watts = 300,
           .power_limit_watts = 450,
           .clock_hertz = 2.5e9,
           .memory_clock_hertz = 1e10,
           .temperature_celsius = 61,
           .ecc_corrected = 3,
           .ecc_uncorrected = 0,
           .errors = {{"719", 1}}}};
}

// The text without the families whose names begin with `prefix`.
std::string Without(const std::string& prefix, const std::string& text) {
  std::istringstream lines(text);
  std::string kept;
  for (std::string line; std::getline(lines, line);) {
    const bool comment = line.starts_with("# ");
    if (line.substr(comment ? 7 : 0).starts_with(prefix)) continue;
    kept += line + "\n";
  }
  return kept;
}

// What promtool, of Debian's package prometheus, finds wrong with the text; empty: nothing.
std::string PromtoolComplaint(const std::string& text) {
  const std::string path = testing::TempDir() + "mlpserve_promtool_input";
  std::ofstream(path) << text;
  FILE* promtool = popen(("promtool check metrics < " + path + " 2>&1").c_str(), "r");
  std::string said;
  for (int c = 0; promtool != nullptr && (c = std::fgetc(promtool)) != EOF;) {
    said += static_cast<char>(c);
  }
  const int status = promtool == nullptr ? -1 : pclose(promtool);
  std::remove(path.c_str());
  if (status != 0) said += "(exit status " + std::to_string(status) + ")";
  return said;
}

TEST(Metrics, ShowsTheGoldenTextForASmallScenario) {
  Metrics metrics(kBuild);
  PlayScenario(metrics);
  const std::string shown =
      Without("process_", Without("mlpserve_start_time_seconds", metrics.Text()));
  const std::string golden = SourceFolder() + "/tests/server/metrics/scenario.prom";
  std::ostringstream expected;
  expected << std::ifstream(golden).rdbuf();
  if (shown == expected.str()) return;
  const std::string path = testing::TempDir() + "scenario.prom";
  std::ofstream(path) << shown;
  FAIL() << "differs from " << golden << "; what was shown is in " << path;
}

TEST(Metrics, PromtoolFindsNothingToSayAboutTheLiveOutput) {
  Metrics metrics(kBuild);
  PlayScenario(metrics);
  metrics.SetDevices(OneDevice);
  metrics.AddBlock("second", 3)->RecordRequest(Sample(2));
  const auto server = HttpServer::Start(
      {.address = "127.0.0.1:0"},
      {.metrics = [&] { return metrics.Text(); }, .readiness = [] { return absl::OkStatus(); }});
  ASSERT_TRUE(server.ok()) << server.status();
  const std::string text = Get((*server)->port(), "/metrics").body;
  EXPECT_THAT(text, HasSubstr("mlpserve_request_duration_seconds_bucket"));
  EXPECT_EQ(PromtoolComplaint(Without("nv_", text)), "");
}

TEST(Metrics, PromtoolWouldComplainOfABadName) {
  EXPECT_NE(PromtoolComplaint("# HELP requests x\n# TYPE requests counter\nrequests 1\n"), "");
}

TEST(Metrics, ShowsEveryMetricOfTheTableWhenEverySourceIsThere) {
  Metrics metrics(kBuild);
  PlayScenario(metrics);
  metrics.RecordReload("digits");
  metrics.SetDevices(OneDevice);
  const std::string text = metrics.Text();
  for (size_t i = 0; i < kMetricCount; ++i) {
    const char* name = Info(static_cast<MetricId>(i)).name;
    EXPECT_THAT(text, HasSubstr(std::string("\n# TYPE ") + name + " ")) << name;
  }
}

TEST(Metrics, ShowsNothingWhoseSourceIsNotThere) {
  const std::string text = Metrics(kBuild).Text();
  for (const char* name : {"mlpserve_device", "nv_gpu", "mlpserve_connections", "mlpserve_slots",
                           "mlpserve_backend_info", "mlpserve_model_state"}) {
    EXPECT_THAT(text, Not(HasSubstr(name)));
  }
  EXPECT_THAT(text, HasSubstr("mlpserve_degraded{reason=\"no_gpu\"} 0\n"));
}

TEST(Metrics, ShowsOfADeviceWhatItsDriverTells) {
  Metrics metrics(kBuild);
  metrics.SetDevices([] { return std::vector<DeviceState>{{.device = "1", .power_watts = 90}}; });
  const std::string text = metrics.Text();
  EXPECT_THAT(text, HasSubstr("mlpserve_device_power_watts{device=\"1\"} 90\n"));
  EXPECT_THAT(text, Not(HasSubstr("mlpserve_device_memory")));
}

TEST(Metrics, AVersionThatIsAddedAgainGoesOnCounting) {
  Metrics metrics(kBuild);
  metrics.AddBlock("m", 1)->RecordRequest(Sample(1));
  metrics.AddBlock("m", 1)->RecordRequest(Sample(1));
  EXPECT_EQ(metrics.AddBlock("m", 1)->Statistics().success.count, 2);
  EXPECT_EQ(metrics.AddBlock("m", 2)->Statistics().success.count, 0);
}

TEST(Metrics, ARemovedBlockIsShownNoMoreAndCanStillBeRecordedTo) {
  Metrics metrics(kBuild);
  const auto block = metrics.AddBlock("m", 1);
  metrics.SetQueue("m", 1, [] { return QueueState{}; });
  metrics.RecordLoad("m", 1, milliseconds(1));
  EXPECT_THAT(metrics.Text(), HasSubstr("model=\"m\",version=\"1\""));
  metrics.RemoveBlock("m", 1);
  metrics.RemoveBlock("m", 1);
  metrics.RemoveBlock("never there", 7);
  block->RecordRequest(Sample(1));
  EXPECT_THAT(metrics.Text(), Not(HasSubstr("model=\"m\",version=\"1\"")));
}

TEST(Metrics, AnEmptyReaderEndsAGauge) {
  Metrics metrics(kBuild);
  metrics.AddBlock("m", 1);
  metrics.SetQueue("m", 1, [] { return QueueState{.slots = 3}; });
  metrics.SetConnections([] { return ConnectionCounts{.open = 1}; });
  EXPECT_THAT(metrics.Text(), HasSubstr("mlpserve_slots{model=\"m\",version=\"1\"} 3\n"));
  metrics.SetQueue("m", 1, nullptr);
  metrics.SetConnections(nullptr);
  EXPECT_THAT(metrics.Text(), Not(HasSubstr("mlpserve_slots{")));
  EXPECT_THAT(metrics.Text(), Not(HasSubstr("mlpserve_connections")));
}

// Its destructor calls back, as that of a block might that a reader kept alive.
struct CallsBack {
  explicit CallsBack(Metrics& called) : metrics(called) {}
  ~CallsBack() { metrics.SetBackend("gone", ""); }
  Metrics& metrics;
};

TEST(Metrics, WhatAReaderHeldIsDestroyedOutsideTheLock) {
  Metrics metrics(kBuild);
  const auto hold = [&metrics](auto value) {
    return [held = std::make_shared<CallsBack>(metrics), value] { return value; };
  };
  metrics.AddBlock("m", 1);
  metrics.SetQueue("m", 1, hold(QueueState{}));
  metrics.SetQueue("m", 1, hold(QueueState{}));
  metrics.RemoveBlock("m", 1);
  metrics.SetConnections(hold(ConnectionCounts{.open = 1}));
  metrics.SetConnections(nullptr);
  metrics.SetModelStates(hold(std::vector<ModelStatus>()));
  metrics.SetModelStates(nullptr);
  metrics.SetDevices(hold(std::vector<DeviceState>()));
  metrics.SetDevices(nullptr);
  EXPECT_THAT(metrics.Text(), HasSubstr("backend=\"gone\""));
}

TEST(Metrics, ARequestForABlockThatIsNotThereCountsWithoutAModel) {
  Metrics metrics(kBuild);
  metrics.RecordRefusal(absl::StatusCode::kNotFound);
  metrics.RecordRefusal(absl::StatusCode::kNotFound);
  const std::string text = metrics.Text();
  EXPECT_THAT(text, HasSubstr("\nmlpserve_request_failures_total{code=\"NOT_FOUND\"} 2\n"));
  EXPECT_THAT(text, HasSubstr("\nmlpserve_requests_total 2\n"));
}

TEST(Metrics, LabelsThatNeedEscapingStayOneValidLine) {
  Metrics metrics(kBuild);
  metrics.AddBlock("a\"b\\c\nd\xc3\xa9", 1)->RecordRequest(Sample(1));
  const std::string text = metrics.Text();
  EXPECT_THAT(text, HasSubstr(R"(model="a\"b\\c\nd)"));
  EXPECT_EQ(PromtoolComplaint(Without("nv_", text)), "");
}

TEST(Metrics, BlocksComeAndGoWhileThreadsScrapeAndRecord) {
  Metrics metrics(kBuild);
  std::atomic<bool> stop = false;
  std::atomic<int> scrapes = 0;
  std::thread scraper([&] {
    for (; !stop; ++scrapes) EXPECT_THAT(metrics.Text(), HasSubstr("mlpserve_build_info"));
  });
  std::thread refuser([&] {
    while (!stop) metrics.RecordRefusal(absl::StatusCode::kNotFound);
  });
  for (int i = 0; i < 200 || scrapes < 50; ++i) {
    auto queue = std::make_unique<QueueState>(QueueState{.slots = 3});
    const auto block = metrics.AddBlock("m", 1 + i % 3);
    metrics.SetQueue("m", 1 + i % 3, [&queue = *queue] { return queue; });
    block->RecordRequest(Sample(1));
    metrics.RemoveBlock("m", 1 + i % 3);
  }
  stop = true;
  scraper.join();
  refuser.join();
}

TEST(Metrics, ManyBlocksShowLessEachSoThatAScrapeStaysSmall) {
  Metrics metrics({});
  const auto add = [&](size_t first, size_t last) {
    for (size_t i = first; i < last; ++i) {
      metrics.AddBlock("m" + std::to_string(i), 1)->RecordRequest(Sample(1));
    }
  };
  add(0, Metrics::kDetailedBlocks);
  EXPECT_THAT(metrics.Text(), HasSubstr("mlpserve_queue_duration_seconds_bucket{model=\"m0\""));
  EXPECT_THAT(metrics.Text(), HasSubstr("mlpserve_evictions_total{model=\"m0\""));
  add(Metrics::kDetailedBlocks, 300);
  const std::string text = metrics.Text();
  EXPECT_LT(text.size(), 1'500'000u);
  EXPECT_THAT(text, HasSubstr("mlpserve_request_duration_seconds_bucket{model=\"m299\""));
  EXPECT_THAT(text, HasSubstr("nv_inference_queue_duration_us{model=\"m299\""));
  EXPECT_THAT(text, Not(HasSubstr("mlpserve_queue_duration_seconds")));
  EXPECT_THAT(text, Not(HasSubstr("mlpserve_evictions_total{")));
}

TEST(Metrics, ReloadsAreShownFromTheFirstOn) {
  Metrics metrics({});
  metrics.RecordLoad("digits", 1, milliseconds(250));
  EXPECT_THAT(metrics.Text(), Not(HasSubstr("mlpserve_reloads")));
  metrics.RecordReload("digits");
  EXPECT_THAT(metrics.Text(), HasSubstr("mlpserve_reloads_total{model=\"digits\"} 1\n"));
}

}  // namespace
}  // namespace mlpserve
