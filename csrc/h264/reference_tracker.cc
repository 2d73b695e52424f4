#include "h264/reference_tracker.h"

#include <algorithm>

#include "h264/ref_pic_lists.h"

namespace cvdecode::h264 {
namespace {

int32_t pic_order_cnt(const SliceHeader& header, const FieldOrderCnt& order) {
  if (!header.field_pic_flag) return std::min(order.TopFieldOrderCnt, order.BottomFieldOrderCnt);
  return header.bottom_field_flag ? order.BottomFieldOrderCnt : order.TopFieldOrderCnt;
}

// A sequence parameter set that changes any of these cannot go on with the frames of the old one.
bool same_sequence(const Sps& a, const Sps& b) {
  return a.PicWidthInMbs() == b.PicWidthInMbs() && a.FrameHeightInMbs() == b.FrameHeightInMbs() &&
         a.chroma_format_idc == b.chroma_format_idc &&
         a.bit_depth_luma_minus8 == b.bit_depth_luma_minus8 &&
         a.bit_depth_chroma_minus8 == b.bit_depth_chroma_minus8 &&
         a.frame_mbs_only_flag == b.frame_mbs_only_flag &&
         a.max_num_ref_frames == b.max_num_ref_frames &&
         a.log2_max_frame_num_minus4 == b.log2_max_frame_num_minus4 &&
         a.pic_order_cnt_type == b.pic_order_cnt_type;
}

}  // namespace

void ReferenceTracker::lose_idr() {
  frames_.clear();
  order_cnt_ = PicOrderCnt();
  PrevRefFrameNum_ = 0;
  previous_is_reference_ = false;
  trust_ = Trust::kLost;
  pending_.reset();
  if (sps_ != nullptr) frames_.add_non_existing(0, {}, *sps_);
}

// 8.2.5.2. Where gaps are not allowed the same is done for frames that were lost, as 8.2.5.2 wants
// it of decoders that conceal: the numbers of the frames that are there stay right.
void ReferenceTracker::fill_gap(int frame_num, Begin& result) {
  const int MaxFrameNum = sps_->MaxFrameNum();
  const int missing = (frame_num - PrevRefFrameNum_ - 1 + MaxFrameNum) % MaxFrameNum;
  result.gap = true;
  if (!sps_->gaps_in_frame_num_value_allowed_flag) {
    result.lost_frames = missing;
    trust_ = Trust::kLost;
    pending_.reset();
  }
  // Only the last ones stay in the sliding window.
  const int kept = std::min(missing, std::max(sps_->max_num_ref_frames, 1));
  int UnusedShortTermFrameNum = (frame_num - kept + MaxFrameNum) % MaxFrameNum;
  if (kept < missing) {
    // One step over those before: at most one wrap of frame_num lies in it.
    order_cnt_.infer_gap((UnusedShortTermFrameNum - 1 + MaxFrameNum) % MaxFrameNum, *sps_);
  }
  for (int i = 0; i < kept; ++i) {
    const FieldOrderCnt order = order_cnt_.infer_gap(UnusedShortTermFrameNum, *sps_);
    frames_.add_non_existing(UnusedShortTermFrameNum, order, *sps_);
    PrevRefFrameNum_ = UnusedShortTermFrameNum;
    UnusedShortTermFrameNum = (UnusedShortTermFrameNum + 1) % MaxFrameNum;
  }
}

// D.2.8: from the recovery point on, output pictures are right although decoding began at the
// message; so the encoder refers to nothing that was lost before it.
void ReferenceTracker::follow_recovery(const std::optional<RecoveryPoint>& recovery) {
  if (recovery) {
    pending_ = {header_.frame_num, static_cast<int>(recovery->recovery_frame_cnt)};
  }
  if (!pending_) return;
  const int MaxFrameNum = sps_->MaxFrameNum();
  const int passed = (header_.frame_num - pending_->frame_num + MaxFrameNum) % MaxFrameNum;
  if (passed < pending_->count) return;
  if (trust_ == Trust::kLost) {
    trust_ = Trust::kSureFrom;
    recovered_order_ = pic_order_cnt(header_, order_);
    recovered_itself_ = pending_->count > 0;
  }
  pending_.reset();
}

ReferenceTracker::Begin ReferenceTracker::begin(const SliceHeader& header,
                                                const std::shared_ptr<const Sps>& sps,
                                                int32_t picture, bool second_field,
                                                const std::optional<RecoveryPoint>& recovery) {
  Begin result;
  const bool idr = header.IdrPicFlag() && !second_field;
  const bool started = sps_ != nullptr;
  const bool changed = started && sps != sps_ && !same_sequence(*sps, *sps_);
  sps_ = sps;
  header_ = header;
  picture_ = picture;
  second_field_ = second_field;
  list_mismatch_ = false;

  if (idr) {
    frames_.clear();
    result.new_sequence = true;
    trust_ = Trust::kSure;
    pending_.reset();
  } else if (!started || changed) {
    // The stream begins, or goes on with another size, without an IDR picture.
    frames_.clear();
    order_cnt_ = PicOrderCnt();
    trust_ = Trust::kLost;
    pending_.reset();
    result.new_sequence = changed;
    order_cnt_.infer_gap(header.frame_num, *sps_);
  } else if (!second_field) {
    const int next = (PrevRefFrameNum_ + 1) % sps_->MaxFrameNum();
    if (header.frame_num != PrevRefFrameNum_ && header.frame_num != next) {
      fill_gap(header.frame_num, result);
    } else if (header.frame_num == PrevRefFrameNum_ && previous_is_reference_ &&
               header.nal_ref_idc != 0) {
      // 7.4.3 forbids it: something between them is gone.
      trust_ = Trust::kLost;
      pending_.reset();
    }
  }
  frames_were_empty_ = frames_.frames().empty();
  order_ = order_cnt_.decode(header, *sps_);
  frames_.update_frame_num_wrap(header.frame_num, sps_->MaxFrameNum());
  if (!second_field) follow_recovery(recovery);
  return result;
}

bool ReferenceTracker::lists(const SliceHeader& header,
                             std::array<std::vector<RefEntry>, 2>& RefPicList) {
  const bool found_all = build_ref_pic_lists(header, *sps_, frames_.frames(), order_, RefPicList);
  if (!found_all) list_mismatch_ = true;
  return found_all;
}

ReferenceTracker::End ReferenceTracker::end(bool all_intra) {
  End result;
  result.order = order_;
  const bool reference = header_.nal_ref_idc != 0;
  const int32_t own_order = pic_order_cnt(header_, order_);

  // A command that names a picture that is not there shows that something was lost unnoticed.
  // Before a recovery point in output order that is only to be expected.
  const auto sure_here = [&] {
    if (trust_ == Trust::kSure) return true;
    if (trust_ == Trust::kLost) return false;
    return own_order > recovered_order_ || (recovered_itself_ && own_order == recovered_order_);
  };
  if (list_mismatch_ && sure_here()) trust_ = Trust::kLost;
  result.references_sure = all_intra || sure_here();

  MarkingResult marking;
  if (reference) {
    FieldOrderCnt stored = order_;
    const bool mmco5 = std::any_of(header_.mmco.begin(), header_.mmco.end(), [](const auto& m) {
      return m.memory_management_control_operation == 5;
    });
    if (mmco5) {  // 8.2.1: tempPicOrderCnt
      result.tempPicOrderCnt = own_order;
      const auto less = [&](int32_t value) {
        return static_cast<int32_t>(static_cast<uint32_t>(value) -
                                    static_cast<uint32_t>(own_order));
      };
      stored = {less(order_.TopFieldOrderCnt), less(order_.BottomFieldOrderCnt)};
      result.order = stored;
    }
    marking = frames_.mark(header_, *sps_, picture_, stored, second_field_);
    result.mmco5 = marking.mmco5;
    result.mismatch = marking.mismatch;
    PrevRefFrameNum_ = marking.mmco5 ? 0 : header_.frame_num;
  } else if (header_.frame_num != PrevRefFrameNum_) {
    // Only at the start of a stream; elsewhere the gap was filled up to here.
    PrevRefFrameNum_ = (header_.frame_num - 1 + sps_->MaxFrameNum()) % sps_->MaxFrameNum();
  }
  previous_is_reference_ = reference;
  order_cnt_.finish(header_, marking.mmco5, result.order);

  if (marking.mismatch && trust_ == Trust::kSure) trust_ = Trust::kLost;
  if (marking.mmco5) {
    trust_ = Trust::kSure;
    pending_.reset();
  } else if (trust_ == Trust::kLost && all_intra && frames_were_empty_ && !second_field_) {
    // The stream begins here as far as anyone can tell: what follows in output order is as sure as
    // after an IDR picture.
    trust_ = Trust::kSureFrom;
    recovered_order_ = own_order;
    recovered_itself_ = true;
  } else if (trust_ == Trust::kLost && reference && !header_.field_pic_flag &&
             sps_->max_num_ref_frames <= 1) {
    // With one reference frame every reference picture replaces all that was there before.
    trust_ = Trust::kSure;
  }
  return result;
}

}  // namespace cvdecode::h264
