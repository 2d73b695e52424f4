// Motion made up for the checks: random streams with every corner, and one like video for speed.
#pragma once

#include <cstdint>
#include <memory>
#include <random>
#include <vector>

#include "accumulate/arrays.h"

namespace cvdecode {

// Planes of a few pictures in decode order, and the rows over them.
struct MadeClip {
  Geometry geometry;
  std::vector<std::vector<int16_t>> mv, residual_y, residual_uv;
  std::vector<std::vector<int32_t>> refs;
  std::vector<std::vector<uint8_t>> mb_type, rgb;
  std::vector<ArrayRow> rows;
  std::vector<int64_t> frames;  // all that are presented

  std::unique_ptr<ArrayProvider> provider() const;
};

// Two lists, intra blocks, lost macroblocks, missing references, hidden pictures, long vectors;
// `wild`: vectors and residuals whose sums saturate.
MadeClip random_clip(const Geometry& geometry, int pictures, bool wild, std::mt19937& random);
// An intra picture and pictures that refer to the one before; one vector to a macroblock mostly.
MadeClip video_clip(int coded_width, int coded_height, int pictures);

}  // namespace cvdecode
