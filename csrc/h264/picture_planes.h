// From macroblock records and derived motion to the rows of the public planes.
#pragma once

#include <array>
#include <cstdint>
#include <vector>

#include "frame/clip.h"
#include "frame/frame_index.h"
#include "h264/macroblock.h"
#include "h264/picture_motion.h"

namespace cvdecode::h264 {

// What the planes show for each ref_idx of a slice; entry 0 is ref_idx -1.
struct SliceLabels {
  std::array<std::array<int16_t, 33>, 2> ref;          // Plane::kRef
  std::array<std::array<int32_t, 33>, 2> ref_picture;  // Plane::kRefPicture
};

// The labels of every slice of picture `picture` (a decode number).
void make_labels(const FrameIndex& index, int32_t picture, const PictureMotion& motion,
                 std::vector<SliceLabels>& labels);

// One row of a clip; null where the plane is not wanted.
struct PlaneRow {
  int16_t* mv = nullptr;           // (2, 2, H4, W4)
  int16_t* ref = nullptr;          // (2, H4, W4)
  int32_t* ref_picture = nullptr;  // (2, H4, W4)
  uint8_t* mb_type = nullptr;
  int16_t* qp = nullptr;
  uint16_t* bits = nullptr;
  int16_t* residual_y = nullptr;
  int16_t* residual_uv = nullptr;
  uint32_t* residual_written = nullptr;

  static PlaneRow of(Clip& clip, int64_t row, PlaneMask planes);
  bool wants_motion() const { return mv != nullptr || ref != nullptr || ref_picture != nullptr; }
  bool wants_residual() const { return residual_y != nullptr || residual_uv != nullptr; }
};

// The vectors and references of macroblocks [first_mb, first_mb + count), which belong to one
// slice, or are lost.
void write_motion(const PictureMotion& motion, const SliceLabels& labels, int first_mb, int count,
                  const PlaneRow& out);
// The same where nothing moves: intra slices, and what is lost.
void write_no_motion(int width_mbs, int height_mbs, int first_mb, int count, const PlaneRow& out);
// mb_type and qp.
void write_macroblocks(const Macroblock* macroblocks, int first_mb, int count, const PlaneRow& out);
// mb_type, qp, bits and residual of one macroblock that is lost.
void write_lost(int width_mbs, int height_mbs, int mb, const PlaneRow& out);

}  // namespace cvdecode::h264
