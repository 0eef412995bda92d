// Where the files lie that tests read.
#pragma once

#include <string>

namespace mlpserve {

// The root of the source tree: what the environment's MLPSERVE_SOURCE_DIR names, where a program
// was moved to another machine, else the tree that it was built from.
std::string SourceFolder();

}  // namespace mlpserve
