// What mlpserve-load does, written to streams and files.
#pragma once

#include <iosfwd>

#include "client/load/arguments.h"

namespace mlpserve::load {

struct Streams {
  std::ostream& out;
  std::ostream& err;  // errors and progress
  bool err_is_terminal = false;
};

// Returns the exit code: 0, or 1 with one line on `err`.
int RunLoadTest(const Arguments& arguments, const Streams& streams);

}  // namespace mlpserve::load
