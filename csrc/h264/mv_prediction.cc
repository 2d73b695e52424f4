#include "h264/mv_prediction.h"

#include <algorithm>
#include <array>

#include "h264/motion_cursor.h"

namespace cvdecode::h264 {
namespace {

inline int16_t median(int16_t a, int16_t b, int16_t c) {
  return std::max(std::min(a, b), std::min(std::max(a, b), c));
}

inline Mv median(Mv a, Mv b, Mv c) {
  if (a == b || a == c) return a;  // the common case
  if (b == c) return b;
  return {median(a.x, b.x, c.x), median(a.y, b.y, c.y)};
}

// 8.4.1.3 and 8.4.1.3.1. C has been replaced by D where it is not available.
inline Mv median_prediction(int ref, const Neighbour& a, const Neighbour& b, const Neighbour& c) {
  if (b.ref == kNotAvailable && c.ref == kNotAvailable) return a.mv;
  const int matches = (a.ref == ref) + (b.ref == ref) + (c.ref == ref);
  if (matches == 1) return a.ref == ref ? a.mv : b.ref == ref ? b.mv : c.mv;
  return median(a.mv, b.mv, c.mv);
}

Mv add(Mv a, Mvd d) { return {static_cast<int16_t>(a.x + d.x), static_cast<int16_t>(a.y + d.y)}; }

// Walks the macroblocks of a slice and predicts the vectors of each.
template <bool kB>
class Walker : private MotionCursor<kB> {
  using Base = MotionCursor<kB>;

 public:
  Walker(const SliceMotionInput& input, MotionScratch& scratch, PictureMotion& motion,
         MotionSink* sink)
      : Base(input, scratch, motion, sink), direct_(scratch.direct) {}

  MotionStatus run(int* lost) {
    int address = in_.first_mb;
    const int end = in_.first_mb + in_.mb_count;
    while (address < end) {
      const int mb_y = address / motion_.width_mbs;
      const int x0 = address % motion_.width_mbs;
      const int x1 = std::min(motion_.width_mbs, x0 + end - address);
      start_row(mb_y, x0);
      for (int mb_x = x0; mb_x < x1; ++mb_x, ++address) {
        derive(in_.macroblocks[static_cast<size_t>(address)], mb_x);
        if (kB && unresolved_) return MotionStatus::kNeedsColocated;
        if (kB && lost_) {
          ++*lost;
          lose_macroblock(address);
        } else {
          finish_macroblock();
        }
      }
      finish_row(x0, x1);
    }
    return MotionStatus::kDone;
  }

 private:
  using Base::around;
  using Base::at;
  using Base::corner_;
  using Base::fill_mv;
  using Base::finish_macroblock;
  using Base::finish_row;
  using Base::in_;
  using Base::kLists;
  using Base::left_;
  using Base::lose_macroblock;
  using Base::lost_;
  using Base::mb_x_;
  using Base::mb_y_;
  using Base::motion_;
  using Base::mv_;
  using Base::no_motion;
  using Base::one_motion_;
  using Base::refs_;
  using Base::set_refs;
  using Base::start_row;
  using Base::top_;
  using Base::w4_;
  using Base::whole;
  using typename Base::Around;

  void derive(const Macroblock& mb, int mb_x) {
    mb_x_ = mb_x;
    switch (mb.mb_type) {
      case MbType::kPSkip: p_skip(); break;
      case MbType::kBSkip:
      case MbType::kBDirect16x16: direct_16x16(); break;
      case MbType::kInter16x16: inter_16x16(mb); break;
      case MbType::kInter16x8: inter_16x8(mb); break;
      case MbType::kInter8x16: inter_8x16(mb); break;
      case MbType::kInter8x8: inter_8x8(mb); break;
      default: no_motion(kNotUsed); break;
    }
  }

  void p_skip() {  // 8.4.1.1
    const Around n = around(0);
    const auto still = [](const Neighbour& x) { return x.ref == 0 && x.mv == Mv{}; };
    const bool zero =
        n.a.ref == kNotAvailable || n.b.ref == kNotAvailable || still(n.a) || still(n.b);
    whole(0, 0, zero ? Mv{} : median_prediction(0, n.a, n.b, n.c));
  }

