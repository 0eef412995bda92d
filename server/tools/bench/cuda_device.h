// What a benchmark asks of the current device beside launches. Every function ends the program
// where the runtime fails (cuda_check.h).
#pragma once

#include <cstddef>

namespace mlpserve::tools {

void CopyToHost(void* to, const void* from, size_t bytes);  // waits
// Of each of `rows` rows the first `row_bytes`, without what lies between them. Waits.
void CopyRowsToHost(void* to, const void* from, size_t stride_bytes, size_t row_bytes, size_t rows);
// Sets every byte to 0xFF: NaN in every format, so that a value that nobody writes is seen.
void Poison(void* memory, size_t bytes);
size_t FreeBytes();

}  // namespace mlpserve::tools
