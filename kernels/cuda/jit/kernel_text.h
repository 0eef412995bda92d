// One kernel as source: what is compiled, cached and loaded.
#pragma once

#include <string>

namespace mlpserve::cuda {

struct KernelText {
  std::string source;  // without includes
  std::string kernel;  // its name in the source
  std::string label;   // for messages
};

}  // namespace mlpserve::cuda
