// The reference frames at one moment of the stream and their marking, 8.2.5. No sample is held.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "h264/poc.h"
#include "h264/slice_header.h"

namespace cvdecode::h264 {

// Fields of a frame as bits, so that a frame is both.
enum FieldBits : uint8_t { kTopField = 1, kBottomField = 2, kBothFields = 3 };

// The fields that a slice with this header belongs to.
inline uint8_t fields_of(const SliceHeader& header) {
  if (!header.field_pic_flag) return kBothFields;
  return header.bottom_field_flag ? kBottomField : kTopField;
}

struct ReferenceFrame {
  int32_t picture = 0;        // decode number; kMissingPicture for a non-existing or lost frame
  int FrameNum = 0;           // 0 after memory_management_control_operation 5
  int FrameNumWrap = 0;       // 8.2.4.1, relative to the current picture
  int LongTermFrameIdx = 0;   // 0..15, meaningful where long_term != 0
  uint8_t fields = 0;         // decoded so far (FieldBits)
  uint8_t short_term = 0;     // fields marked "used for short-term reference"
  uint8_t long_term = 0;      // fields marked "used for long-term reference"
  bool non_existing = false;  // inferred by 8.2.5.2
  FieldOrderCnt order;        // only of the fields in `fields`

  // PicOrderCnt( ) of 8.2.1 of the decoded fields.
  int32_t PicOrderCnt() const {
    if (fields == kTopField) return order.TopFieldOrderCnt;
    if (fields == kBottomField) return order.BottomFieldOrderCnt;
    return order.TopFieldOrderCnt < order.BottomFieldOrderCnt ? order.TopFieldOrderCnt
                                                              : order.BottomFieldOrderCnt;
  }
};

struct MarkingResult {
  bool mmco5 = false;
  bool mismatch = false;  // a command named a picture that is not there, or too many were kept
};

class ReferenceFrames {
 public:
  std::span<const ReferenceFrame> frames() const { return frames_; }
  int max_long_term_frame_idx() const { return MaxLongTermFrameIdx_; }
  void clear();

  // FrameNumWrap of all short-term frames for a picture with this frame_num (8.2.4.1).
  void update_frame_num_wrap(int frame_num, int MaxFrameNum);

  // 8.2.5.2: makes room by the sliding window and adds a frame that cannot be referred to.
  void add_non_existing(int frame_num, const FieldOrderCnt& order, const Sps& sps);

  // 8.2.5.1 for a decoded reference picture (nal_ref_idc != 0). `second_field` says that it is the
  // second field of the frame that was marked last, with the same `picture`.
  MarkingResult mark(const SliceHeader& header, const Sps& sps, int32_t picture,
                     const FieldOrderCnt& order, bool second_field);

 private:
  void sliding_window(const Sps& sps, int32_t except);
  bool apply(const MemoryManagementControl& command, const SliceHeader& header, int32_t picture,
             int& current_long_term_frame_idx);
  ReferenceFrame* find_short_term(int64_t picNumX, const SliceHeader& header, uint8_t& fields);
  ReferenceFrame* find_long_term(int64_t LongTermPicNum, const SliceHeader& header,
                                 uint8_t& fields);
  void free_long_term_idx(int LongTermFrameIdx, const ReferenceFrame* keep);
  void drop_unused();

  std::vector<ReferenceFrame> frames_;  // at most 17, in decoding order
  int MaxLongTermFrameIdx_ = -1;        // -1 = "no long-term frame indices"
};

}  // namespace cvdecode::h264
