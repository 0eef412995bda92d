#include "server/device_gauges.h"

#include <dlfcn.h>

#include <chrono>
#include <memory>
#include <vector>

#include "absl/status/status.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace mlpserve {
namespace {

using std::chrono::milliseconds;
using std::chrono::steady_clock;
using testing::HasSubstr;
using testing::Not;

const DeviceGauges::Device kServerCard{.label = "0", .pci_bus_id = "0000:01:00.0"};
const DeviceGauges::Device kDesktopCard{.label = "1", .pci_bus_id = "0000:02:00.0"};

std::unique_ptr<DeviceGauges> OpenFake(const std::vector<DeviceGauges::Device>& devices,
                                       milliseconds patience = std::chrono::seconds(60)) {
  auto gauges = DeviceGauges::Open(devices, {.library = FAKE_NVML, .patience = patience});
  EXPECT_TRUE(gauges.ok()) << gauges.status();
  return gauges.ok() ? *std::move(gauges) : nullptr;
}

// While it lives, the library answers nothing.
class HeldLibrary {
 public:
  HeldLibrary() { Hold(true); }
  ~HeldLibrary() { Hold(false); }

 private:
  static void Hold(bool hold) {
    void* library = dlopen(FAKE_NVML, RTLD_NOW);
    reinterpret_cast<void (*)(bool)>(dlsym(library, "FakeNvmlHold"))(hold);
    dlclose(library);
  }
};

TEST(DeviceGaugesTest, TellsInTheUnitsOfTheMetrics) {
  const auto gauges = OpenFake({kServerCard});
  const std::vector<DeviceState> states = gauges->Read();
  ASSERT_EQ(states.size(), 1);
  const DeviceState& state = states.front();
  EXPECT_EQ(state.device, "0");
  EXPECT_EQ(state.uuid, "GPU-1111");
  EXPECT_EQ(state.memory_used_bytes, 400);
  EXPECT_EQ(state.memory_total_bytes, 1000);
  EXPECT_EQ(state.utilization_ratio, 0.75);
  EXPECT_EQ(state.power_watts, 650.5);
  EXPECT_EQ(state.power_limit_watts, 700);
  EXPECT_EQ(state.memory_clock_hertz, 3.2e9);
  EXPECT_EQ(state.temperature_celsius, 61);
  EXPECT_EQ(state.ecc_corrected, 5);
  EXPECT_EQ(state.ecc_uncorrected, 1);
}

TEST(DeviceGaugesTest, AsksAnewAtEachRead) {
  const auto gauges = OpenFake({kServerCard});
  const auto first = gauges->Read().front().clock_hertz;
  EXPECT_LT(gauges->Read().front().clock_hertz, first);
}

TEST(DeviceGaugesTest, KeepsTheOrderAndLeavesOutWhatADeviceDoesNotHave) {
  const auto gauges = OpenFake({kDesktopCard, kServerCard});
  const std::vector<DeviceState> states = gauges->Read();
  ASSERT_EQ(states.size(), 2);
  EXPECT_EQ(states[0].device, "1");
  EXPECT_EQ(states[0].utilization_ratio, 0);
  EXPECT_EQ(states[0].power_limit_watts, std::nullopt);
  EXPECT_EQ(states[0].ecc_uncorrected, std::nullopt);
  EXPECT_EQ(states[1].uuid, "GPU-1111");
}

TEST(DeviceGaugesTest, ALibraryThatDoesNotAnswerLeavesTheNamesAlone) {
  const auto gauges = OpenFake({kServerCard}, milliseconds(20));
  const HeldLibrary held;
  const auto begin = steady_clock::now();
  const std::vector<DeviceState> states = gauges->Read();
  EXPECT_GE(steady_clock::now() - begin, milliseconds(20));
  ASSERT_EQ(states.size(), 1);
  EXPECT_EQ(states[0].uuid, "GPU-1111");
  EXPECT_EQ(states[0].power_watts, std::nullopt);
}

TEST(DeviceGaugesTest, AnswersAgainOnceTheLibraryDoes) {
  const auto gauges = OpenFake({kServerCard}, milliseconds(20));
  {
    const HeldLibrary held;
    EXPECT_EQ(gauges->Read().front().power_watts, std::nullopt);
  }
  while (!gauges->Read().front().power_watts) {
  }
}

TEST(DeviceGaugesTest, EndsWhileTheLibraryDoesNotAnswer) {
  auto gauges = OpenFake({kServerCard}, milliseconds(20));
  const HeldLibrary held;
  (void)gauges->Read();
  gauges.reset();
}

TEST(DeviceGaugesTest, TheMetricsShowThem) {
  Metrics metrics({});
  metrics.SetDevices([gauges = std::shared_ptr<DeviceGauges>(
                          OpenFake({kServerCard, kDesktopCard}))] { return gauges->Read(); });
  const std::string text = metrics.Text();
  for (const char* line :
       {"mlpserve_device_info{device=\"0\",uuid=\"GPU-1111\"} 1\n",
        "mlpserve_device_power_limit_watts{device=\"0\"} 700\n",
        "mlpserve_device_memory_clock_hertz{device=\"1\"} 3200000000\n",
        "mlpserve_device_ecc_errors_total{device=\"0\",kind=\"corrected\"} 5\n",
        "mlpserve_device_ecc_errors_total{device=\"0\",kind=\"uncorrected\"} 1\n",
        "nv_gpu_utilization{gpu_uuid=\"GPU-1111\"} 0.75\n",
        "nv_gpu_power_limit{gpu_uuid=\"GPU-1111\"} 700\n"}) {
    EXPECT_THAT(text, HasSubstr(line));
  }
  EXPECT_THAT(text, Not(HasSubstr("mlpserve_device_ecc_errors_total{device=\"1\"")));
}

TEST(DeviceGaugesTest, SaysWhatIsMissing) {
  const auto error = [](const DeviceGauges::Device& device, const char* library) {
    return std::string(DeviceGauges::Open({device}, {.library = library}).status().message());
  };
  EXPECT_THAT(error(kServerCard, "libno-such-thing.so"), HasSubstr("no NVML: libno-such-thing.so"));
  EXPECT_THAT(error(kServerCard, "libm.so.6"), HasSubstr("libm.so.6 has no function nvmlInit_v2"));
  EXPECT_EQ(error({.label = "0", .pci_bus_id = "0000:99:00.0"}, FAKE_NVML),
            "NVML knows no device 0 at 0000:99:00.0 (6)");
}

}  // namespace
}  // namespace mlpserve
