// What a benchmark asks of the current device beside launches. Every function ends the program
// where the runtime fails (check.h).
#pragma once

#include <cstddef>
#include <string>

namespace mlpserve::bench {

void CopyToHost(void* to, const void* from, size_t bytes);  // waits
// Sets every byte to 0xFF: NaN in every format, so that a value that nobody writes is seen.
void Poison(void* memory, size_t bytes);
size_t FreeBytes();
std::string PciBusId(int ordinal);  // "0000:1B:00.0"

}  // namespace mlpserve::bench