  Mv next_difference(int list, Mv prediction) {
    (void)list;
    return add(prediction, *mvd_++);
  }

  void start_differences(const Macroblock& mb) { mvd_ = in_.mvd.data() + mb.first_mvd; }

  bool uses(const Macroblock& mb, int list, int quadrant) const {
    return (mb.pred[static_cast<size_t>(quadrant)] >> list & 1) != 0;
  }

  void inter_16x16(const Macroblock& mb) {
    start_differences(mb);
    for (int list = 0; list < kLists; ++list) {
      if (!uses(mb, list, 0)) {
        whole(list, kNotUsed, Mv{});
        continue;
      }
      const int ref = mb.ref_idx[list][0];
      const Around n = around(list);
      whole(list, ref, next_difference(list, median_prediction(ref, n.a, n.b, n.c)));
    }
  }

  void inter_16x8(const Macroblock& mb) {
    start_differences(mb);
    for (int list = 0; list < kLists; ++list) {
      int ref0 = kNotUsed;
      Mv mv0{};
      if (uses(mb, list, 0)) {
        ref0 = mb.ref_idx[list][0];
        const int8_t* top = top_[list] + mb_x_ * 2;
        const Neighbour b = at(list, top[0], 0, -1);
        if (b.ref == ref0) {
          mv0 = b.mv;
        } else {
          const Around n = around(list);
          mv0 = median_prediction(ref0, n.a, n.b, n.c);
        }
        mv0 = next_difference(list, mv0);
      }
      fill_mv(list, 0, 0, 4, 2, mv0);
      int ref1 = kNotUsed;
      Mv mv1{};
      if (uses(mb, list, 2)) {
        ref1 = mb.ref_idx[list][2];
        const Neighbour a = at(list, left_[list][1], -1, 2);
        if (a.ref == ref1) {
          mv1 = a.mv;
        } else {  // C would lie in the macroblock to the right: D instead
          const Neighbour d = at(list, left_[list][0], -1, 1);
          mv1 = median_prediction(ref1, a, Neighbour{ref0, mv0}, d);
        }
        mv1 = next_difference(list, mv1);
      }
      fill_mv(list, 0, 2, 4, 2, mv1);
      set_refs(list, ref0, ref0, ref1, ref1);
    }
  }

  void inter_8x16(const Macroblock& mb) {
    start_differences(mb);
    for (int list = 0; list < kLists; ++list) {
      const int8_t* top = top_[list] + mb_x_ * 2;
      int ref0 = kNotUsed;
      Mv mv0{};
      if (uses(mb, list, 0)) {
        ref0 = mb.ref_idx[list][0];
        const Neighbour a = at(list, left_[list][0], -1, 0);
        if (a.ref == ref0) {
          mv0 = a.mv;
        } else {
          const Neighbour b = at(list, top[0], 0, -1);
          const Neighbour c =
              top[1] != kNotAvailable ? at(list, top[1], 2, -1) : at(list, corner_[list], -1, -1);
          mv0 = median_prediction(ref0, a, b, c);
        }
        mv0 = next_difference(list, mv0);
      }
      fill_mv(list, 0, 0, 2, 4, mv0);
      int ref1 = kNotUsed;
      Mv mv1{};
      if (uses(mb, list, 1)) {
        ref1 = mb.ref_idx[list][1];
        const Neighbour c =
            top[2] != kNotAvailable ? at(list, top[2], 4, -1) : at(list, top[0], 1, -1);
        if (c.ref == ref1) {
          mv1 = c.mv;
        } else {
          const Neighbour b = at(list, top[1], 2, -1);
          mv1 = median_prediction(ref1, Neighbour{ref0, mv0}, b, c);
        }
        mv1 = next_difference(list, mv1);
      }
      fill_mv(list, 2, 0, 2, 4, mv1);
      set_refs(list, ref0, ref1, ref0, ref1);
    }
  }

  // Reference indices around and inside the macroblock, one per 4x4 block, filled in decoding
  // order: what is not filled yet is not available (6.4.11.7).
  struct RefGrid {
    std::array<int8_t, 5 * 8> cell;
    int8_t& at(int x, int y) { return cell[static_cast<size_t>((y + 1) * 8 + x + 1)]; }
  };

