#include "kernels/cuda/bench/variant.h"

#include <cstdio>
#include <cstdlib>
#include <map>
#include <sstream>

namespace mlpserve::bench {
namespace {

[[noreturn]] void Refuse(const std::string& text, const std::string& why) {
  std::fprintf(stderr, "variant %s: %s\n", text.c_str(), why.c_str());
  std::exit(1);
}

std::map<std::string, int*> Fields(cuda::WgmmaConfig& c) {
  return {{"tm", &c.tile_m},    {"tn", &c.tile_n},        {"s", &c.stages},
          {"cm", &c.cluster_m}, {"cn", &c.cluster_n},     {"pp", &c.ping_pong},
          {"g", &c.group_m},    {"sb", &c.store_buffers}, {"tma", &c.store_by_tma}};
}

std::map<std::string, int*> Fields(cuda::WgmmaRowsConfig& c) {
  return {
      {"tr", &c.tile_rows},       {"b", &c.batch},  {"s", &c.stages},  {"bs", &c.blocks_per_stage},
      {"pf", &c.prefetch_stages}, {"sh", &c.share}, {"sk", &c.split_k}};
}

template <typename Config>
Variant ParseFields(const std::string& text) {
  Variant v;
  Config config;
  int programmatic = 0;
  std::map<std::string, int*> fields = Fields(config);
  fields["pdl"] = &programmatic;
  std::istringstream items(text.substr(2));
  for (std::string item; std::getline(items, item, ',');) {
    const auto field = fields.find(item.substr(0, item.find('=')));
    if (field == fields.end()) Refuse(text, "unknown field in \"" + item + "\"");
    *field->second = std::stoi(item.substr(item.find('=') + 1));
  }
  v.tile = config;
  v.programmatic = programmatic;
  return v;
}

// A name is read into the tile, and must then be the tile's.
Variant ParseName(const std::string& text) {
  Variant v;
  const size_t split = text.find(".k");
  const std::string name = text.substr(2, split == std::string::npos ? split : split - 2);
  if (split != std::string::npos) v.split_k = std::stoi(text.substr(split + 2));
  if (text[0] == 'm') {
    cuda::MmaTile t;
    std::sscanf(name.c_str(), "%dx%dx%d.w%dx%d.s%d.b%d", &t.tile_m, &t.tile_n, &t.tile_k,
                &t.warps_m, &t.warps_n, &t.stages, &t.blocks_per_sm);
    v.tile = t;
  } else if (text[0] == 'n') {
    cuda::MmaRowsTile t;
    std::sscanf(name.c_str(), "%dx%dx%d.w%d.s%d.b%d", &t.tile_n, &t.tile_m, &t.tile_k, &t.warps_n,
                &t.stages, &t.blocks_per_sm);
    v.tile = t;
  } else {
    cuda::FfmaTile t;
    std::sscanf(name.c_str(), "%dx%dx%d.t%dx%dx%d.s%d.b%d", &t.tile_m, &t.tile_n, &t.tile_k,
                &t.threads_m, &t.threads_n, &t.threads_k, &t.stages, &t.blocks_per_sm);
    v.tile = t;
  }
  const std::string read = std::visit([](const auto& tile) { return Name(tile); }, v.tile);
  if (read != name) Refuse(text, "expected a name such as " + read);
  return v;
}

}  // namespace

std::string Variant::MainLoopPath() const {
  constexpr const char* kFiles[] = {"wgmma/wgmma_gemm", "wgmma/wgmma_rows", "mma/mma",
                                    "mma/mma_rows", "mma/ffma"};
  return std::string("kernels/cuda/device/") + kFiles[tile.index()] + ".cuh";
}

std::string Variant::Label() const {
  constexpr const char* kNames[] = {"wgmma", "rows", "mma", "mma_rows", "ffma"};
  return std::string(kNames[tile.index()]) + " " +
         std::visit([](const auto& t) { return Name(t); }, tile) +
         (split_k > 1 ? ".k" + std::to_string(split_k) : "") + (programmatic ? ".pdl" : "");
}

Variant ParseVariant(const std::string& text) {
  Variant v;
  switch (text[0]) {
    case 'g':
      v = ParseFields<cuda::WgmmaConfig>(text);
      break;
    case 'r':
      v = ParseFields<cuda::WgmmaRowsConfig>(text);
      break;
    case 'm':
    case 'n':
    case 'f':
      v = ParseName(text);
      break;
    default:
      Refuse(text, "expected one of g: r: m: n: f:");
  }
  v.text = text;
  return v;
}

}  // namespace mlpserve::bench
