// Any text as model.json: refused in words, or a block that Validate accepts.
#include "server/model/model_json.h"
#include "tests/fuzz/require.h"

namespace mlpserve {

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view json(reinterpret_cast<const char*>(data), size);
  const absl::StatusOr<BlockConfig> config = ParseModelJson(json, "block");
  if (!config.ok()) {
    REQUIRE(absl::IsInvalidArgument(config.status()));
    REQUIRE(!config.status().message().empty());
    return 0;
  }
  REQUIRE(config->name == "block");
  REQUIRE(!config->layers.empty());
  REQUIRE(Validate(*config).ok());
  return 0;
}

}  // namespace mlpserve
