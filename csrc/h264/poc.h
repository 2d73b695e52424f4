// Picture order count, 8.2.1.
#pragma once

#include <cstdint>

#include "h264/slice_header.h"

namespace cvdecode::h264 {

// Both are always set for a frame; for a field only that of its parity.
struct FieldOrderCnt {
  int32_t TopFieldOrderCnt = 0;
  int32_t BottomFieldOrderCnt = 0;
};

// Carries the state from picture to picture in decoding order. Sums that overflow 32 bits (hostile
// input only) wrap.
class PicOrderCnt {
 public:
  // The counts of a coded frame or field, from the header of any of its slices.
  FieldOrderCnt decode(const SliceHeader& header, const Sps& sps);
  // To be called after decode(), once per coded frame or field. After a
  // memory_management_control_operation 5 the counts are given as they became (8.2.1, last
  // paragraphs).
  void finish(const SliceHeader& header, bool mmco5, const FieldOrderCnt& after);
  // The counts of a frame that 8.2.5.2 infers in a gap; meaningful for types 1 and 2 only.
  FieldOrderCnt infer_gap(int frame_num, const Sps& sps);

 private:
  int64_t frame_num_offset(bool idr, int frame_num, const Sps& sps) const;

  int64_t prevPicOrderCntMsb_ = 0;  // type 0
  int64_t prevPicOrderCntLsb_ = 0;
  int64_t PicOrderCntMsb_ = 0;
  int64_t prevFrameNumOffset_ = 0;  // types 1 and 2
  int prevFrameNum_ = 0;
  int64_t FrameNumOffset_ = 0;
};

}  // namespace cvdecode::h264
