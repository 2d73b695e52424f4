// A row of Plane::kMotion: what kMv and kRefPicture say, once for all blocks that move alike. Most
// macroblocks have one motion, so that little of a row is written and read.
#pragma once

#include <cstddef>
#include <cstdint>

#include "base/motion_shape.h"
#include "frame/planes.h"

namespace cvdecode {

// The prediction of a 4x4 luma block.
struct Prediction {
  int16_t mv[2][2] = {};                                        // [list][x, y]; as in kMv
  int32_t picture[2] = {kRefPictureUnused, kRefPictureUnused};  // [list], as in kRefPicture
};

struct MotionRow {
  static constexpr size_t kBlocks = 16;  // of a macroblock

  Prediction* first = nullptr;  // of each macroblock: of its first block
  // kBlocks for each macroblock. kOneMotion: undefined. kFourMotions: of its four 8x8 blocks, the
  // rest undefined. kAnyMotion: of its 4x4 blocks, row by row; those of an 8x8 block have the same
  // references.
  Prediction* blocks = nullptr;
  uint8_t* shapes = nullptr;  // MotionShape

  static size_t macroblocks(const Geometry& g) {
    return static_cast<size_t>(g.w16()) * static_cast<size_t>(g.h16());
  }
  // Rounded up, so that rows that follow each other are aligned alike.
  static size_t bytes(const Geometry& g) {
    const size_t all = macroblocks(g) * ((1 + kBlocks) * sizeof(Prediction) + 1);
    return (all + 63) / 64 * 64;
  }
  static MotionRow of(void* memory, const Geometry& g) {
    MotionRow row;
    row.first = static_cast<Prediction*>(memory);
    row.blocks = row.first + macroblocks(g);
    row.shapes = reinterpret_cast<uint8_t*>(row.blocks + macroblocks(g) * kBlocks);
    return row;
  }

  // A lost macroblock refers to a picture that is not there.
  void lose(size_t mb) const {
    first[mb] = Prediction{};
    first[mb].picture[0] = kRefPictureMissing;
    shapes[mb] = kOneMotion;
  }
};

}  // namespace cvdecode
