#include "server/safetensors/file_tensor.h"

#include <utility>

#include "kernels/status/status_macros.h"

namespace mlpserve {
namespace {

DataType TypeAsRead(TensorType type) {
  if (type == TensorType::kF16) return DataType::kFp16;
  return type == TensorType::kBf16 ? DataType::kBf16 : DataType::kFp32;
}

class Source final : public TensorSource {
 public:
  Source(std::shared_ptr<const SafetensorsReader> file, const TensorInfo& info)
      : file_(std::move(file)), info_(info) {}

  absl::Status Read(int64_t offset, std::span<std::byte> to) const override {
    return file_->ReadFloatBytes(info_, offset, to);
  }

 private:
  const std::shared_ptr<const SafetensorsReader> file_;
  const TensorInfo& info_;  // of file_
};

}  // namespace

absl::StatusOr<Tensor> FileTensor(std::shared_ptr<const SafetensorsReader> file,
                                  const std::string& name) {
  MLPSERVE_ASSIGN_OR_RETURN(const TensorInfo* info, file->RequireFloat(name));
  return Tensor(TypeAsRead(info->type), info->elements(),
                std::make_shared<Source>(std::move(file), *info));
}

}  // namespace mlpserve
