// What mlpserve-client does for each command, written to streams.
#pragma once

#include <iosfwd>

#include "client/cli/arguments.h"

namespace mlpserve::client {

struct Streams {
  std::ostream& out;
  std::ostream& err;  // errors and progress
  bool err_is_terminal = false;
};

// Returns the exit code: 0, or 1 with one line on `err`.
int RunCommand(const Arguments& arguments, const Streams& streams);

}  // namespace mlpserve::client
