// Every metric that the server exports: name, help text, type and histogram buckets, in one table.
//
// To add a metric: an entry in MetricId, a row at the same place in metric_table.cc, and a writer.
#pragma once

#include <prometheus/metric_type.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

namespace mlpserve {

// Upper bounds, inclusive, of a histogram's buckets; one more bucket holds what lies above.
// Values are counted in integers: `per_unit` of them make one of the unit that the name says.
struct HistogramBuckets {
  std::span<const uint64_t> bounds;
  double per_unit = 1;
};

// 20 µs to 10 s, four to a decade: a quantile read from them is off by at most 1.8x.
inline constexpr std::array<uint64_t, 24> kDurationBoundsNs = {
    20'000,      36'000,        63'000,        110'000,       200'000,       360'000,
    630'000,     1'100'000,     2'000'000,     3'600'000,     6'300'000,     11'000'000,
    20'000'000,  36'000'000,    63'000'000,    110'000'000,   200'000'000,   360'000'000,
    630'000'000, 1'100'000'000, 2'000'000'000, 3'600'000'000, 6'300'000'000, 10'000'000'000,
};
inline constexpr HistogramBuckets kDurationBuckets{kDurationBoundsNs, 1e9};

// 1 to 65,536 in powers of two.
inline constexpr std::array<uint64_t, 17> kRowBounds = {
    1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096, 8192, 16384, 32768, 65536};
inline constexpr HistogramBuckets kRowBuckets{kRowBounds, 1};

// 0..1 in millionths: tenths, and two more near 1, where full batches should be.
inline constexpr std::array<uint64_t, 12> kFillBoundsPpm = {100'000, 200'000, 300'000, 400'000,
                                                            500'000, 600'000, 700'000, 800'000,
                                                            900'000, 950'000, 990'000, 1'000'000};
inline constexpr HistogramBuckets kFillBuckets{kFillBoundsPpm, 1e6};

enum class MetricId : size_t {
  kRequestDuration,
  kQueueDuration,
  kComputeInputDuration,
  kComputeInferDuration,
  kComputeOutputDuration,
  kRequestRows,
  kBatchRows,
  kBatchFillRatio,
  kRequests,
  kRequestFailures,
  kRows,
  kBatches,
  kReceivedBytes,
  kSentBytes,
  kEvictions,
  kQueuedRows,
  kQueuedRowsLimit,
  kSlotsInUse,
  kSlots,
  kBlockMemory,
  kModelState,
  kModelLoadDuration,
  kModelLoadFailures,
  kReloads,
  kKernelVariantInfo,
  kBackendInfo,
  kDegraded,
  kDeviceInfo,
  kDeviceErrors,
  kDeviceEccErrors,
  kDeviceMemoryUsed,
  kDeviceMemoryTotal,
  kDeviceUtilization,
  kDevicePower,
  kDevicePowerLimit,
  kDeviceClock,
  kDeviceMemoryClock,
  kDeviceTemperature,
  kConnections,
  kConnectionsLimit,
  kConnectionsRefused,
  kUnreadBytes,
  kUnreadCancelled,
  kBuildInfo,
  kStartTime,
  // The standard metrics of a process.
  kProcessCpu,
  kProcessOpenFiles,
  kProcessMaxFiles,
  kProcessVirtualMemory,
  kProcessVirtualMemoryMax,
  kProcessResidentMemory,
  kProcessStartTime,
  // The names of Triton Inference Server, for dashboards and perf_analyzer.
  kNvRequestSuccess,
  kNvRequestFailure,
  kNvInferenceCount,
  kNvExecCount,
  kNvRequestDuration,
  kNvQueueDuration,
  kNvComputeInputDuration,
  kNvComputeInferDuration,
  kNvComputeOutputDuration,
  kNvPendingRequests,
  kNvGpuUtilization,
  kNvGpuMemoryTotal,
  kNvGpuMemoryUsed,
  kNvGpuPower,
  kNvGpuPowerLimit,
  kEnd,
};

inline constexpr size_t kMetricCount = static_cast<size_t>(MetricId::kEnd);

struct MetricInfo {
  MetricId id = MetricId::kEnd;
  const char* name = "";
  const char* help = "";
  prometheus::MetricType type = prometheus::MetricType::Untyped;
  HistogramBuckets buckets;  // of histograms only
};

const MetricInfo& Info(MetricId id);

}  // namespace mlpserve
