#include "h264/poc.h"

namespace cvdecode::h264 {
namespace {

int32_t wrap(int64_t value) { return static_cast<int32_t>(value); }

// expectedPicOrderCnt of 8.2.1.2.
int64_t expected_pic_order_cnt(const Sps& sps, int64_t FrameNumOffset, int frame_num,
                               bool reference) {
  const int64_t cycle = sps.num_ref_frames_in_pic_order_cnt_cycle;
  int64_t absFrameNum = cycle != 0 ? FrameNumOffset + frame_num : 0;
  if (!reference && absFrameNum > 0) --absFrameNum;
  int64_t expected = 0;
  if (absFrameNum > 0) {
    const int64_t picOrderCntCycleCnt = (absFrameNum - 1) / cycle;
    const int64_t frameNumInCycle = (absFrameNum - 1) % cycle;
    int64_t ExpectedDeltaPerPicOrderCntCycle = 0;
    for (int64_t i = 0; i < cycle; ++i) {
      const int32_t offset = sps.offset_for_ref_frame[static_cast<size_t>(i)];
      ExpectedDeltaPerPicOrderCntCycle += offset;
      if (i <= frameNumInCycle) expected += offset;
    }
    // Only the low 32 bits matter: multiply without overflow.
    expected += wrap(static_cast<int64_t>(static_cast<uint64_t>(picOrderCntCycleCnt) *
                                          static_cast<uint64_t>(ExpectedDeltaPerPicOrderCntCycle)));
  }
  return reference ? expected : expected + sps.offset_for_non_ref_pic;
}

}  // namespace

int64_t PicOrderCnt::frame_num_offset(bool idr, int frame_num, const Sps& sps) const {
  if (idr) return 0;
  return prevFrameNum_ > frame_num ? prevFrameNumOffset_ + sps.MaxFrameNum() : prevFrameNumOffset_;
}

FieldOrderCnt PicOrderCnt::decode(const SliceHeader& header, const Sps& sps) {
  const bool idr = header.IdrPicFlag();
  const bool reference = header.nal_ref_idc != 0;
  int64_t top = 0;
  int64_t bottom = 0;
  if (sps.pic_order_cnt_type == 0) {  // 8.2.1.1
    const int64_t MaxPicOrderCntLsb = int64_t{1} << (sps.log2_max_pic_order_cnt_lsb_minus4 + 4);
    const int64_t previous_msb = idr ? 0 : prevPicOrderCntMsb_;
    const int64_t previous_lsb = idr ? 0 : prevPicOrderCntLsb_;
    const int64_t lsb = header.pic_order_cnt_lsb;
    PicOrderCntMsb_ = previous_msb;
    if (lsb < previous_lsb && previous_lsb - lsb >= MaxPicOrderCntLsb / 2) {
      PicOrderCntMsb_ += MaxPicOrderCntLsb;
    } else if (lsb > previous_lsb && lsb - previous_lsb > MaxPicOrderCntLsb / 2) {
      PicOrderCntMsb_ -= MaxPicOrderCntLsb;
    }
    top = PicOrderCntMsb_ + lsb;
    bottom = header.field_pic_flag ? top : top + header.delta_pic_order_cnt_bottom;
  } else {
    FrameNumOffset_ = frame_num_offset(idr, header.frame_num, sps);
    if (sps.pic_order_cnt_type == 1) {  // 8.2.1.2
      const int64_t expected =
          expected_pic_order_cnt(sps, FrameNumOffset_, header.frame_num, reference);
      top = expected + header.delta_pic_order_cnt[0];
      bottom = header.field_pic_flag
                   ? expected + sps.offset_for_top_to_bottom_field + header.delta_pic_order_cnt[0]
                   : top + sps.offset_for_top_to_bottom_field + header.delta_pic_order_cnt[1];
    } else {  // 8.2.1.3
      const int64_t twice = 2 * (FrameNumOffset_ + header.frame_num);
      top = idr ? 0 : (reference ? twice : twice - 1);
      bottom = top;
    }
  }
  return {wrap(top), wrap(bottom)};
}

void PicOrderCnt::finish(const SliceHeader& header, bool mmco5, const FieldOrderCnt& after) {
  if (header.nal_ref_idc != 0) {
    if (mmco5) {
      prevPicOrderCntMsb_ = 0;
      prevPicOrderCntLsb_ = header.bottom_field_flag ? 0 : after.TopFieldOrderCnt;
    } else {
      prevPicOrderCntMsb_ = PicOrderCntMsb_;
      prevPicOrderCntLsb_ = header.pic_order_cnt_lsb;
    }
  }
  prevFrameNumOffset_ = mmco5 ? 0 : FrameNumOffset_;
  prevFrameNum_ = mmco5 ? 0 : header.frame_num;  // 7.4.3: inferred to have had frame_num 0
}

FieldOrderCnt PicOrderCnt::infer_gap(int frame_num, const Sps& sps) {
  prevFrameNumOffset_ = frame_num_offset(false, frame_num, sps);
  prevFrameNum_ = frame_num;
  if (sps.pic_order_cnt_type == 1) {
    const int64_t expected = expected_pic_order_cnt(sps, prevFrameNumOffset_, frame_num, true);
    return {wrap(expected), wrap(expected + sps.offset_for_top_to_bottom_field)};
  }
  const int64_t twice = 2 * (prevFrameNumOffset_ + frame_num);
  return {wrap(twice), wrap(twice)};
}

}  // namespace cvdecode::h264
