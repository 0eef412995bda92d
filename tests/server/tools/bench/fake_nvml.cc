// One card, at 0000:01:00.0, whose clock falls from look to look.
#include <cstring>

namespace {
unsigned clock_mhz = 2000;
int card = 0;
}  // namespace

extern "C" {
int nvmlInit_v2() { return 0; }
int nvmlShutdown() { return 0; }
int nvmlSystemGetDriverVersion(char* version, unsigned size) {
  std::strncpy(version, "580.00", size);
  return 0;
}
int nvmlDeviceGetHandleByPciBusId_v2(const char* id, void** found) {
  *found = &card;
  return std::strcmp(id, "0000:01:00.0") == 0 ? 0 : 6;
}
int nvmlDeviceGetClockInfo(void*, int, unsigned* mhz) {
  *mhz = clock_mhz;
  clock_mhz -= 2;
  return 0;
}
int nvmlDeviceGetPowerUsage(void*, unsigned* milliwatts) {
  *milliwatts = 650500;
  return 0;
}
int nvmlDeviceGetEnforcedPowerLimit(void*, unsigned* milliwatts) {
  *milliwatts = 700000;
  return 0;
}
int nvmlDeviceGetTemperature(void*, int, unsigned* celsius) {
  *celsius = 61;
  return 0;
}
}
