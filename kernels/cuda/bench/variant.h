// A kernel under test as a plan names it: a main loop and its numbers.
#pragma once

#include <string>
#include <variant>

#include "kernels/cuda/tiles/mma_launch.h"
#include "kernels/cuda/tiles/wgmma_launch.h"

namespace mlpserve::bench {

// "g:tm=128,tn=256,s=4,cm=2,cn=1,pp=0,g=8,sb=1,tma=1" is wgmma_tiles.cuh,
// "r:tr=64,b=16,s=5,bs=4,sh=1,sk=1" wgmma_rows.cuh; what is left out has the default of
// wgmma_launch.h. Both take `pdl=1` (programmatic launch).
// "m:128x128x32.w2x4.s3.b2" is mma.cuh, "n:64x16x64.w4.s4.b2" mma_rows.cuh,
// "f:64x128x16.t8x16x1.s2.b3" ffma.cuh, named as in mma_launch.h; ".k4" at the end splits k.
struct Variant {
  std::string text;
  std::variant<cuda::WgmmaConfig, cuda::WgmmaRowsConfig, cuda::MmaTile, cuda::MmaRowsTile,
               cuda::FfmaTile>
      tile;
  int split_k = 1;  // GemmArgs::split_k of the last three
  bool programmatic = false;

  bool is_wgmma() const { return tile.index() < 2; }
  // Whether FP32 products are FFMA, and not three of TF32.
  bool is_ffma() const { return std::holds_alternative<cuda::FfmaTile>(tile); }
  // The main loop's file, without its ending.
  std::string MainLoopPath() const;
  std::string Label() const;
};

// Ends the program where the text is wrong.
Variant ParseVariant(const std::string& text);

}  // namespace mlpserve::bench
