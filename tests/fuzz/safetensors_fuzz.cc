// Any bytes as a safetensors file: refused in words, or every tensor can be read.
#include <sys/mman.h>
#include <unistd.h>

#include "absl/strings/str_cat.h"
#include "server/safetensors/reader.h"
#include "tests/fuzz/require.h"

namespace mlpserve {

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const int file = memfd_create("safetensors", 0);
  REQUIRE(ftruncate(file, 0) == 0);
  REQUIRE(pwrite(file, data, size, 0) == static_cast<ssize_t>(size));
  const auto reader = SafetensorsReader::Open(absl::StrCat("/proc/self/fd/", file));
  const auto header = ParseFile({reinterpret_cast<const char*>(data), size}, "the same in memory");
  REQUIRE(reader.ok() == header.ok());
  if (!reader.ok()) {
    REQUIRE(absl::IsInvalidArgument(reader.status()));
    return 0;
  }
  uint64_t bytes_of_tensors = 0;
  for (const TensorInfo& tensor : reader->header().tensors) {
    const auto bytes = reader->ReadBytes(tensor.name);
    REQUIRE(bytes.ok() && bytes->size() == tensor.bytes());
    bytes_of_tensors += tensor.bytes();
    const auto elements = static_cast<size_t>(tensor.elements());
    if (const auto values = reader->ReadFloats(tensor.name); values.ok()) {
      REQUIRE(values->size() == elements);
      REQUIRE(reader->ReadDoubles(tensor.name)->size() == elements);
      REQUIRE(!reader->ReadInts(tensor.name).ok());
    } else if (const auto integers = reader->ReadInts(tensor.name); integers.ok()) {
      REQUIRE(integers->size() == elements);
    }
  }
  REQUIRE(bytes_of_tensors < size);
  return 0;
}

}  // namespace mlpserve
