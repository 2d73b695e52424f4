// What motion prediction sees of the macroblocks around the one at hand, and where it writes.
#pragma once

#include <algorithm>
#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>

#include "h264/mv_prediction.h"

namespace cvdecode::h264 {

// Reference index of a neighbouring partition, besides real ones.
constexpr int8_t kNotUsed = -1;       // available, but intra or not using the list
constexpr int8_t kNotAvailable = -2;  // outside the picture or slice, or later in decoding order
constexpr int8_t kLostRef = -3;       // available, but lost: whoever looks at it is lost too

struct Neighbour {
  int ref = kNotAvailable;
  Mv mv;
};

// Copies of one vector, four at a time where a whole row of a macroblock is filled.
inline void fill_four(Mv* row, Mv mv) {
  const auto one = static_cast<uint64_t>(std::bit_cast<uint32_t>(mv));
  const uint64_t two = one | one << 32;
  std::memcpy(static_cast<void*>(row), &two, sizeof(two));
  std::memcpy(static_cast<void*>(row + 2), &two, sizeof(two));
}

// Goes along the rows of macroblocks of a slice. The reference indices of the row above and of the
// macroblock to the left lie in small arrays that say "not available" where nothing of this slice
// has been: no other test of availability is needed. Vectors are read where they are stored, in the
// picture.
template <bool kB>
class MotionCursor {
 protected:
  static constexpr int kLists = kB ? 2 : 1;

  MotionCursor(const SliceMotionInput& input, MotionScratch& scratch, PictureMotion& motion,
               MotionSink* sink)
      : in_(input),
        motion_(motion),
        w4_(motion.w4()),
        scratch_(scratch),
        sink_(sink),
        w8_(motion.w8()) {
    if (kB) scratch.one_motion.resize(static_cast<size_t>(motion.width_mbs));
    one_motion_ = scratch.one_motion.data();
    for (size_t list = 0; list < kLists; ++list) {
      // One quadrant more than the row: C of the last macroblock is never available.
      scratch.above[list].assign(static_cast<size_t>(w8_) + 2, kNotAvailable);
      top_[list] = scratch.above[list].data();
      if (motion.kept) continue;
      scratch.mv_rows[list].resize(static_cast<size_t>(w4_) * 8);
      scratch.ref_row[list].resize(static_cast<size_t>(w8_) * 2);
    }
  }

  void start_row(int mb_y, int x0) {
    mb_y_ = mb_y;
    const auto w4 = static_cast<ptrdiff_t>(w4_);
    for (size_t list = 0; list < kLists; ++list) {
      left_[list] = {kNotAvailable, kNotAvailable};
      corner_[list] = kNotAvailable;
      if (motion_.kept) {
        row_mv_[list] = motion_.mv[list].data() + mb_y * 4 * w4;
        row_ref_[list] = motion_.ref_idx[list].data() + static_cast<ptrdiff_t>(mb_y) * 2 * w8_;
        // Nothing is read above the first row, where no neighbour is available.
        above_mv_[list] = mb_y > 0 ? row_mv_[list] - w4 : row_mv_[list];
      } else {
        row_mv_[list] = scratch_.mv_rows[list].data() + mb_y % 2 * 4 * w4;
        above_mv_[list] = scratch_.mv_rows[list].data() + (1 - mb_y % 2) * 4 * w4 + 3 * w4;
        row_ref_[list] = scratch_.ref_row[list].data();
      }
      mv_[list] = row_mv_[list] + x0 * 4;
      above_mv_[list] += x0 * 4;
      ref_out_[list] = row_ref_[list] + x0 * 2;
    }
  }

  void finish_row(int x0, int x1) {
    const int first = mb_y_ * motion_.width_mbs + x0;
    if (motion_.kept) {
      std::fill_n(motion_.slice.begin() + first, x1 - x0, static_cast<uint16_t>(in_.slice));
      for (const int mb : scratch_.lost) motion_.slice[static_cast<size_t>(mb)] = kNoSlice;
      if (!kB && motion_.has_list1) {  // a P slice in a picture that has B slices too
        for (int y = mb_y_ * 4; y < mb_y_ * 4 + 4; ++y) {
          std::fill_n(motion_.mv[1].begin() + y * w4_ + x0 * 4, (x1 - x0) * 4, Mv{});
        }
        for (int y = mb_y_ * 2; y < mb_y_ * 2 + 2; ++y) {
          std::fill_n(motion_.ref_idx[1].begin() + y * w8_ + x0 * 2, (x1 - x0) * 2, kNotUsed);
        }
      }
    }
    if (sink_ != nullptr) {
      MotionRows rows;
      for (size_t list = 0; list < kLists; ++list) {
        rows.mv[list] = row_mv_[list];
        rows.ref_idx[list] = row_ref_[list];
      }
      if (kB) rows.one_motion = one_motion_;
      sink_->row(mb_y_, x0, x1, rows);
      for (const int mb : scratch_.lost) sink_->lost(mb);
    }
    scratch_.lost.clear();
  }

