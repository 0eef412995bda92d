#include "kernels/cuda/jit/nvrtc.h"

#include <nvrtc.h>

#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "kernels/cuda/jit/shared_library.h"
#include "kernels/status/status_macros.h"

namespace mlpserve::cuda {

struct Nvrtc::Functions {
  decltype(&nvrtcVersion) version = nullptr;
  decltype(&nvrtcGetNumSupportedArchs) count_archs = nullptr;
  decltype(&nvrtcGetSupportedArchs) archs = nullptr;
  decltype(&nvrtcGetErrorString) error_string = nullptr;
  decltype(&nvrtcCreateProgram) create = nullptr;
  decltype(&nvrtcDestroyProgram) destroy = nullptr;
  decltype(&nvrtcCompileProgram) compile = nullptr;
  decltype(&nvrtcGetProgramLogSize) log_size = nullptr;
  decltype(&nvrtcGetProgramLog) log = nullptr;
  decltype(&nvrtcGetCUBINSize) cubin_size = nullptr;
  decltype(&nvrtcGetCUBIN) cubin = nullptr;

  void Resolve(SharedLibrary& library) {
    library.Resolve(version, "nvrtcVersion");
    library.Resolve(count_archs, "nvrtcGetNumSupportedArchs");
    library.Resolve(archs, "nvrtcGetSupportedArchs");
    library.Resolve(error_string, "nvrtcGetErrorString");
    library.Resolve(create, "nvrtcCreateProgram");
    library.Resolve(destroy, "nvrtcDestroyProgram");
    library.Resolve(compile, "nvrtcCompileProgram");
    library.Resolve(log_size, "nvrtcGetProgramLogSize");
    library.Resolve(log, "nvrtcGetProgramLog");
    library.Resolve(cubin_size, "nvrtcGetCUBINSize");
    library.Resolve(cubin, "nvrtcGetCUBIN");
  }
};

namespace {

// The text of a size and a read call, without its closing zero.
template <typename SizeOf, typename Read>
std::string ReadLog(SizeOf size_of, Read read, nvrtcProgram program) {
  size_t size = 0;
  if (size_of(program, &size) != NVRTC_SUCCESS || size <= 1) return "";
  std::string text(size, '\0');
  if (read(program, text.data()) != NVRTC_SUCCESS) return "";
  text.pop_back();
  return text;
}

// The number before `unit` in a line such as "ptxas info : Used 30 registers, 400 bytes smem".
bool NumberBefore(absl::string_view line, absl::string_view unit, int* number) {
  const size_t end = line.find(unit);
  if (end == absl::string_view::npos || end == 0) return false;
  const absl::string_view before = absl::StripTrailingAsciiWhitespace(line.substr(0, end));
  const size_t start = before.find_last_not_of("0123456789");
  return absl::SimpleAtoi(before.substr(start == absl::string_view::npos ? 0 : start + 1), number);
}

}  // namespace

absl::StatusOr<std::shared_ptr<const Nvrtc>> Nvrtc::Open(const std::string& library) {
  std::vector<std::string> names = {"libnvrtc.so.13", "libnvrtc.so.12"};
  if (!library.empty()) names = {library};
  auto functions = std::make_unique<Functions>();
  MLPSERVE_RETURN_IF_ERROR(
      OpenFirst("NVRTC", names, [&](SharedLibrary& found) { functions->Resolve(found); }));
  return std::shared_ptr<const Nvrtc>(new Nvrtc(std::move(functions)));
}

Nvrtc::Nvrtc(std::unique_ptr<Functions> functions) : functions_(std::move(functions)) {}

Nvrtc::~Nvrtc() = default;

std::string Nvrtc::version() const {
  int major = 0;
  int minor = 0;
  functions_->version(&major, &minor);
  return absl::StrCat(major, ".", minor);
}

bool Nvrtc::Supports(const std::string& arch) const {
  int count = 0;
  if (functions_->count_archs(&count) != NVRTC_SUCCESS) return false;
  std::vector<int> archs(count);
  if (functions_->archs(archs.data()) != NVRTC_SUCCESS) return false;
  for (const int a : archs) {
    const std::string name = absl::StrCat("sm_", a);
    if (arch == name || arch == name + "a") return true;
  }
  return false;
}

absl::StatusOr<CompiledKernel> Nvrtc::Compile(const std::string& source, const std::string& name,
                                              const CompileOptions& options) const {
  const Functions& f = *functions_;
  nvrtcProgram program = nullptr;
  if (const nvrtcResult r = f.create(&program, source.c_str(), name.c_str(), 0, nullptr, nullptr);
      r != NVRTC_SUCCESS) {
    return absl::InternalError(absl::StrCat("nvrtcCreateProgram: ", f.error_string(r)));
  }
  const auto destroy = [&f](nvrtcProgram p) { f.destroy(&p); };
  const std::unique_ptr<std::remove_pointer_t<nvrtcProgram>, decltype(destroy)> owner(program,
                                                                                      destroy);
  const std::string arch = "--gpu-architecture=" + options.arch;
  std::vector<const char*> flags = {arch.c_str(), "--std=c++20", "--ptxas-options=-v"};
  if (options.line_info) flags.push_back("--generate-line-info");
  const nvrtcResult result = f.compile(program, static_cast<int>(flags.size()), flags.data());
  CompiledKernel kernel;
  kernel.log = ReadLog(f.log_size, f.log, program);
  if (result != NVRTC_SUCCESS) {
    const std::string message =
        absl::StrCat(name, " for ", options.arch, ": ", f.error_string(result), "\n", kernel.log);
    const bool ours = result != NVRTC_ERROR_COMPILATION && result != NVRTC_ERROR_INVALID_OPTION;
    return ours ? absl::InternalError(message) : absl::InvalidArgumentError(message);
  }
  size_t bytes = 0;
  if (f.cubin_size(program, &bytes) != NVRTC_SUCCESS || bytes == 0) {
    return absl::InternalError(absl::StrCat(name, " for ", options.arch, ": no cubin was made"));
  }
  kernel.cubin.resize(bytes);
  if (f.cubin(program, kernel.cubin.data()) != NVRTC_SUCCESS) {
    return absl::InternalError(
        absl::StrCat(name, " for ", options.arch, ": cannot read the cubin"));
  }
  // Some builds of NVRTC do not pass on what the assembler prints.
  const absl::StatusOr<KernelResources> resources = ParseResources(kernel.log, options.kernel);
  if (resources.ok()) kernel.resources = *resources;
  return kernel;
}

absl::StatusOr<KernelResources> ParseResources(const std::string& log, const std::string& kernel) {
  KernelResources resources;
  const std::string heading = absl::StrCat("Compiling entry function '", kernel, "'");
  bool found = false;
  for (const absl::string_view line : absl::StrSplit(log, '\n')) {
    if (absl::StrContains(line, "Compiling entry function")) {
      found = absl::StrContains(line, heading);
    }
    if (!found) continue;
    NumberBefore(line, "bytes stack frame", &resources.stack_bytes);
    NumberBefore(line, "bytes spill stores", &resources.spill_store_bytes);
    NumberBefore(line, "bytes spill loads", &resources.spill_load_bytes);
    NumberBefore(line, "registers", &resources.registers);
    NumberBefore(line, "bytes smem", &resources.static_shared_bytes);
    if (absl::StrContains(line, "Used ") && resources.registers > 0) return resources;
  }
  return absl::InternalError(absl::StrCat("expected ptxas figures of ", kernel, ", found:\n", log));
}

}  // namespace mlpserve::cuda
