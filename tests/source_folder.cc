#include "tests/source_folder.h"

#include <cstdlib>

namespace mlpserve {

std::string SourceFolder() {
  const char* const named = std::getenv("MLPSERVE_SOURCE_DIR");
  return named != nullptr ? named : MLPSERVE_SOURCE_DIR;
}

}  // namespace mlpserve
