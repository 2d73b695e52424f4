#include "h264/picture_motion.h"

#include <algorithm>

namespace cvdecode::h264 {

size_t PictureMotion::bytes() const {
  size_t sum = slice.capacity() * sizeof(uint16_t) + slices.capacity() * sizeof(SliceReferences);
  for (int list = 0; list < 2; ++list) {
    sum += mv[list].capacity() * sizeof(Mv) + ref_idx[list].capacity();
  }
  return sum;
}

void PictureMotion::reset(const PictureEntry& entry, bool keep) {
  const Sps& sps = *entry.slices.front().sets.sps;
  width_mbs = sps.PicWidthInMbs();
  height_mbs = sps.FrameHeightInMbs();
  has_list1 = std::any_of(entry.slices.begin(), entry.slices.end(),
                          [](const SliceEntry& s) { return s.header.slice_type == kSliceB; });
  const size_t mbs = static_cast<size_t>(width_mbs) * static_cast<size_t>(height_mbs);
  kept = keep;
  if (kept) {
    for (int list = 0; list < (has_list1 ? 2 : 1); ++list) {
      mv[list].resize(mbs * 16);
      ref_idx[list].resize(mbs * 4);
    }
    slice.assign(mbs, kNoSlice);
  }
  slices.resize(entry.slices.size());
  for (size_t s = 0; s < slices.size(); ++s) {
    for (int list = 0; list < 2; ++list) {
      const auto& entries = entry.slices[s].RefPicList[list];
      auto& out = slices[s].picture[list];
      out.fill(kMissingPicture);
      if (!entry.references_sure) continue;
      const size_t n = std::min(entries.size(), out.size());
      for (size_t i = 0; i < n; ++i) out[i] = entries[i].picture;
    }
  }
}

void PictureMotion::set_still(int first_mb, int count, uint16_t slice_number) {
  for (int mb = first_mb; mb < first_mb + count; ++mb) {
    const int x = mb % width_mbs;
    const int y = mb / width_mbs;
    slice[static_cast<size_t>(mb)] = slice_number;
    for (int list = 0; list < (has_list1 ? 2 : 1); ++list) {
      for (int row = 0; row < 4; ++row) {
        std::fill_n(mv[list].begin() + (y * 4 + row) * w4() + x * 4, 4, Mv{});
      }
      for (int row = 0; row < 2; ++row) {
        std::fill_n(ref_idx[list].begin() + (y * 2 + row) * w8() + x * 2, 2, int8_t{-1});
      }
    }
  }
}

}  // namespace cvdecode::h264
