// What the layers of slice data share while one slice is decoded.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "h264/macroblock.h"
#include "h264/neighbours.h"
#include "h264/residual.h"
#include "h264/slice_decoder.h"
#include "h264/slice_header.h"

namespace cvdecode::h264 {

struct SliceJob {
  // constant during the slice
  const SliceHeader* header = nullptr;
  const Sps* sps = nullptr;
  const Pps* pps = nullptr;
  std::span<const uint8_t> rbsp;
  PictureSyntax* picture = nullptr;
  SliceSyntax* slice = nullptr;
  ResidualWriter* residual = nullptr;                 // null: no residual wanted
  uint16_t* bits = nullptr;                           // null: not wanted
  IntraModes* intra_modes = nullptr;                  // null: not wanted
  std::vector<IntraModeEdge>* modes_above = nullptr;  // null: modes not needed at all
  int width = 0;                                      // PicWidthInMbs
  int first_mb = 0;
  int mb_end = 0;
  int slice_index = 0;
  // the macroblock at hand; address, mb_x, mb_y are advanced by SliceData
  int address = 0;
  int mb_x = 0;
  int mb_y = 0;
};

}  // namespace cvdecode::h264
