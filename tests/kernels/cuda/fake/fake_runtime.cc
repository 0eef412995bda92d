// The functions of the CUDA runtime that the engine calls. A call of the engine's that is missing
// here is found by the linker: the real runtime's library then defines these a second time.
#include <cuda_runtime_api.h>

#include <chrono>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "tests/kernels/cuda/fake/fake_state.h"

namespace mlpserve::cuda::fake {
namespace {

using SharedEvent = std::shared_ptr<FakeEvent>;
using SharedGraph = std::shared_ptr<const std::vector<Work>>;

struct FakeKernel {
  std::string name;
};

template <typename T, typename Handle>
T& From(Handle handle) {
  return *reinterpret_cast<T*>(handle);
}

// The default stream's work is done at once.
void Put(cudaStream_t stream, Work work) {
  if (stream == nullptr) return work();
  From<FakeStream>(stream).Put(std::move(work));
}

void Count(int Counts::*what, int change) {
  State& state = Global();
  const std::lock_guard lock(state.mutex);
  state.counts.*what += change;
}

template <typename T, typename Handle, typename... Arguments>
void Make(Handle* handle, int Counts::*count, Arguments&&... arguments) {
  *handle = reinterpret_cast<Handle>(new T(std::forward<Arguments>(arguments)...));
  Count(count, 1);
}

template <typename T, typename Handle>
cudaError_t Destroy(Handle handle, int Counts::*count) {
  delete reinterpret_cast<T*>(handle);
  Count(count, -1);
  return cudaSuccess;
}

cudaError_t Allocate(void** memory, size_t bytes, std::map<void*, size_t> State::*all,
                     int64_t Counts::*count, bool is_device) {
  State& state = Global();
  const std::lock_guard lock(state.mutex);
  const auto size = static_cast<int64_t>(bytes);
  if (is_device && state.counts.device_bytes + size > state.options.memory_bytes) {
    return cudaErrorMemoryAllocation;
  }
  *memory = std::malloc(bytes);
  (state.*all)[*memory] = bytes;
  state.counts.*count += size;
  return cudaSuccess;
}

// Of an allocation's first byte, as the driver's function, whose addresses are numbers of a
// pointer's size.
int AddressRange(void** base, size_t* size, void* memory) {
  State& state = Global();
  const std::lock_guard lock(state.mutex);
  const auto found = state.device_memory.find(memory);
  if (found == state.device_memory.end()) return 1;  // CUDA_ERROR_INVALID_VALUE
  *base = memory;
  *size = found->second;
  return 0;
}

cudaError_t Release(void* memory, std::map<void*, size_t> State::*all, int64_t Counts::*count) {
  if (memory == nullptr) return cudaSuccess;
  State& state = Global();
  const std::lock_guard lock(state.mutex);
  const auto found = (state.*all).find(memory);
  if (found == (state.*all).end()) return cudaErrorInvalidValue;
  state.counts.*count -= static_cast<int64_t>(found->second);
  (state.*all).erase(found);
  std::free(memory);
  return cudaSuccess;
}

}  // namespace
}  // namespace mlpserve::cuda::fake

using namespace mlpserve::cuda::fake;  // NOLINT(google-build-using-namespace): C functions follow

#define FAIL_IF_TOLD()                                                     \
  do {                                                                     \
    if (const cudaError_t error = Fault(__func__); error != cudaSuccess) { \
      return error;                                                        \
    }                                                                      \
  } while (false)

