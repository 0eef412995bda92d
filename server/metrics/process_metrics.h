// The standard metrics of a process, process_*, as Prometheus' own clients export them.
// https://prometheus.io/docs/instrumenting/writing_clientlibs/#process-metrics
#pragma once

namespace mlpserve {

class FamilyWriter;

// Reads /proc/self; what cannot be read is left out.
void WriteProcessMetrics(FamilyWriter& writer);

}  // namespace mlpserve
