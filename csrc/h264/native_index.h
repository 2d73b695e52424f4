// What phase H keeps of an H.264 stream: every slice with its header, its parameter sets and its
// reference lists. Immutable after finish(); shared by the readers of one stream.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "h264/slice_header.h"

namespace cvdecode::h264 {

// References are picture ids = decode numbers (FrameIndex::pictures). Negative: no such picture.
inline constexpr int32_t kNoPicture = -1;       // list entry "no reference picture"
inline constexpr int32_t kMissingPicture = -3;  // a gap in frame_num or damage stands here

struct RefEntry {
  int32_t picture = kNoPicture;  // decode number
  bool long_term = false;        // marked "used for long-term reference" for this slice (8.4.1.2.3)
};

struct SliceEntry {
  SliceHeader header;
  ParameterSets sets;
  int64_t packet = 0;   // packet that holds the NAL
  uint32_t offset = 0;  // first byte of the NAL (its nal_unit header) inside the packet
  uint32_t size = 0;    // bytes of the NAL, emulation prevention included, trailing zeros removed
  std::array<std::vector<RefEntry>, 2> RefPicList;  // 8.2.4, final, num_ref_idx_active entries
};

struct PictureEntry {
  std::vector<SliceEntry> slices;  // primary coded slices in file order
  // As later pictures see them: after a memory_management_control_operation 5 less
  // tempPicOrderCnt, which is 0 for every other picture. At its own decoding, PicOrderCnt() was
  // PicOrderCnt() + tempPicOrderCnt.
  int32_t TopFieldOrderCnt = 0;
  int32_t BottomFieldOrderCnt = 0;
  int32_t tempPicOrderCnt = 0;
  int32_t PicOrderCnt() const {
    return TopFieldOrderCnt < BottomFieldOrderCnt ? TopFieldOrderCnt : BottomFieldOrderCnt;
  }
  int32_t FrameNum = 0;
  int32_t max_long_term_frame_idx = -1;
  bool references_sure =
      true;  // false from a lost or missing picture on until an IDR (or recovery)
  bool used_for_reference = false;
};

}  // namespace cvdecode::h264

namespace cvdecode {

struct NativeIndex {
  std::vector<h264::PictureEntry> pictures;  // parallel to FrameIndex::pictures
  // Why the native parser cannot read this stream: syntax element, value, NAL. "" = it can.
  std::string unsupported;
  int64_t nals_skipped = 0;       // NAL types 14, 15, 19, 20, 21 and unknown ones
  int64_t redundant_skipped = 0;  // slices with redundant_pic_cnt > 0
};

}  // namespace cvdecode
