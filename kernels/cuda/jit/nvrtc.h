// NVIDIA's run-time compiler, found when the program runs: nothing links to it, and no GPU or
// driver is needed to compile.
//
// Threads: Compile may be called from several threads at once.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace mlpserve::cuda {

struct CompileOptions {
  std::string arch = "sm_89";            // a real architecture: "sm_89", "sm_90a"
  bool line_info = false;                // for profilers: source lines beside the instructions
  std::string kernel = "mlpserve_gemm";  // the kernel in the source whose resources are reported
};

// What the assembler reports; all zeros where the compiler does not pass that on (a loaded kernel's
// figures are then the driver's). Dynamic shared memory is not in it.
struct KernelResources {
  int registers = 0;  // per thread
  int stack_bytes = 0;
  int spill_store_bytes = 0;
  int spill_load_bytes = 0;
  int static_shared_bytes = 0;

  // Whether the kernel uses no local memory: nothing is spilled.
  bool in_registers() const {
    return stack_bytes == 0 && spill_store_bytes == 0 && spill_load_bytes == 0;
  }
  bool operator==(const KernelResources&) const = default;
};

struct CompiledKernel {
  std::string cubin;  // an ELF image, as cuModuleLoadData and cudaLibraryLoadData take it
  std::string log;
  KernelResources resources;
};

class Nvrtc {
 public:
  // Tries libnvrtc.so.13 and .12 as the dynamic linker finds them; with `library`, only that path.
  // Errors: UNAVAILABLE, with each name tried and why it failed.
  static absl::StatusOr<std::shared_ptr<const Nvrtc>> Open(const std::string& library = "");

  // "13.0". Part of a cache's key: another compiler makes other code.
  std::string version() const;
  // Whether this compiler knows the architecture.
  bool Supports(const std::string& arch) const;

  // Compiles a text that holds one kernel. `name` is what messages call the source.
  // Errors: INVALID_ARGUMENT with the compiler's log where the source or an option is wrong,
  // INTERNAL for any other failure.
  absl::StatusOr<CompiledKernel> Compile(const std::string& source, const std::string& name,
                                         const CompileOptions& options) const;

  ~Nvrtc();
  Nvrtc(const Nvrtc&) = delete;
  Nvrtc& operator=(const Nvrtc&) = delete;

 private:
  struct Functions;
  explicit Nvrtc(std::unique_ptr<Functions> functions);

  std::unique_ptr<Functions> functions_;
};

// Reads the figures of `kernel` from ptxas -v's text. Errors: INTERNAL where they are missing.
absl::StatusOr<KernelResources> ParseResources(const std::string& log, const std::string& kernel);

}  // namespace mlpserve::cuda