  // The vector at (x, y) in 4x4 blocks from the macroblock's corner, whose reference is `ref`.
  Neighbour at(int list, int ref, int x, int y) {
    Neighbour n{ref, Mv{}};
    if (ref >= 0) {
      n.mv = y < 0 ? above_mv_[list][x] : mv_[list][static_cast<ptrdiff_t>(y) * w4_ + x];
    } else if (kB && ref == kLostRef) {
      lost_ = true;
    }
    return n;
  }

  // A, B and C (or D) of the macroblock as one partition.
  struct Around {
    Neighbour a, b, c;
  };
  Around around(int list) {
    const int8_t* top = top_[list] + mb_x_ * 2;
    return {at(list, left_[list][0], -1, 0), at(list, top[0], 0, -1),
            top[2] != kNotAvailable ? at(list, top[2], 4, -1) : at(list, corner_[list], -1, -1)};
  }

  void fill_mv(int list, int x, int y, int w, int h, Mv mv) {
    for (int r = y; r < y + h; ++r) {
      Mv* row = mv_[list] + static_cast<ptrdiff_t>(r) * w4_ + x;
      if (w == 4) {
        fill_four(row, mv);
      } else {
        for (int i = 0; i < w; ++i) row[i] = mv;
      }
    }
  }

  void set_refs(int list, int q0, int q1, int q2, int q3) {
    refs_[list] = {static_cast<int8_t>(q0), static_cast<int8_t>(q1), static_cast<int8_t>(q2),
                   static_cast<int8_t>(q3)};
  }

  void whole(int list, int ref, Mv mv) {
    fill_mv(list, 0, 0, 4, 4, mv);
    set_refs(list, ref, ref, ref, ref);
  }

  void no_motion(int ref) {
    for (int list = 0; list < kLists; ++list) whole(list, ref, Mv{});
  }

  void finish_macroblock() {
    for (size_t list = 0; list < kLists; ++list) {
      const auto& r = refs_[list];
      std::memcpy(ref_out_[list], r.data(), 2);
      std::memcpy(ref_out_[list] + w8_, r.data() + 2, 2);
      int8_t* top = top_[list] + mb_x_ * 2;
      corner_[list] = top[1];
      std::memcpy(top, r.data() + 2, 2);
      left_[list] = {r[1], r[3]};
      mv_[list] += 4;
      above_mv_[list] += 4;
      ref_out_[list] += 2;
    }
  }

  // Whoever looks at this macroblock is lost too; nothing is stored of it.
  void lose_macroblock(int address) {
    lost_ = false;
    scratch_.lost.push_back(address);
    no_motion(kLostRef);
    int8_t* const out[2] = {ref_out_[0], ref_out_[1]};
    finish_macroblock();
    for (size_t list = 0; list < kLists; ++list) {
      std::fill_n(out[list], 2, kNotUsed);
      std::fill_n(out[list] + w8_, 2, kNotUsed);
    }
  }

  const SliceMotionInput& in_;
  PictureMotion& motion_;
  const int w4_;
  int mb_x_ = 0;
  int mb_y_ = 0;
  bool lost_ = false;
  std::array<int8_t*, 2> top_{};                 // of the row above, per quadrant column
  std::array<std::array<int8_t, 2>, 2> left_{};  // of the macroblock to the left, per quadrant row
  std::array<int8_t, 2> corner_{};               // of the macroblock above and to the left
  std::array<Mv*, 2> mv_{};                      // at the macroblock
  std::array<std::array<int8_t, 4>, 2> refs_{};  // of the macroblock, per quadrant
  uint8_t* one_motion_ = nullptr;                // MotionRows::one_motion; of B slices

 private:
  MotionScratch& scratch_;
  MotionSink* const sink_;
  const int w8_;
  std::array<Mv*, 2> row_mv_{};  // the row of macroblocks, from its left edge
  std::array<int8_t*, 2> row_ref_{};
  std::array<const Mv*, 2> above_mv_{};
  std::array<int8_t*, 2> ref_out_{};
};

}  // namespace cvdecode::h264
