#include "server/machine/processor_name.h"

#include <fstream>

namespace mlpserve {

std::string ProcessorName() {
  std::ifstream file("/proc/cpuinfo");
  for (std::string line; std::getline(file, line);) {
    const size_t colon = line.find(": ");
    if (line.compare(0, 10, "model name") != 0 || colon == std::string::npos) continue;
    return line.substr(colon + 2);
  }
  return "processor";
}

}  // namespace mlpserve