  RefGrid grid_around(int list) {
    RefGrid g;
    g.cell.fill(kNotAvailable);
    const int8_t* top = top_[list] + mb_x_ * 2;
    g.at(-1, -1) = corner_[list];
    g.at(0, -1) = g.at(1, -1) = top[0];
    g.at(2, -1) = g.at(3, -1) = top[1];
    g.at(4, -1) = top[2];
    g.at(-1, 0) = g.at(-1, 1) = left_[list][0];
    g.at(-1, 2) = g.at(-1, 3) = left_[list][1];
    return g;
  }

  void sub_partition(int list, RefGrid& g, int ref, int x, int y, int w, int h) {
    const Neighbour a = at(list, g.at(x - 1, y), x - 1, y);
    const Neighbour b = at(list, g.at(x, y - 1), x, y - 1);
    const int ref_c = g.at(x + w, y - 1);
    const Neighbour c = ref_c != kNotAvailable ? at(list, ref_c, x + w, y - 1)
                                               : at(list, g.at(x - 1, y - 1), x - 1, y - 1);
    fill_mv(list, x, y, w, h, next_difference(list, median_prediction(ref, a, b, c)));
    for (int r = y; r < y + h; ++r) {
      for (int i = x; i < x + w; ++i) g.at(i, r) = static_cast<int8_t>(ref);
    }
  }

  void inter_8x8(const Macroblock& mb) {
    start_differences(mb);
    DirectMotion direct;
    int direct_quadrants = 0;
    if (kB) {
      for (int q = 0; q < 4; ++q) {
        direct_quadrants |= (mb.pred[static_cast<size_t>(q)] == kPredDirect) << q;
      }
      if (direct_quadrants != 0) derive_direct(direct_quadrants, &direct);
      if (unresolved_ || lost_) return;
    }
    for (int list = 0; list < kLists; ++list) {
      RefGrid g = grid_around(list);
      for (int q = 0; q < 4; ++q) {
        const int x = q % 2 * 2;
        const int y = q / 2 * 2;
        const auto quadrant = static_cast<size_t>(q);
        int8_t& ref = refs_[list][quadrant];
        if (kB && (direct_quadrants >> q & 1) != 0) {
          ref = direct.ref_idx[list][quadrant];
          for (int r = y; r < y + 2; ++r) {
            for (int i = x; i < x + 2; ++i) {
              mv_[list][static_cast<ptrdiff_t>(r) * w4_ + i] = direct.mv[list][r * 4 + i];
              g.at(i, r) = ref;
            }
          }
          continue;
        }
        if (!uses(mb, list, q)) {
          ref = kNotUsed;
          fill_mv(list, x, y, 2, 2, Mv{});
          g.at(x, y) = g.at(x + 1, y) = g.at(x, y + 1) = g.at(x + 1, y + 1) = kNotUsed;
          continue;
        }
        ref = mb.ref_idx[list][quadrant];
        switch (mb.sub_shape[quadrant]) {
          case kSub8x4:
            sub_partition(list, g, ref, x, y, 2, 1);
            sub_partition(list, g, ref, x, y + 1, 2, 1);
            break;
          case kSub4x8:
            sub_partition(list, g, ref, x, y, 1, 2);
            sub_partition(list, g, ref, x + 1, y, 1, 2);
            break;
          case kSub4x4:
            sub_partition(list, g, ref, x, y, 1, 1);
            sub_partition(list, g, ref, x + 1, y, 1, 1);
            sub_partition(list, g, ref, x, y + 1, 1, 1);
            sub_partition(list, g, ref, x + 1, y + 1, 1, 1);
            break;
          default: sub_partition(list, g, ref, x, y, 2, 2); break;
        }
      }
    }
  }

