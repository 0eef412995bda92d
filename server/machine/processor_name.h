#pragma once

#include <string>

namespace mlpserve {

// As the machine calls it: "Intel(R) Xeon(R) Platinum 8481C CPU @ 2.70GHz"; "processor" where it
// does not say.
std::string ProcessorName();

}  // namespace mlpserve
