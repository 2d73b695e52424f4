// Follows the references through a stream, picture by picture in decoding order: picture order
// counts (8.2.1), gaps in frame_num (8.2.5.2), marking (8.2.5), lists (8.2.4), and whether the
// lists can be trusted after a loss.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "h264/dpb.h"
#include "h264/native_index.h"
#include "h264/poc.h"
#include "h264/sei.h"
#include "h264/slice_header.h"

namespace cvdecode::h264 {

class ReferenceTracker {
 public:
  struct Begin {
    bool new_sequence = false;  // a new coded video sequence begins here
    int lost_frames = 0;        // frame_num says that so many reference frames are missing
    bool gap = false;           // frame_num skips values, as the stream is allowed to
  };
  // A coded frame or field with this first slice. `picture` is its decode number.
  Begin begin(const SliceHeader& header, const std::shared_ptr<const Sps>& sps, int32_t picture,
              bool second_field, const std::optional<RecoveryPoint>& recovery);

  // The lists of a slice of the picture begun last. False: a modification named a missing picture.
  bool lists(const SliceHeader& header, std::array<std::vector<RefEntry>, 2>& RefPicList);

  struct End {
    FieldOrderCnt order;          // as later pictures see it
    int32_t tempPicOrderCnt = 0;  // what mmco 5 took off
    bool mmco5 = false;
    bool references_sure = true;  // the lists of this picture are what the encoder meant
    bool mismatch = false;        // a command named a picture that is not there
  };
  End end(bool all_intra);

  // An IDR picture was there but could not be read.
  void lose_idr();
  int max_long_term_frame_idx() const { return frames_.max_long_term_frame_idx(); }

 private:
  void fill_gap(int frame_num, Begin& result);
  void follow_recovery(const std::optional<RecoveryPoint>& recovery);

  // kSureFrom: sure for pictures that follow recovered_order_ in output order.
  enum class Trust { kLost, kSureFrom, kSure };
  struct Recovery {
    int frame_num = 0;  // of the access unit with the message
    int count = 0;      // recovery_frame_cnt
  };

  ReferenceFrames frames_;
  PicOrderCnt order_cnt_;
  std::shared_ptr<const Sps> sps_;  // of the current picture; null before the first
  int PrevRefFrameNum_ = 0;         // 7.4.3
  bool previous_is_reference_ = false;
  Trust trust_ = Trust::kLost;
  int32_t recovered_order_ = 0;
  bool recovered_itself_ = false;  // the picture with recovered_order_ is sure too
  std::optional<Recovery> pending_;

  // the current picture
  SliceHeader header_;
  int32_t picture_ = 0;
  bool second_field_ = false;
  bool frames_were_empty_ = false;
  FieldOrderCnt order_;
  bool list_mismatch_ = false;
};

}  // namespace cvdecode::h264
