// Time and memory of reading a block's weights, beside reading the same file into one small buffer
// (what `cat FILE >/dev/null` does), in turn.
//
// usage: server_model_reader_bench [WIDTH [LAYERS [ROUNDS]]]    8192 8 5; writes a file of
// WIDTH * WIDTH BF16 weights for each layer to $TMPDIR and removes it
#include <fcntl.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/str_cat.h"
#include "kernels/cpu/cpu_block.h"
#include "server/model/model_reader.h"
#include "server/safetensors/writer.h"
#include "tests/server/temporary_folder.h"

namespace mlpserve {
namespace {

double MillisecondsOf(const auto& work) {
  const auto began = std::chrono::steady_clock::now();
  work();
  return std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - began)
      .count();
}

double PeakMegabytes() {
  struct rusage usage = {};
  getrusage(RUSAGE_SELF, &usage);
  return static_cast<double>(usage.ru_maxrss) / 1024;
}

std::string WriteBlock(const TemporaryFolder& folder, int64_t width, int layers) {
  std::vector<uint16_t> weight(static_cast<size_t>(width * width));
  for (size_t i = 0; i < weight.size(); ++i) weight[i] = static_cast<uint16_t>(0x3c00 + i % 512);
  std::vector<TensorToWrite> tensors;
  std::string json;
  for (int i = 0; i < layers; ++i) {
    const std::string name = absl::StrCat("w", i);
    tensors.push_back({.name = name,
                       .type = TensorType::kBf16,
                       .shape = {width, width},
                       .data = std::as_bytes(std::span(weight))});
    absl::StrAppend(&json, i == 0 ? "" : ",", R"({"name": ")", name, R"(", "weight": ")", name,
                    R"("})");
  }
  const std::string features = absl::StrCat("\"features\": ", width);
  folder.Write("m/model.json", absl::StrCat(R"({"input": {"name": "x", )", features,
                                            R"(}, "output": {"name": "y", )", features,
                                            R"(}, "compute": "BF16", "layers": [)", json, "]}"));
  std::string path = folder.Write("m/1/weights.safetensors", "");
  const absl::Status status = WriteSafetensors(path, tensors);
  if (!status.ok()) std::fprintf(stderr, "%s\n", status.ToString().c_str());
  return path;
}

void ReadPlainly(const std::string& path) {
  std::vector<char> buffer(128 << 10);
  const int file = open(path.c_str(), O_RDONLY | O_CLOEXEC);
  while (read(file, buffer.data(), buffer.size()) > 0) {
  }
  close(file);
}

// As an upload does: layer by layer, on several threads, each with memory for one piece.
void ReadTensor(const Tensor& tensor, unsigned threads) {
  constexpr int64_t kPieceBytes = int64_t{4} << 20;
  std::atomic<int64_t> next = 0;
  const auto read = [&] {
    std::vector<std::byte> piece(static_cast<size_t>(std::min(kPieceBytes, tensor.bytes())));
    for (int64_t at = next.fetch_add(kPieceBytes); at < tensor.bytes();
         at = next.fetch_add(kPieceBytes)) {
      const auto count = static_cast<size_t>(std::min(kPieceBytes, tensor.bytes() - at));
      if (!tensor.ReadBytes(at, std::span(piece).first(count)).ok()) std::abort();
    }
  };
  std::vector<std::jthread> helpers;
  for (unsigned i = 1; i < threads; ++i) helpers.emplace_back(read);
  read();
}

BlockSpec Open(const std::string& directory) {
  absl::StatusOr<BlockSpec> block = ReadBlock(directory, 1);
  if (block.ok()) return *std::move(block);
  std::fprintf(stderr, "%s\n", block.status().ToString().c_str());
  std::exit(1);
}

void Run(int64_t width, int layers, int rounds) {
  const TemporaryFolder folder;
  const std::string path = WriteBlock(folder, width, layers);
  const unsigned threads = std::max(1u, std::thread::hardware_concurrency());
  cpu::WorkerTeam team(static_cast<int>(threads));
  std::printf("%d layers of %ld x %ld BF16, %.0f MiB, %u threads; peak before %.0f MiB\n", layers,
              width, width, static_cast<double>(width * width) * 2 * layers / (1 << 20), threads,
              PeakMegabytes());
  ReadPlainly(path);  // into the page cache
  for (int round = 0; round < rounds; ++round) {
    const double plain = MillisecondsOf([&] { ReadPlainly(path); });
    const double typed = MillisecondsOf([&] {
      const BlockSpec block = Open(folder.path("m"));
      for (const LayerSpec& layer : block.layers) ReadTensor(layer.weight, threads);
    });
    std::printf("plainly %.0f ms, as a block's weights %.0f ms (%.2fx), peak %.0f MiB\n", plain,
                typed, typed / plain, PeakMegabytes());
  }
  const double packed = MillisecondsOf([&] {
    (void)cpu::CpuBlock::Create(Open(folder.path("m")), {.max_rows = 64, .team = &team});
  });
  std::printf("loaded by the CPU backend in %.0f ms, peak %.0f MiB\n", packed, PeakMegabytes());
}

}  // namespace
}  // namespace mlpserve

int main(int argc, char** argv) {
  const auto argument = [&](int i, int otherwise) {
    return argc > i ? std::max(1, std::atoi(argv[i])) : otherwise;
  };
  mlpserve::Run(argument(1, 8192), argument(2, 8), argument(3, 5));
}
