// A range of a POSIX shared memory object (shm_open).
//
// It is read and written through its descriptor, never mapped: who touches a mapped page that the
// client has cut off gets SIGBUS, and no check before it holds until the touch. pread and pwrite
// say so instead. They copy as memcpy would, and the copy is the one that is made anyway: from the
// region into the slot, from the output buffer into the region.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "server/shared_memory/region.h"

namespace mlpserve {

// `key`: the object's name, with or without the slash before it. Errors: INVALID_ARGUMENT, it is no
// name, no object of memory, or shorter than offset + bytes; NOT_FOUND, there is none of that name;
// PERMISSION_DENIED, this process may not read and write it; RESOURCE_EXHAUSTED, too many files are
// open.
absl::StatusOr<std::unique_ptr<SharedRegion>> OpenSystemRegion(const std::string& key,
                                                               uint64_t offset, uint64_t bytes);

}  // namespace mlpserve
