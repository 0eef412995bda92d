// The process's log: one line an event on standard error, as text or as JSON.
#pragma once

#include <string>

#include "server/config.h"

namespace mlpserve {

// Sets spdlog's default logger. `level` is one of trace, debug, info, warning, error, off.
void InstallLogger(LogFormat format, const std::string& level);

}  // namespace mlpserve
