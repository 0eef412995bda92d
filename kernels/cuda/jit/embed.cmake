# cmake -DOUTPUT=sources.cc -DROOT=/source/root -DFILES="a.cuh;b.cuh" -P embed.cmake
# Writes a C++ file that holds each file's text under its path from ROOT.
set(text "#include \"kernels/cuda/jit/device_sources.h\"\n\nnamespace mlpserve::cuda {\n")
string(APPEND text "namespace {\nconstexpr DeviceSource kSources[] = {\n")
foreach(file IN LISTS FILES)
  file(READ ${ROOT}/${file} content)
  string(APPEND text "    {\"${file}\", R\"mlpserve(${content})mlpserve\"},\n")
endforeach()
string(APPEND text "};\n}  // namespace\n\n")
string(APPEND text "std::span<const DeviceSource> DeviceSources() { return kSources; }\n")
string(APPEND text "\n}  // namespace mlpserve::cuda\n")
file(WRITE ${OUTPUT} "${text}")
