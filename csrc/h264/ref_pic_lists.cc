#include "h264/ref_pic_lists.h"

#include <algorithm>

namespace cvdecode::h264 {
namespace {

// A frame, or one field of it. frame == nullptr: named by a command, but not there.
struct Item {
  const ReferenceFrame* frame = nullptr;
  uint8_t fields = 0;

  bool long_term() const { return frame != nullptr && (frame->long_term & fields) != 0; }
  friend bool operator==(const Item&, const Item&) = default;
};
using Items = std::vector<Item>;
using FrameList = std::vector<const ReferenceFrame*>;

// 8.2.4.2.5: fields of alternating parity, beginning with that of the current field; a field that
// is not marked is passed over, and what is left of one parity follows at the end.
void append_fields(const FrameList& list, uint8_t current, bool long_term, Items& out) {
  const auto marked = [&](const ReferenceFrame* frame, uint8_t parity) {
    return ((long_term ? frame->long_term : frame->short_term) & parity) != 0;
  };
  const uint8_t parity[2] = {current, static_cast<uint8_t>(kBothFields ^ current)};
  size_t next[2] = {0, 0};
  const auto advance = [&](size_t p) {
    while (next[p] < list.size() && !marked(list[next[p]], parity[p])) ++next[p];
    return next[p] < list.size();
  };
  size_t turn = 0;
  while (true) {
    if (advance(turn)) {
      out.push_back({list[next[turn]++], parity[turn]});
      turn ^= 1;
    } else {
      turn ^= 1;
      while (advance(turn)) out.push_back({list[next[turn]++], parity[turn]});
      return;
    }
  }
}

// Appends frames, or their fields in field mode.
void append(const SliceHeader& header, const FrameList& list, bool long_term, Items& out) {
  if (header.field_pic_flag) {
    append_fields(list, fields_of(header), long_term, out);
  } else {
    for (const ReferenceFrame* frame : list) out.push_back({frame, kBothFields});
  }
}

// For frames both fields must be marked alike (8.2.4.2.1, 8.2.4.2.3); for fields one is enough.
FrameList select(const SliceHeader& header, std::span<const ReferenceFrame> frames,
                 bool long_term) {
  FrameList list;
  for (const ReferenceFrame& frame : frames) {
    const uint8_t marked = long_term ? frame.long_term : frame.short_term;
    if (header.field_pic_flag ? marked != 0 : marked == kBothFields) list.push_back(&frame);
  }
  if (long_term) {
    std::stable_sort(list.begin(), list.end(), [](const auto* a, const auto* b) {
      return a->LongTermFrameIdx < b->LongTermFrameIdx;
    });
  }
  return list;
}

// 8.2.4.2.1, 8.2.4.2.2: P and SP slices.
Items initial_p_list(const SliceHeader& header, FrameList short_term, const FrameList& long_term) {
  std::stable_sort(short_term.begin(), short_term.end(),
                   [](const auto* a, const auto* b) { return a->FrameNumWrap > b->FrameNumWrap; });
  Items list;
  append(header, short_term, false, list);
  append(header, long_term, true, list);
  return list;
}

// 8.2.4.2.3, 8.2.4.2.4: B slices.
std::array<Items, 2> initial_b_lists(const SliceHeader& header, const Sps& sps,
                                     const FrameList& short_term, const FrameList& long_term,
                                     int32_t current) {
  FrameList before;  // descending from the current picture; for fields, equal counts belong here
  FrameList after;   // ascending
  for (const ReferenceFrame* frame : short_term) {
    // Their counts are unknown with type 0: "non-existing" frames stay out of these lists.
    if (frame->non_existing && sps.pic_order_cnt_type == 0) continue;
    const int32_t count = frame->PicOrderCnt();
    (count < current || (header.field_pic_flag && count == current) ? before : after)
        .push_back(frame);
  }
  std::stable_sort(before.begin(), before.end(), [](const auto* a, const auto* b) {
    return a->PicOrderCnt() > b->PicOrderCnt();
  });
  std::stable_sort(after.begin(), after.end(), [](const auto* a, const auto* b) {
    return a->PicOrderCnt() < b->PicOrderCnt();
  });
  std::array<Items, 2> lists;
  for (size_t x = 0; x < 2; ++x) {
    FrameList order = x == 0 ? before : after;
    const FrameList& rest = x == 0 ? after : before;
    order.insert(order.end(), rest.begin(), rest.end());
    append(header, order, false, lists[x]);
    append(header, long_term, true, lists[x]);
  }
  if (lists[1].size() > 1 && lists[0] == lists[1]) std::swap(lists[1][0], lists[1][1]);
  return lists;
}

// The picture that a command of 8.2.4.3 names.
Item find_item(const SliceHeader& header, std::span<const ReferenceFrame> frames, int64_t number,
               bool long_term) {
  uint8_t fields = kBothFields;
  if (header.field_pic_flag) {
    const uint8_t same = fields_of(header);
    fields = (number & 1) != 0 ? same : static_cast<uint8_t>(kBothFields ^ same);
    number >>= 1;
  }
  for (const ReferenceFrame& frame : frames) {
    const uint8_t marked = long_term ? frame.long_term : frame.short_term;
    const int value = long_term ? frame.LongTermFrameIdx : frame.FrameNumWrap;
    if (value == number && (marked & fields) == fields) return {&frame, fields};
  }
  return {};
}

// 8.2.4.3. False: a picture was not there.
bool modify(const SliceHeader& header, const Sps& sps, std::span<const ReferenceFrame> frames,
            const std::vector<RefPicListModification>& commands, Items& list) {
  const int64_t MaxPicNum = int64_t{sps.MaxFrameNum()} * (header.field_pic_flag ? 2 : 1);
  const int64_t CurrPicNum =
      header.field_pic_flag ? 2 * int64_t{header.frame_num} + 1 : header.frame_num;
  int64_t picNumPred = CurrPicNum;
  size_t refIdx = 0;
  bool found_all = true;
  for (const RefPicListModification& command : commands) {
    if (refIdx >= list.size()) break;
    Item item;
    if (command.modification_of_pic_nums_idc == 2) {
      item = find_item(header, frames, command.value, true);
    } else {
      const int64_t difference = int64_t{command.value} + 1;
      if (command.modification_of_pic_nums_idc == 0) {
        picNumPred -= difference;
        if (picNumPred < 0) picNumPred += MaxPicNum;
      } else {
        picNumPred += difference;
        if (picNumPred >= MaxPicNum) picNumPred -= MaxPicNum;
      }
      const int64_t picNum = picNumPred > CurrPicNum ? picNumPred - MaxPicNum : picNumPred;
      item = find_item(header, frames, picNum, false);
    }
    // The list is one longer for a moment: what stood here moves up, its copy further up goes.
    list.insert(list.begin() + static_cast<ptrdiff_t>(refIdx), item);
    ++refIdx;
    auto copy = list.end();
    if (item.frame != nullptr) {
      copy = std::find(list.begin() + static_cast<ptrdiff_t>(refIdx), list.end(), item);
    } else {
      found_all = false;
    }
    if (copy != list.end()) {
      list.erase(copy);
    } else {
      list.pop_back();
    }
  }
  return found_all;
}

}  // namespace

bool build_ref_pic_lists(const SliceHeader& header, const Sps& sps,
                         std::span<const ReferenceFrame> frames, const FieldOrderCnt& order,
                         std::array<std::vector<RefEntry>, 2>& RefPicList) {
  RefPicList[0].clear();
  RefPicList[1].clear();
  if (header.num_ref_idx_active[0] == 0) return true;

  const FrameList short_term = select(header, frames, false);
  const FrameList long_term = select(header, frames, true);
  std::array<Items, 2> lists;
  if (header.slice_type == kSliceB) {
    const int32_t current =
        header.field_pic_flag
            ? (header.bottom_field_flag ? order.BottomFieldOrderCnt : order.TopFieldOrderCnt)
            : std::min(order.TopFieldOrderCnt, order.BottomFieldOrderCnt);
    lists = initial_b_lists(header, sps, short_term, long_term, current);
  } else {
    lists[0] = initial_p_list(header, short_term, long_term);
  }

  bool found_all = true;
  const Item nothing{nullptr, kBothFields};  // "no reference picture", unlike a missing one: {}
  for (size_t x = 0; x < 2; ++x) {
    Items& list = lists[x];
    list.resize(static_cast<size_t>(header.num_ref_idx_active[x]), nothing);
    found_all = modify(header, sps, frames, header.ref_pic_list_modification[x], list) && found_all;
    RefPicList[x].reserve(list.size());
    for (const Item& item : list) {
      RefEntry entry;
      if (item.frame != nullptr) {
        entry.picture = item.frame->picture;
        entry.long_term = item.long_term();
      } else if (item.fields == 0) {
        entry.picture = kMissingPicture;
      }
      RefPicList[x].push_back(entry);
    }
  }
  return found_all;
}

}  // namespace cvdecode::h264