  // The part of 8.4.1.2.2 that does not look at the co-located picture.
  struct Spatial {
    std::array<int, 2> ref;
    std::array<Mv, 2> mv;
  };
  Spatial spatial_prediction() {
    const std::array<Around, 2> n = {around(0), around(1)};
    Spatial s;
    for (size_t list = 0; list < 2; ++list) {  // MinPositive: negative values count as large
      const auto smallest =
          std::min({static_cast<unsigned>(n[list].a.ref), static_cast<unsigned>(n[list].b.ref),
                    static_cast<unsigned>(n[list].c.ref)});
      s.ref[list] = static_cast<int>(smallest);
    }
    if (s.ref[0] < 0 && s.ref[1] < 0) {  // directZeroPredictionFlag
      s.ref = {0, 0};
      return s;
    }
    for (size_t list = 0; list < 2; ++list) {
      if (s.ref[list] < 0) {
        s.ref[list] = kNotUsed;
      } else {
        s.mv[list] = median_prediction(s.ref[list], n[list].a, n[list].b, n[list].c);
      }
    }
    return s;
  }

  // Blocks whose vectors the co-located picture sets to zero. Not looked at when that cannot
  // matter.
  uint32_t zeroed_blocks(const Spatial& s) {
    const bool matters = (s.ref[0] == 0 && s.mv[0] != Mv{}) || (s.ref[1] == 0 && s.mv[1] != Mv{});
    uint32_t mask = 0;
    if (matters) check(direct_.col_zero(mb_x_, mb_y_, &mask));
    return mask;
  }

  void check(DirectStatus status) {
    if (status == DirectStatus::kLost) lost_ = true;
    if (status == DirectStatus::kUnresolved) unresolved_ = true;
  }

  void direct_16x16() {
    if (direct_.spatial()) {
      const Spatial s = spatial_prediction();
      const uint32_t zero = zeroed_blocks(s);
      one_motion_[mb_x_] = zero == 0;
      for (size_t list = 0; list < 2; ++list) {
        const int l = static_cast<int>(list);
        whole(l, s.ref[list], s.mv[list]);
        if (zero == 0 || s.ref[list] != 0) continue;
        for (int i = 0; i < 16; ++i) {
          if ((zero >> i & 1) != 0) fill_mv(l, i % 4, i / 4, 1, 1, Mv{});
        }
      }
      return;
    }
    DirectMotion direct;
    check(direct_.temporal(mb_x_, mb_y_, 15, &direct));
    if (unresolved_ || lost_) return;
    one_motion_[mb_x_] = direct.uniform;
    if (direct.uniform) {
      for (size_t list = 0; list < 2; ++list) {
        whole(static_cast<int>(list), direct.ref_idx[list][0], direct.mv[list][0]);
      }
      return;
    }
    for (int list = 0; list < 2; ++list) {
      refs_[list] = direct.ref_idx[list];
      for (int r = 0; r < 4; ++r) {
        std::copy_n(&direct.mv[list][r * 4], 4, mv_[list] + static_cast<ptrdiff_t>(r) * w4_);
      }
    }
  }

  void derive_direct(int quadrants, DirectMotion* out) {
    if (!direct_.spatial()) {
      check(direct_.temporal(mb_x_, mb_y_, quadrants, out));
      return;
    }
    const Spatial s = spatial_prediction();
    const uint32_t zero = zeroed_blocks(s);
    for (size_t list = 0; list < 2; ++list) {
      out->ref_idx[list].fill(static_cast<int8_t>(s.ref[list]));
      for (size_t i = 0; i < 16; ++i) {
        out->mv[list][i] = s.ref[list] == 0 && (zero >> i & 1) != 0 ? Mv{} : s.mv[list];
      }
    }
  }

  DirectSlice& direct_;
  bool unresolved_ = false;
  const Mvd* mvd_ = nullptr;
};

}  // namespace

MotionStatus derive_motion(const SliceMotionInput& input, MotionScratch& scratch,
                           PictureMotion& motion, MotionSink* sink, int* lost) {
  const auto s = static_cast<size_t>(input.slice);
  const SliceEntry& slice = input.entry->slices[s];
  scratch.lost.clear();
  if (slice.header.slice_type == kSliceB) {
    scratch.direct.start(*input.entry, slice, input.pictures, motion.slices[s], input.colocated);
    return Walker<true>(input, scratch, motion, sink).run(lost);
  }
  return Walker<false>(input, scratch, motion, sink).run(lost);
}

}  // namespace cvdecode::h264
