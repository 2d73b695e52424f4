// The numeric tables of the standard, as tools/make_h264_tables.py writes them.
#pragma once

#include <cstdint>

namespace cvdecode::h264 {

#include "h264/macroblock_tables.inc"
#include "h264/residual_tables.inc"

// Place of luma4x4BlkIdx (6.4.3) in raster order inside the macroblock.
inline constexpr uint8_t kBlkRaster[16] = {0, 1, 4, 5, 2, 3, 6, 7, 8, 9, 12, 13, 10, 11, 14, 15};

}  // namespace cvdecode::h264
