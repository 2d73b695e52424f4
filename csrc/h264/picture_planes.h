// From macroblock records and derived motion to the rows of the public planes.
#pragma once

#include <array>
#include <cstdint>
#include <vector>

#include "frame/clip.h"
#include "frame/frame_index.h"
#include "frame/motion_row.h"
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
  MotionRow motion;
  uint8_t* mb_type = nullptr;
  int16_t* qp = nullptr;
  uint16_t* bits = nullptr;
  int16_t* residual_y = nullptr;
  int16_t* residual_uv = nullptr;
  uint32_t* residual_written = nullptr;

  static PlaneRow of(Clip& clip, int64_t row, PlaneMask planes);
  bool wants_blocks() const { return mv != nullptr || ref != nullptr || ref_picture != nullptr; }
  bool wants_motion() const { return wants_blocks() || motion.first != nullptr; }
  bool wants_residual() const { return residual_y != nullptr || residual_uv != nullptr; }
};

// Writes rows of one slice. `labels` may be null where no motion is wanted.
class PlaneSink final : public MotionSink {
 public:
  PlaneSink(int width_mbs, int height_mbs, const Macroblock* macroblocks, const SliceLabels* labels,
            const PlaneRow& out)
      : width_mbs_(width_mbs),
        height_mbs_(height_mbs),
        macroblocks_(macroblocks),
        labels_(labels),
        out_(out) {}

  void row(int mb_y, int x0, int x1, const MotionRows& rows) override;
  void lost(int mb) override;
  // Macroblocks without motion: intra slices, and what is lost.
  void still(int first_mb, int count);

 private:
  void write_blocks(int mb_y, int x0, int x1, const MotionRows& rows);
  void write_motion(int mb_y, int x0, int x1, const MotionRows& rows);

  const int width_mbs_;
  const int height_mbs_;
  const Macroblock* const macroblocks_;
  const SliceLabels* const labels_;
  const PlaneRow& out_;
};

}  // namespace cvdecode::h264
