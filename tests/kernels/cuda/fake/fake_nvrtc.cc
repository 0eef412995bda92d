// Stands in for NVIDIA's run-time compiler: what it makes of a source is the kernel's name, which
// is what the fake runtime takes for a kernel.
#include <nvrtc.h>

#include <cstring>
#include <string>

struct _nvrtcProgram {
  std::string source;
  std::string kernel;
};

extern "C" {

nvrtcResult nvrtcVersion(int* major, int* minor) {
  *major = 13;
  *minor = 0;
  return NVRTC_SUCCESS;
}
nvrtcResult nvrtcGetNumSupportedArchs(int* count) {
  *count = 1;
  return NVRTC_SUCCESS;
}
nvrtcResult nvrtcGetSupportedArchs(int* archs) {
  archs[0] = 89;
  return NVRTC_SUCCESS;
}
const char* nvrtcGetErrorString(nvrtcResult /*result*/) { return "refused by the fake"; }
nvrtcResult nvrtcCreateProgram(nvrtcProgram* program, const char* source, const char* /*name*/,
                               int /*headers*/, const char* const* /*texts*/,
                               const char* const* /*names*/) {
  *program = new _nvrtcProgram{source, ""};
  return NVRTC_SUCCESS;
}
nvrtcResult nvrtcDestroyProgram(nvrtcProgram* program) {
  delete *program;
  *program = nullptr;
  return NVRTC_SUCCESS;
}
// The kernel is what is called mlpserve_ after __global__.
nvrtcResult nvrtcCompileProgram(nvrtcProgram program, int /*options*/, const char* const* /*all*/) {
  const std::string& source = program->source;
  const size_t global = source.find("__global__ void");
  const size_t begin = source.find("mlpserve_", global);
  if (global == std::string::npos || begin == std::string::npos) return NVRTC_ERROR_COMPILATION;
  program->kernel = source.substr(begin, source.find_first_of('(', begin) - begin);
  return NVRTC_SUCCESS;
}
nvrtcResult nvrtcGetProgramLogSize(nvrtcProgram /*program*/, size_t* size) {
  *size = 0;
  return NVRTC_SUCCESS;
}
nvrtcResult nvrtcGetProgramLog(nvrtcProgram /*program*/, char* /*log*/) { return NVRTC_SUCCESS; }
nvrtcResult nvrtcGetCUBINSize(nvrtcProgram program, size_t* size) {
  *size = program->kernel.size() + 1;
  return NVRTC_SUCCESS;
}
nvrtcResult nvrtcGetCUBIN(nvrtcProgram program, char* cubin) {
  std::memcpy(cubin, program->kernel.c_str(), program->kernel.size() + 1);
  return NVRTC_SUCCESS;
}

}  // extern "C"
