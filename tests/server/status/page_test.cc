#include "server/status/page.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace mlpserve {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;

StatusView View() {
  StatusView view{
      .version = "0.1.0", .backend = "cpu", .devices = {"CPU, 2 threads"}, .ready = true};
  view.uptime = std::chrono::seconds(3 * 3600 + 125);
  view.memory_bytes = 65 << 20;
  BlockView block{.name = "digits", .version = 1, .state = BlockState::kReady};
  block.signature = "x FP32 [64] → logits FP32 [10]";
  block.memory = BlockMemory{.weights = 100'000, .buffers = 23'456};
  block.lately = {.requests_per_second = 38'992.4,
                  .rows_per_second = 77'984,
                  .failures_per_second = 0.25,
                  .fill = 0.87,
                  .p50 = std::chrono::microseconds(156),
                  .p99 = std::chrono::microseconds(3400)};
  block.queue = QueueState{.queued_rows = 512, .queued_rows_limit = 65'536};
  view.blocks = {block};
  return view;
}

TEST(PageTest, SaysWhatIsKnown) {
  const std::string page = RenderPage(View());
  for (const char* said :
       {"<!doctype html>", ">ready<", "up 3 h 2 min", "65.0 MiB", "digits", "v1", "READY",
        "x FP32 [64] → logits FP32 [10]", "38,992", "77,984", "156 µs", "3.4 ms", "0.2", "87%",
        "512 rows", "121 KiB", "CPU, 2 threads", "backend cpu", "1 of 1"}) {
    EXPECT_THAT(page, HasSubstr(said));
  }
}

TEST(PageTest, NamesThatHoldMarkupStayText) {
  StatusView view = View();
  const std::string markup = "<script>alert('x')</script>\"&";
  view.blocks[0].name = view.blocks[0].reason = view.blocks[0].signature = markup;
  view.devices = view.losses = {markup};
  view.reason = view.version = view.backend = markup;
  view.device_states = {{.device = markup}};
  const std::string page = RenderPage(view);
  EXPECT_THAT(page, Not(HasSubstr("<script>alert")));
  EXPECT_THAT(page, HasSubstr("&lt;script&gt;alert(&#39;x&#39;)&lt;/script&gt;&quot;&amp;"));
}

TEST(PageTest, ABlockThatIsNotThereYetOrFailed) {
  StatusView view = View();
  view.ready = false;
  view.reason = "wide is LOADING";
  view.blocks = {{.name = "wide", .version = 0, .state = BlockState::kLoading},
                 {.name = "bad", .version = 3, .state = BlockState::kFailed, .reason = "fc0: no"}};
  EXPECT_THAT(RenderPage(view),
              AllOf(HasSubstr(">not ready<"), HasSubstr("wide is LOADING"),
                    HasSubstr("busy\">LOADING"), HasSubstr("bad\">UNAVAILABLE"),
                    HasSubstr("fc0: no"), HasSubstr("0 of 2"), Not(HasSubstr("v0"))));
  view.blocks.clear();
  EXPECT_THAT(RenderPage(view), HasSubstr("There is no block"));
}

TEST(PageTest, DevicesAsFarAsTheDriverTells) {
  StatusView view = View();
  view.device_states = {{.device = "0",
                         .memory_used_bytes = 70.0 * (1 << 30),
                         .memory_total_bytes = 140.0 * (1 << 30),
                         .utilization_ratio = 0.5,
                         .power_watts = 312.4},
                        {.device = "1"}};
  view.losses = {"no NVRTC"};
  EXPECT_THAT(RenderPage(view),
              AllOf(HasSubstr("GPU 0"), HasSubstr("70.0 GiB of 140 GiB"), HasSubstr("312 W"),
                    HasSubstr("GPU 1"), HasSubstr("no NVRTC")));
}

TEST(PageTest, MemoryOfDevicesComesFirst) {
  StatusView view = View();
  view.blocks[0].memory->device = int64_t{3} << 30;
  EXPECT_THAT(RenderPage(view), AllOf(HasSubstr("3.0 GiB<br>"), HasSubstr("host 121 KiB")));
  view.blocks[0].memory.reset();
  EXPECT_THAT(RenderPage(view), HasSubstr("<td data-of=\"memory\">–</td>"));
}

TEST(PageTest, AQueueWithoutALimitIsNoNumber) {
  StatusView view = View();
  view.blocks[0].queue = QueueState{};
  EXPECT_THAT(RenderPage(view), Not(HasSubstr("nan")));
}

TEST(PageTest, BringsAllAlong) {
  const std::string page = RenderPage(View());
  EXPECT_THAT(page, Not(HasSubstr("http://")));
  EXPECT_THAT(page, Not(HasSubstr("https://")));
  EXPECT_THAT(page, Not(HasSubstr("src=")));
}

}  // namespace
}  // namespace mlpserve
