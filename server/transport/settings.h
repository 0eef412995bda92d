// What TraceSetting and LogSettings answer, in Triton's words.
//
// Threads: none of their own; the level of the log is the process's.
#pragma once

#include "absl/status/status.h"
#include "proto/open_inference.pb.h"
#include "server/catalog/catalog.h"

namespace mlpserve {

// Nothing is traced: the settings say so, and a change that asks for more is refused.
// Errors: NOT_FOUND, no block of that name; INVALID_ARGUMENT, no such setting; UNIMPLEMENTED, a
// value that would trace.
absl::Status FillTraceSettings(const Catalog& catalog,
                               const inference::TraceSettingRequest& request,
                               inference::TraceSettingResponse* response);

// Reads and sets how much is logged. Triton's switches are one level here: the least severe of
// log_verbose_level (1: debug, 2 and over: trace), log_info, log_warning and log_error that is on,
// so that what is more severe is on as well.
// Errors: INVALID_ARGUMENT, no such setting or a value of another type; UNIMPLEMENTED, another file
// or format than at start. Nothing is changed then.
absl::Status ApplyLogSettings(const inference::LogSettingsRequest& request,
                              inference::LogSettingsResponse* response);

}  // namespace mlpserve