extern "C" {

// --- devices ---

cudaError_t cudaDriverGetVersion(int* version) {
  *version = 13000;
  return cudaSuccess;
}
cudaError_t cudaGetDeviceCount(int* count) {
  *count = Global().options.devices;
  return *count > 0 ? cudaSuccess : cudaErrorNoDevice;
}
cudaError_t cudaGetDeviceProperties(cudaDeviceProp* properties, int device) {
  *properties = {};
  const std::string name = "Fake " + std::to_string(device);
  name.copy(properties->name, sizeof(properties->name) - 1);
  properties->major = 8;
  properties->minor = 9;
  properties->multiProcessorCount = 128;
  properties->totalGlobalMem = static_cast<size_t>(Global().options.memory_bytes);
  properties->sharedMemPerBlockOptin = 101376;
  properties->sharedMemPerMultiprocessor = 102400;
  properties->regsPerMultiprocessor = 65536;
  properties->maxThreadsPerMultiProcessor = 1536;
  properties->maxBlocksPerMultiProcessor = 24;
  properties->memoryBusWidth = 384;
  return cudaSuccess;
}
cudaError_t cudaDeviceGetAttribute(int* value, cudaDeviceAttr /*attribute*/, int /*device*/) {
  *value = 10501000;  // the memory's clock, in kHz
  return cudaSuccess;
}
cudaError_t cudaSetDevice(int /*device*/) {
  FAIL_IF_TOLD();
  return cudaSuccess;
}
cudaError_t cudaGetDevice(int* device) {
  FAIL_IF_TOLD();
  *device = 0;
  return cudaSuccess;
}
cudaError_t cudaMemGetInfo(size_t* free, size_t* total) {
  FAIL_IF_TOLD();
  *total = static_cast<size_t>(Global().options.memory_bytes);
  *free = *total - static_cast<size_t>(CountAll().device_bytes);
  return cudaSuccess;
}
cudaError_t cudaGetLastError() { return cudaSuccess; }
const char* cudaGetErrorName(cudaError_t error) {
  return error == cudaErrorLaunchFailure ? "cudaErrorLaunchFailure" : "cudaErrorOfTheFake";
}
const char* cudaGetErrorString(cudaError_t error) {
  return error == cudaErrorMemoryAllocation ? "out of memory" : "as the test told it";
}
cudaError_t cudaGetDriverEntryPointByVersion(const char* symbol, void** function,
                                             unsigned int /*version*/, unsigned long long /*flags*/,
                                             cudaDriverEntryPointQueryResult* /*found*/) {
  const bool known = std::string(symbol) == "cuMemGetAddressRange";
  *function = known ? reinterpret_cast<void*>(&AddressRange) : nullptr;
  return cudaSuccess;
}

// --- memory ---

cudaError_t cudaMalloc(void** memory, size_t bytes) {
  FAIL_IF_TOLD();
  return Allocate(memory, bytes, &State::device_memory, &Counts::device_bytes, true);
}
cudaError_t cudaFree(void* memory) {
  return Release(memory, &State::device_memory, &Counts::device_bytes);
}
// A handle is the address, with a mark, so that any other bytes are none.
cudaError_t cudaIpcGetMemHandle(cudaIpcMemHandle_t* handle, void* memory) {
  FAIL_IF_TOLD();
  *handle = {};
  std::memcpy(handle->reserved, &memory, sizeof(memory));
  handle->reserved[sizeof(handle->reserved) - 1] = 'h';
  return cudaSuccess;
}
cudaError_t cudaIpcOpenMemHandle(void** memory, cudaIpcMemHandle_t handle, unsigned int /*flags*/) {
  FAIL_IF_TOLD();
  if (handle.reserved[sizeof(handle.reserved) - 1] != 'h') return cudaErrorMapBufferObjectFailed;
  std::memcpy(memory, handle.reserved, sizeof(*memory));
  Count(&Counts::opened, 1);
  return cudaSuccess;
}
cudaError_t cudaIpcCloseMemHandle(void* /*memory*/) {
  Count(&Counts::opened, -1);
  return cudaSuccess;
}
cudaError_t cudaHostAlloc(void** memory, size_t bytes, unsigned int /*flags*/) {
  FAIL_IF_TOLD();
  return Allocate(memory, bytes, &State::pinned_memory, &Counts::pinned_bytes, false);
}
cudaError_t cudaFreeHost(void* memory) {
  return Release(memory, &State::pinned_memory, &Counts::pinned_bytes);
}
cudaError_t cudaMemset(void* memory, int value, size_t bytes) {
  FAIL_IF_TOLD();
  std::memset(memory, value, bytes);
  return cudaSuccess;
}
cudaError_t cudaMemcpy(void* to, const void* from, size_t bytes, cudaMemcpyKind /*kind*/) {
  FAIL_IF_TOLD();
  std::memcpy(to, from, bytes);
  return cudaSuccess;
}
cudaError_t cudaMemcpyAsync(void* to, const void* from, size_t bytes, cudaMemcpyKind /*kind*/,
                            cudaStream_t stream) {
  FAIL_IF_TOLD();
  {
    State& state = Global();
    const std::lock_guard lock(state.mutex);
    ++state.calls.copies;
  }
  Put(stream, [to, from, bytes] { std::memcpy(to, from, bytes); });
  return cudaSuccess;
}

// --- streams, events, graphs ---

cudaError_t cudaStreamCreateWithFlags(cudaStream_t* stream, unsigned int /*flags*/) {
  FAIL_IF_TOLD();
  Make<FakeStream>(stream, &Counts::streams);
  return cudaSuccess;
}
cudaError_t cudaStreamDestroy(cudaStream_t stream) {
  return Destroy<FakeStream>(stream, &Counts::streams);
}
cudaError_t cudaStreamSynchronize(cudaStream_t stream) {
  if (stream != nullptr) From<FakeStream>(stream).Wait();
  FAIL_IF_TOLD();
  return cudaSuccess;
}
cudaError_t cudaEventCreate(cudaEvent_t* event) {
  FAIL_IF_TOLD();
  Make<SharedEvent>(event, &Counts::events, std::make_shared<FakeEvent>());
  return cudaSuccess;
}
cudaError_t cudaEventDestroy(cudaEvent_t event) {
  return Destroy<SharedEvent>(event, &Counts::events);
}
cudaError_t cudaEventRecord(cudaEvent_t handle, cudaStream_t stream) {
  FAIL_IF_TOLD();
  const SharedEvent event = From<SharedEvent>(handle);
  int64_t number = 0;
  {
    const std::lock_guard lock(event->mutex);
    number = ++event->recorded;
  }
  Put(stream, [event, number] {
    const std::lock_guard lock(event->mutex);
    event->happened = number;
    event->when = std::chrono::steady_clock::now();
  });
  return cudaSuccess;
}
cudaError_t cudaEventQuery(cudaEvent_t handle) {
  FAIL_IF_TOLD();
  const SharedEvent& event = From<SharedEvent>(handle);
  const std::lock_guard lock(event->mutex);
  return event->happened == event->recorded ? cudaSuccess : cudaErrorNotReady;
}
cudaError_t cudaEventSynchronize(cudaEvent_t handle) {
  const SharedEvent& event = From<SharedEvent>(handle);
  for (;;) {
    FAIL_IF_TOLD();
    {
      const std::lock_guard lock(event->mutex);
      if (event->happened == event->recorded) return cudaSuccess;
    }
    std::this_thread::sleep_for(std::chrono::microseconds(50));
  }
}
cudaError_t cudaEventElapsedTime(float* ms, cudaEvent_t begin, cudaEvent_t end) {
  FAIL_IF_TOLD();
  const auto when = [](cudaEvent_t handle) {
    const SharedEvent& event = From<SharedEvent>(handle);
    const std::lock_guard lock(event->mutex);
    return event->when;
  };
  *ms = std::chrono::duration<float, std::milli>(when(end) - when(begin)).count();
  return cudaSuccess;
}
cudaError_t cudaStreamBeginCapture(cudaStream_t stream, cudaStreamCaptureMode /*mode*/) {
  FAIL_IF_TOLD();
  From<FakeStream>(stream).BeginCapture();
  return cudaSuccess;
}
cudaError_t cudaStreamEndCapture(cudaStream_t stream, cudaGraph_t* graph) {
  *graph = nullptr;
  const SharedGraph captured = From<FakeStream>(stream).EndCapture();
  FAIL_IF_TOLD();
  Make<SharedGraph>(graph, &Counts::graphs, captured);
  return cudaSuccess;
}
cudaError_t cudaGraphInstantiate(cudaGraphExec_t* executable, cudaGraph_t graph,
                                 unsigned long long /*flags*/) {
  FAIL_IF_TOLD();
  Make<SharedGraph>(executable, &Counts::graphs, From<SharedGraph>(graph));
  return cudaSuccess;
}
cudaError_t cudaGraphUpload(cudaGraphExec_t /*executable*/, cudaStream_t /*stream*/) {
  FAIL_IF_TOLD();
  return cudaSuccess;
}
cudaError_t cudaGraphLaunch(cudaGraphExec_t executable, cudaStream_t stream) {
  FAIL_IF_TOLD();
  {
    State& state = Global();
    const std::lock_guard lock(state.mutex);
    ++state.calls.graph_launches;
  }
  for (const Work& work : *From<SharedGraph>(executable)) Put(stream, work);
  return cudaSuccess;
}
cudaError_t cudaGraphDestroy(cudaGraph_t graph) {
  if (graph == nullptr) return cudaSuccess;
  return Destroy<SharedGraph>(graph, &Counts::graphs);
}
cudaError_t cudaGraphExecDestroy(cudaGraphExec_t executable) {
  return Destroy<SharedGraph>(executable, &Counts::graphs);
}

// --- kernels: a library is the name of the one kernel that is used of it ---

cudaError_t cudaLibraryLoadData(cudaLibrary_t* library, const void* code, cudaJitOption*, void**,
                                unsigned int, cudaLibraryOption*, void**, unsigned int) {
  FAIL_IF_TOLD();
  Make<FakeKernel>(library, &Counts::kernels, FakeKernel{static_cast<const char*>(code)});
  return cudaSuccess;
}
cudaError_t cudaLibraryUnload(cudaLibrary_t library) {
  return Destroy<FakeKernel>(library, &Counts::kernels);
}
cudaError_t cudaLibraryGetKernel(cudaKernel_t* kernel, cudaLibrary_t library, const char* name) {
  From<FakeKernel>(library).name = name;  // of a source that has several
  *kernel = reinterpret_cast<cudaKernel_t>(library);
  return cudaSuccess;
}
cudaError_t cudaFuncGetAttributes(cudaFuncAttributes* attributes, const void* /*function*/) {
  *attributes = {};
  attributes->numRegs = 64;
  return cudaSuccess;
}
cudaError_t cudaFuncSetAttribute(const void* /*function*/, cudaFuncAttribute /*attribute*/,
                                 int /*value*/) {
  return cudaSuccess;
}
cudaError_t cudaOccupancyMaxActiveClusters(int* clusters, const void* /*function*/,
                                           const cudaLaunchConfig_t* /*config*/) {
  *clusters = 1;
  return cudaSuccess;
}
cudaError_t cudaLaunchKernelExC(const cudaLaunchConfig_t* config, const void* function,
                                void** arguments) {
  FAIL_IF_TOLD();
  const auto& kernel = *static_cast<const FakeKernel*>(function);
  if (config->stream == nullptr || !From<FakeStream>(config->stream).is_captured()) {
    State& state = Global();
    const std::lock_guard lock(state.mutex);
    ++state.calls.launches;
  }
  Put(config->stream, KernelWork(kernel.name, arguments));
  return cudaSuccess;
}

}  // extern "C"
