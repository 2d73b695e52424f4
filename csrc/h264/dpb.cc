#include "h264/dpb.h"

#include <algorithm>

#include "h264/native_index.h"

namespace cvdecode::h264 {
namespace {

// Table-free form of 8.2.4.1: a number names a frame, or in field mode a frame and a parity.
// Returns the frame's number and sets `fields`.
int64_t split_pic_num(int64_t pic_num, const SliceHeader& header, uint8_t& fields) {
  if (!header.field_pic_flag) {
    fields = kBothFields;
    return pic_num;
  }
  const uint8_t same = fields_of(header);
  fields = (pic_num & 1) != 0 ? same : static_cast<uint8_t>(kBothFields ^ same);
  return pic_num >> 1;  // 2 * n + 1 and 2 * n; the shift rounds down for negative n too
}

}  // namespace

void ReferenceFrames::clear() {
  frames_.clear();
  MaxLongTermFrameIdx_ = -1;
}

void ReferenceFrames::drop_unused() {
  std::erase_if(frames_, [](const ReferenceFrame& frame) {
    return frame.short_term == 0 && frame.long_term == 0;
  });
}

void ReferenceFrames::update_frame_num_wrap(int frame_num, int MaxFrameNum) {
  for (ReferenceFrame& frame : frames_) {
    frame.FrameNumWrap = frame.FrameNum > frame_num ? frame.FrameNum - MaxFrameNum : frame.FrameNum;
  }
}

// 8.2.5.3. `except` is the current picture, whose first field may already be here.
void ReferenceFrames::sliding_window(const Sps& sps, int32_t except) {
  const auto capacity = static_cast<size_t>(std::max(sps.max_num_ref_frames, 1));
  while (frames_.size() >= capacity) {
    auto oldest = frames_.end();
    for (auto it = frames_.begin(); it != frames_.end(); ++it) {
      if (it->short_term == 0 || (it->picture == except && except >= 0)) continue;
      if (oldest == frames_.end() || it->FrameNumWrap < oldest->FrameNumWrap) oldest = it;
    }
    if (oldest == frames_.end()) return;
    oldest->short_term = 0;
    if (oldest->long_term != 0) return;  // one field of it is long-term: nothing more to free
    frames_.erase(oldest);
  }
}

void ReferenceFrames::add_non_existing(int frame_num, const FieldOrderCnt& order, const Sps& sps) {
  update_frame_num_wrap(frame_num, sps.MaxFrameNum());
  sliding_window(sps, kNoPicture);
  // Where long-term frames fill everything no room can be made; hostile or damaged input only.
  if (frames_.size() >= static_cast<size_t>(std::max(sps.max_num_ref_frames, 1))) return;
  ReferenceFrame frame;
  frame.picture = kMissingPicture;
  frame.FrameNum = frame_num;
  frame.FrameNumWrap = frame_num;
  frame.fields = kBothFields;
  frame.short_term = kBothFields;
  frame.non_existing = true;
  frame.order = order;
  frames_.push_back(frame);
}

ReferenceFrame* ReferenceFrames::find_short_term(int64_t picNumX, const SliceHeader& header,
                                                 uint8_t& fields) {
  const int64_t number = split_pic_num(picNumX, header, fields);
  for (ReferenceFrame& frame : frames_) {
    if (frame.FrameNumWrap == number && (frame.short_term & fields) == fields) return &frame;
  }
  return nullptr;
}

ReferenceFrame* ReferenceFrames::find_long_term(int64_t LongTermPicNum, const SliceHeader& header,
                                                uint8_t& fields) {
  const int64_t number = split_pic_num(LongTermPicNum, header, fields);
  for (ReferenceFrame& frame : frames_) {
    if (frame.LongTermFrameIdx == number && (frame.long_term & fields) == fields) return &frame;
  }
  return nullptr;
}

// 8.2.5.4.3, 8.2.5.4.6: an index that is assigned anew is taken from the frame that had it.
void ReferenceFrames::free_long_term_idx(int LongTermFrameIdx, const ReferenceFrame* keep) {
  for (ReferenceFrame& frame : frames_) {
    if (&frame != keep && frame.long_term != 0 && frame.LongTermFrameIdx == LongTermFrameIdx) {
      frame.long_term = 0;
    }
  }
}

// One command of 8.2.5.4 other than 5. False: the picture that it names is not there.
bool ReferenceFrames::apply(const MemoryManagementControl& command, const SliceHeader& header,
                            int32_t picture, int& current_long_term_frame_idx) {
  uint8_t fields = 0;
  const int64_t CurrPicNum =
      header.field_pic_flag ? 2 * int64_t{header.frame_num} + 1 : header.frame_num;
  const int64_t picNumX = CurrPicNum - (int64_t{command.difference_of_pic_nums_minus1} + 1);
  switch (command.memory_management_control_operation) {
    case 1: {
      ReferenceFrame* frame = find_short_term(picNumX, header, fields);
      if (frame == nullptr) return false;
      frame->short_term &= static_cast<uint8_t>(~fields);
      return true;
    }
    case 2: {
      ReferenceFrame* frame = find_long_term(command.long_term_pic_num, header, fields);
      if (frame == nullptr) return false;
      frame->long_term &= static_cast<uint8_t>(~fields);
      return true;
    }
    case 3: {
      ReferenceFrame* frame = find_short_term(picNumX, header, fields);
      if (frame == nullptr) return false;
      const int idx = static_cast<int>(command.long_term_frame_idx);
      free_long_term_idx(idx, frame);
      // The other field of this frame keeps its marking only under the same index.
      if (frame->long_term != 0 && frame->LongTermFrameIdx != idx) frame->long_term = 0;
      frame->short_term &= static_cast<uint8_t>(~fields);
      frame->long_term |= fields;
      frame->LongTermFrameIdx = idx;
      return true;
    }
    case 4: {
      MaxLongTermFrameIdx_ = static_cast<int>(command.max_long_term_frame_idx_plus1) - 1;
      for (ReferenceFrame& frame : frames_) {
        if (frame.LongTermFrameIdx > MaxLongTermFrameIdx_) frame.long_term = 0;
      }
      return true;
    }
    case 6: {
      current_long_term_frame_idx = static_cast<int>(command.long_term_frame_idx);
      const auto own = std::find_if(
          frames_.begin(), frames_.end(),
          [&](const ReferenceFrame& frame) { return picture >= 0 && frame.picture == picture; });
      free_long_term_idx(current_long_term_frame_idx, own == frames_.end() ? nullptr : &*own);
      return true;
    }
    default: return true;
  }
}

MarkingResult ReferenceFrames::mark(const SliceHeader& header, const Sps& sps, int32_t picture,
                                    const FieldOrderCnt& order, bool second_field) {
  MarkingResult result;
  int current_long_term_frame_idx = -1;
  const uint8_t fields = fields_of(header);
  const auto find_own = [&] {
    return std::find_if(frames_.begin(), frames_.end(), [&](const ReferenceFrame& frame) {
      return second_field && frame.picture == picture;
    });
  };

  if (header.IdrPicFlag() && !second_field) {
    clear();
    if (header.long_term_reference_flag) {
      current_long_term_frame_idx = 0;
      MaxLongTermFrameIdx_ = 0;
    }
  } else if (header.adaptive_ref_pic_marking_mode_flag) {
    update_frame_num_wrap(header.frame_num, sps.MaxFrameNum());
    for (const MemoryManagementControl& command : header.mmco) {
      if (command.memory_management_control_operation == 5) {  // 8.2.5.4.5
        clear();
        result.mmco5 = true;
      } else if (!apply(command, header, picture, current_long_term_frame_idx)) {
        result.mismatch = true;
      }
    }
    drop_unused();
  } else if (const auto own = find_own(); own == frames_.end() || own->short_term == 0) {
    // The second field of a short-term reference frame takes no room of its own (8.2.5.3).
    update_frame_num_wrap(header.frame_num, sps.MaxFrameNum());
    sliding_window(sps, picture);
  }

  auto own = find_own();
  if (own == frames_.end()) {
    ReferenceFrame frame;
    frame.picture = picture;
    frame.FrameNum = result.mmco5 ? 0 : header.frame_num;
    frame.FrameNumWrap = frame.FrameNum;
    frames_.push_back(frame);
    own = frames_.end() - 1;
  }
  own->fields |= fields;
  if ((fields & kTopField) != 0) own->order.TopFieldOrderCnt = order.TopFieldOrderCnt;
  if ((fields & kBottomField) != 0) own->order.BottomFieldOrderCnt = order.BottomFieldOrderCnt;
  if (current_long_term_frame_idx >= 0) {
    own->long_term |= fields;
    own->LongTermFrameIdx = current_long_term_frame_idx;
  } else {
    own->short_term |= fields;
  }

  // 8.2.5.3, 8.2.5.4: never more than max_num_ref_frames are marked. A stream that breaks this (or
  // whose commands were lost) gives up its oldest frames, as decoders do, so memory is bounded.
  const auto capacity = static_cast<size_t>(std::max(sps.max_num_ref_frames, 1));
  while (frames_.size() > capacity) {
    result.mismatch = true;
    auto victim = frames_.end();
    for (auto it = frames_.begin(); it != frames_.end(); ++it) {
      if (it->picture == picture) continue;
      if (victim == frames_.end() || (it->long_term == 0 && victim->long_term != 0) ||
          ((it->long_term == 0) == (victim->long_term == 0) &&
           it->FrameNumWrap < victim->FrameNumWrap)) {
        victim = it;
      }
    }
    if (victim == frames_.end()) break;
    frames_.erase(victim);
  }
  return result;
}

}  // namespace cvdecode::h264
