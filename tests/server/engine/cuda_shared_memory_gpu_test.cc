// Memory of a GPU that is another process's: allocated and looked at by a child, read and written
// here. Skips itself without a GPU.
#include <cuda_runtime_api.h>
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <string>

#include "server/engine/cuda_shared_memory.h"

namespace mlpserve {
namespace {

constexpr size_t kBytes = 3 << 20;

std::string Pattern(int seed) {
  std::string bytes(kBytes, '\0');
  for (size_t i = 0; i < kBytes; ++i) bytes[i] = static_cast<char>(i * 131 + i / 251 + seed);
  return bytes;
}

struct Pipe {
  Pipe() { EXPECT_EQ(pipe(ends), 0); }
  bool Send(const std::string& bytes) const {
    return write(ends[1], bytes.data(), bytes.size()) == static_cast<ssize_t>(bytes.size());
  }
  // Shorter if the other side has ended.
  std::string Receive(size_t bytes) const {
    std::string received(bytes, '\0');
    const ssize_t count = read(ends[0], received.data(), bytes);
    received.resize(count > 0 ? static_cast<size_t>(count) : 0);
    return received;
  }
  int ends[2] = {-1, -1};
};

// What the child does: gives out a handle, waits, and says whether its memory holds the second
// pattern.
int Own(const Pipe& to_parent, const Pipe& to_child) {
  if (!cuda::FindDevices().ok()) return 1;
  void* memory = nullptr;
  cudaIpcMemHandle_t handle;
  std::string bytes = Pattern(1);
  if (cudaMalloc(&memory, kBytes) != cudaSuccess ||
      cudaMemcpy(memory, bytes.data(), kBytes, cudaMemcpyHostToDevice) != cudaSuccess ||
      cudaDeviceSynchronize() != cudaSuccess ||
      cudaIpcGetMemHandle(&handle, memory) != cudaSuccess) {
    return 2;
  }
  to_parent.Send(std::string(handle.reserved, sizeof(handle)));
  to_child.Receive(1);
  if (cudaMemcpy(bytes.data(), memory, kBytes, cudaMemcpyDeviceToHost) != cudaSuccess) return 3;
  to_parent.Send(bytes == Pattern(2) ? "y" : "n");
  to_child.Receive(1);
  return 0;
}

TEST(CudaSharedMemoryGpuTest, MemoryOfAnotherProcessIsReadAndWritten) {
  const Pipe to_parent, to_child;
  // Before CUDA is begun here, which a child does not survive.
  const pid_t child = fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    close(to_parent.ends[0]);
    close(to_child.ends[1]);
    _exit(Own(to_parent, to_child));
  }
  close(to_parent.ends[1]);
  close(to_child.ends[0]);
  const std::string handle = to_parent.Receive(sizeof(cudaIpcMemHandle_t));
  const auto devices = cuda::FindDevices();
  if (devices.ok()) {
    ASSERT_EQ(handle.size(), sizeof(cudaIpcMemHandle_t));
    const auto too_large = OpenCudaIpcRegion(*devices, handle, devices->front().ordinal, 1 << 30);
    EXPECT_TRUE(absl::IsInvalidArgument(too_large.status())) << too_large.status();
    const auto no_handle =
        OpenCudaIpcRegion(*devices, std::string(handle.size(), 'x'), devices->front().ordinal, 1);
    EXPECT_TRUE(absl::IsInvalidArgument(no_handle.status())) << no_handle.status();
    {
      const auto region = OpenCudaIpcRegion(*devices, handle, devices->front().ordinal, kBytes);
      ASSERT_TRUE(region.ok()) << region.status();
      std::string read(kBytes, '\0');
      const absl::Status status = (*region)->Read(0, std::as_writable_bytes(std::span(read)));
      EXPECT_TRUE(status.ok()) << status;
      EXPECT_TRUE(read == Pattern(1));
      const std::string written = Pattern(2);
      const auto bytes = std::as_bytes(std::span(written));
      EXPECT_TRUE((*region)->Write(kBytes / 2, bytes.subspan(kBytes / 2)).ok());
      EXPECT_TRUE((*region)->Write(0, bytes.first(kBytes / 2)).ok());
      to_child.Send("w");
      EXPECT_EQ(to_parent.Receive(1), "y");
    }
    to_child.Send("c");  // closed here before it is freed there
  }
  close(to_child.ends[1]);
  int ended = 0;
  ASSERT_EQ(waitpid(child, &ended, 0), child);
  if (!devices.ok()) GTEST_SKIP() << devices.status();
  EXPECT_EQ(ended, 0);
}

}  // namespace
}  // namespace mlpserve
