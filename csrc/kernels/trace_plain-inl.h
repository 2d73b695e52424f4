// The luma grid of maps that carry a displacement and an end, and nothing else: a row of
// macroblocks at a time. Ends are put together in one row of cells per row of blocks, and read from
// a source only where its macroblocks do not say what they share; rows leave by streaming stores.

// Per-target include guard of Highway.
#if defined(CVDECODE_KERNELS_TRACE_PLAIN_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef CVDECODE_KERNELS_TRACE_PLAIN_INL_H_
#undef CVDECODE_KERNELS_TRACE_PLAIN_INL_H_
#else
#define CVDECODE_KERNELS_TRACE_PLAIN_INL_H_
#endif

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <vector>

#include "kernels/trace.h"
#include "kernels/trace_lanes-inl.h"
#include "kernels/trace_sending-inl.h"
#include "kernels/trace_shared-inl.h"
#include "kernels/trace_walk-inl.h"

HWY_BEFORE_NAMESPACE();
namespace cvdecode::kernels {
namespace HWY_NAMESPACE {
namespace {

class PlainTracer {
 public:
  explicit PlainTracer(const TraceJob& job)
      : job_(job),
        out_(job.out),
        width_(job.width),
        height_(job.height),
        cells_(static_cast<ptrdiff_t>(width_) * height_),
        staged_(cells_ * 4 > kCached),
        tile_(staged_ ? std::min(kTile, width_) : width_),
        stride_(staged_ ? tile_ + kPad : width_) {
    const size_t row = static_cast<size_t>(tile_) + kPad;
    const size_t macroblocks = static_cast<size_t>(width_ / 16);
    memory_ = std::make_unique_for_overwrite<uint64_t[]>(
        2 * macroblocks + row * (4 * 4 + 4 + (staged_ ? 64 : 0)) / 8);
    shared_ = reinterpret_cast<Shared*>(memory_.get());
    end_ = reinterpret_cast<int32_t*>(shared_ + macroblocks);
    xy_ = reinterpret_cast<int16_t*>(end_ + 4 * row);
    mask_ = reinterpret_cast<uint8_t*>(xy_ + (staged_ ? 32 * row : 0));
  }

  int64_t run() {
    const uint8_t* shapes = job_.shapes;
    for (int by = job_.top; by < job_.end_row(); by += 4) {
      y_ = 4 * by;
      x_to_ = staged_ ? xy_ : out_.x + at(y_, 0);
      y_to_ = staged_ ? xy_ + 16 * stride_ : out_.y + at(y_, 0);
      std::fill_n(shared_, width_ / 16, Shared{kUnset, kUnset});
      for (left_ = 0; left_ < width_; left_ += tile_) {
        right_ = std::min(left_ + tile_, width_);
        mixed_.clear();
        walk_macroblocks(job_.blocks + static_cast<ptrdiff_t>(by - job_.top) * (width_ / 4),
                         width_ / 4, shapes, *this, left_ / 4, right_ / 4);
        finish_tile();
      }
      if (shapes != nullptr) shapes += width_ / 16;
      finish_row();
    }
    hwy::FlushStream();
    return clipped_;
  }

  // Blocks [left, right) x [top, bottom) of this row of macroblocks, all of one motion.
  HWY_NOINLINE void operator()(const BlockMotion& m, int left, int right, int top, int bottom) {
    const Part part{4 * left, 4 * right, 4 * top, 4 * bottom};
    if (m.source < 0) {
      const uint8_t mask = mask_of_source(m.source);
      constant(part, {shared_end(is_void(mask) ? -1 : job_.here, mask), shared_move(0, 0)});
      return;
    }
    const Source& source = job_.sources[m.source];
    if (source.is_end) {
      const OneLane lane;
      int64_t once = 0;
      const int dx = next_displacement(lane, 0, int{m.x}, false, once);
      const int dy = next_displacement(lane, 0, int{m.y}, false, once);
      clipped_ += once * (part.right - part.left) * (part.bottom - part.top);
      constant(part, {shared_end(source.end, source.mask), shared_move(dx, dy)});
      return;
    }
    const Hop hop{&source.map, m.x, m.y, luma_shift(m.x), luma_shift(m.y)};
    const bool clips = source.reach + std::max(std::abs(int{m.x}), std::abs(int{m.y})) > INT16_MAX;
    int from = part.left;  // columns that wait to be moved on sample by sample
    bool is_void_there = false;
    const auto move_on = [&](int end) HWY_ATTR {
      if (from == end) return;
      const Part some{from, end, part.top, part.bottom};
      if (clips) {
        cell_by_cell(hop, some);
      } else if (is_void_there) {
        move<true>(hop, some);
      } else {
        move<false>(hop, some);
      }
    };
    for (int x = part.left; x < part.right; x += 16) {
      const Part one{x, std::min(x + 16, part.right), part.top, part.bottom};
      Shared shared = shared_at(hop, one);
      const bool may_void = source.may_void && shared.end == kMany;
      // Where all is in the nearer caches, reading is as fast as knowing.
      if (!staged_ && !is_void_end(shared.end)) shared.move = kMany;
      shared.move = next_move(shared, m, may_void);
      if (shared.move != kMany) {
        move_on(x);
        from = one.right;
        is_void_there = false;
        fill_moves(one, shared.move);
      }
      is_void_there |= may_void;
      if (shared.end != kMany) {
        fill_ends(one, shared.end);
      } else {
        copy_later(hop, one);
      }
      note(one, shared);
    }
    move_on(part.right);
  }

 private:
  // Rows may be read and written in whole vectors of 16 cells beyond their end.
  static constexpr int kPad = 32;
  // Cells of a row that are put together at a time where they leave by streaming stores: 16 rows
  // of them stay in the nearest cache.
  static constexpr int kTile = 320;
  // Displacements of more bytes than this do not stay in the nearer caches anyhow.
  static constexpr ptrdiff_t kCached = 1 << 20;
  static constexpr uint64_t kUnset = kMany - 1;

  // Samples of this row of macroblocks; top and bottom count from its first one.
  struct Part {
    int left, right, top, bottom;
  };
  struct Hop {
    const Map* from;
    int x, y;    // vector
    int dx, dy;  // what it comes to in samples
  };
  // A part whose source has many ends.
  struct Mixed {
    Hop hop;
    Part part;
    ptrdiff_t from;  // first cell of its source, -1 where some are clamped
  };
  // A macroblock that may have many.
  struct Many {
    int column;  // of cells
    uint64_t first;
    bool differ;
  };

  ptrdiff_t at(int y, int x) const { return static_cast<ptrdiff_t>(y) * width_ + x; }
  // Of a cell of this row of macroblocks in x_to_ and y_to_.
  ptrdiff_t place(int y, int x) const { return static_cast<ptrdiff_t>(y) * stride_ + (x - left_); }
  ptrdiff_t source_row(const Hop& hop, int y) const {
    return at(clamp_to(y_ + y + hop.dy, height_), 0);
  }

  // The first source cell of a part none of whose cells are clamped, else -1.
  HWY_INLINE ptrdiff_t first_inside(const Hop& hop, const Part& p) const {
    const int x = p.left + hop.dx;
    const int y = y_ + p.top + hop.dy;
    const bool inside =
        x >= 0 && p.right + hop.dx <= width_ && y >= 0 && y_ + p.bottom + hop.dy <= height_;
    return inside ? at(y, x) : -1;
  }

  // What the source's macroblocks under a part, at most one macroblock large, have in common.
  HWY_INLINE Shared shared_at(const Hop& hop, const Part& p) const {
    if (hop.from->shared == nullptr) return {};
    return shared_of_corners(hop.from->shared, width_ / 16, clamp_to(p.left + hop.dx, width_) >> 4,
                             clamp_to(p.right - 1 + hop.dx, width_) >> 4,
                             clamp_to(y_ + p.top + hop.dy, height_) >> 4,
                             clamp_to(y_ + p.bottom - 1 + hop.dy, height_) >> 4);
  }

  HWY_INLINE void copy_later(const Hop& hop, const Part& p) {
    mixed_.push_back({hop, p, first_inside(hop, p)});
    if (mixed_.back().from >= 0) fetch_ends(mixed_.back());
  }

  HWY_INLINE void note(const Part& p, const Shared& shared) {
    for (int mb = p.left >> 4; mb <= (p.right - 1) >> 4; ++mb) {
      Shared& all = shared_[mb];
      all.end = all.end == kUnset || all.end == shared.end ? shared.end : kMany;
      all.move = all.move == kUnset || all.move == shared.move ? shared.move : kMany;
    }
  }

  // Whether whole vectors may be written from column `left` on: what follows is written later, or
  // is padding.
  HWY_INLINE bool may_write_over(int left, int n) const {
    return left - left_ + static_cast<int>(hwy::RoundUpTo(static_cast<size_t>(n), 16)) <= stride_;
  }

  HWY_INLINE void fill_ends(const Part& p, uint64_t shared) {
    const auto end = static_cast<int32_t>(static_cast<uint32_t>(shared));
    const auto mask = static_cast<uint8_t>(shared >> 32);
    const auto n = static_cast<size_t>(p.right - p.left);
    const ptrdiff_t stride = tile_ + kPad;
    const ptrdiff_t first = p.top / 4 * stride + (p.left - left_);
    int32_t* end_to = end_ + first;
    uint8_t* mask_to = mask_ + first;
    for (int rows = (p.bottom - p.top) / 4; rows > 0; --rows) {
      fill_cells<true>(end, n, end_to);
      fill_cells<true>(mask, n, mask_to);
      end_to += stride;
      mask_to += stride;
    }
  }

  HWY_NOINLINE void constant(const Part& p, const Shared& shared) {
    fill_moves(p, shared.move);
    fill_ends(p, shared.end);
    note(p, shared);
  }
  HWY_INLINE void fill_moves(const Part& p, uint64_t move) {
    fill_rows(p, static_cast<int16_t>(move), x_to_);
    fill_rows(p, static_cast<int16_t>(move >> 16), y_to_);
  }
  HWY_INLINE void fill_rows(const Part& p, int16_t value, int16_t* to) {
    const auto n = static_cast<size_t>(p.right - p.left);
    const bool over = may_write_over(p.left, p.right - p.left);
    const ptrdiff_t stride = stride_;
    to += place(p.top, p.left);
    for (int rows = p.bottom - p.top; rows > 0; --rows, to += stride) {
      if (over) {
        fill_cells<true>(value, n, to);
      } else {
        fill_cells<false>(value, n, to);
      }
    }
  }

  // Displacements one hop further; no sum saturates.
  template <bool kVoid>
  HWY_NOINLINE void move(const Hop& hop, const Part& p) {
    const ptrdiff_t first = first_inside(hop, p);
    if (!kVoid && p.right - p.left <= 16 && first >= 0 && may_write_over(p.left, 16) &&
        first + at(p.bottom - p.top - 1, 16) <= cells_) {
      if (staged_) {
        move_narrow<true>(hop, p, first);
      } else {
        move_narrow<false>(hop, p, first);
      }
      return;
    }
    const int inner = std::clamp(-hop.dx, p.left, p.right);
    const int outer = std::clamp(width_ - hop.dx, inner, p.right);
    if (inner > p.left) cell_by_cell(hop, {p.left, inner, p.top, p.bottom});
    if (outer > inner) {
      const auto n = static_cast<size_t>(outer - inner);
      const auto whole = static_cast<ptrdiff_t>(hwy::RoundUpTo(n, 16));
      const bool over = may_write_over(inner, outer - inner) &&
                        source_row(hop, p.bottom - 1) + inner + hop.dx + whole <= cells_;
      ptrdiff_t to = place(p.top, inner);
      for (int y = p.top; y < p.bottom; ++y, to += stride_) {
        const ptrdiff_t from = source_row(hop, y) + inner + hop.dx;
        if (staged_) fetch_below(hop, from, n);
        if (HWY_LIKELY(over)) {
          move_row<kVoid, true>(hop, from, n, to);
        } else {
          move_row<kVoid, false>(hop, from, n, to);
        }
      }
    }
    if (p.right > outer) cell_by_cell(hop, {outer, p.right, p.top, p.bottom});
  }
  // The same vector probably leads on from the row of macroblocks below.
  HWY_INLINE void fetch_below(const Hop& hop, ptrdiff_t from, size_t n) const {
    const ptrdiff_t below = from + at(16, 0);
    for (size_t i = 0; i < n; i += 32) {
      hwy::Prefetch(hop.from->x + below + i);
      hwy::Prefetch(hop.from->y + below + i);
    }
  }

  // Up to 16 cells wide, none of them clamped or void. kFetch: the source is not in a near cache.
  template <bool kFetch>
  HWY_INLINE void move_narrow(const Hop& hop, const Part& p, ptrdiff_t first) {
    const hn::CappedTag<int16_t, 16> d;
    const auto vx = hn::Set(d, static_cast<int16_t>(hop.x));
    const auto vy = hn::Set(d, static_cast<int16_t>(hop.y));
    // Kept in registers: what is written might be members, as far as the compiler knows.
    const int16_t* x = hop.from->x + first;
    const int16_t* y = hop.from->y + first;
    int16_t* x_to = x_to_ + place(p.top, p.left);
    int16_t* y_to = y_to_ + place(p.top, p.left);
    const ptrdiff_t width = width_;
    const ptrdiff_t stride = stride_;
    for (int rows = p.bottom - p.top; rows > 0; --rows) {
      if constexpr (kFetch) {
        hwy::Prefetch(x + 16 * width);
        hwy::Prefetch(y + 16 * width);
      }
      for (size_t i = 0; i < 16; i += hn::Lanes(d)) {
        // Planes lie a multiple of 4096 bytes apart: a load that comes after a store at the same
        // place of another plane would have to wait for it.
        const auto there_x = hn::LoadU(d, x + i);
        const auto there_y = hn::LoadU(d, y + i);
        hn::StoreU(hn::Sub(there_x, vx), d, x_to + i);
        hn::StoreU(hn::Sub(there_y, vy), d, y_to + i);
      }
      x += width;
      y += width;
      x_to += stride;
      y_to += stride;
    }
  }
  template <bool kVoid, bool kOver>
  HWY_INLINE void move_row(const Hop& hop, ptrdiff_t from, size_t n, ptrdiff_t to) {
    const uint8_t* mask = hop.from->mask + from;
    displacement_cells<kVoid, false, kOver>(hop.from->x + from, mask, hop.x, n, x_to_ + to,
                                            clipped_);
    displacement_cells<kVoid, false, kOver>(hop.from->y + from, mask, hop.y, n, y_to_ + to,
                                            clipped_);
  }

  // Clamped, possibly void or saturating cells.
  HWY_NOINLINE void cell_by_cell(const Hop& hop, const Part& p) {
    for (int y = p.top; y < p.bottom; ++y) {
      const ptrdiff_t row = source_row(hop, y);
      const ptrdiff_t to = place(y, 0);
      for (int x = p.left; x < p.right; ++x) {
        const ptrdiff_t from = row + clamp_to(x + hop.dx, width_);
        const bool dead = is_void(hop.from->mask[from]);
        const OneLane lane;
        x_to_[to + x] = static_cast<int16_t>(
            next_displacement(lane, int{hop.from->x[from]}, hop.x, dead, clipped_));
        y_to_[to + x] = static_cast<int16_t>(
            next_displacement(lane, int{hop.from->y[from]}, hop.y, dead, clipped_));
      }
    }
  }

  // Asks for what copy_ends() will read when the row of macroblocks is complete.
  HWY_INLINE void fetch_ends(const Mixed& mixed) const {
    const int32_t* end = mixed.hop.from->end + mixed.from;
    const uint8_t* mask = mixed.hop.from->mask + mixed.from;
    for (int y = mixed.part.top; y < mixed.part.bottom; ++y, end += width_, mask += width_) {
      hwy::Prefetch(end);
      hwy::Prefetch(end + 15);
      hwy::Prefetch(mask);
    }
  }

  // Ends of row y of a part whose source has many.
  HWY_INLINE void copy_ends(const Mixed& mixed, int y, int32_t* end, uint8_t* mask) const {
    const auto& [hop, p, inside] = mixed;
    end += p.left - left_;
    mask += p.left - left_;
    if (inside < 0) {
      copy_clamped_ends(hop, p, y, end, mask);
      return;
    }
    const ptrdiff_t from = inside + at(y - p.top, 0);
    const auto n = static_cast<size_t>(p.right - p.left);
    if (n == 16) {
      copy_cells<true>(hop.from->end + from, 16, end);
      copy_cells<true>(hop.from->mask + from, 16, mask);
    } else {
      copy_cells<false>(hop.from->end + from, n, end);
      copy_cells<false>(hop.from->mask + from, n, mask);
    }
  }
  HWY_NOINLINE void copy_clamped_ends(const Hop& hop, const Part& p, int y, int32_t* end,
                                      uint8_t* mask) const {
    const ptrdiff_t row = source_row(hop, y);
    for (int x = p.left; x < p.right; ++x) {
      const ptrdiff_t from = row + clamp_to(x + hop.dx, width_);
      *end++ = hop.from->end[from];
      *mask++ = hop.from->mask[from];
    }
  }

  // The rows of cells that are complete now, as far as the tile reaches.
  HWY_NOINLINE void finish_tile() {
    const auto n = static_cast<size_t>(right_ - left_);
    many_.clear();
    for (int x = left_; x < right_; x += 16) {
      if (shared_[x / 16].end == kMany) many_.push_back({x - left_, 0, false});
    }
    for (int y = 0; y < 16; ++y) {
      const ptrdiff_t block_row = static_cast<ptrdiff_t>(y / 4) * (tile_ + kPad);
      int32_t* const end = end_ + block_row;
      uint8_t* const mask = mask_ + block_row;
      for (const Mixed& mixed : mixed_) {
        if (y >= mixed.part.top && y < mixed.part.bottom) copy_ends(mixed, y, end, mask);
      }
      for (Many& many : many_) {
        if (y == 0) many.first = shared_end(end[many.column], mask[many.column]);
        if (!many.differ) {
          many.differ = !is_all(end + many.column, mask + many.column, many.first);
        }
      }
      const ptrdiff_t to = at(y_ + y, left_);
      send(end, n, out_.end + to);
      send(mask, n, out_.mask + to);
      if (!staged_) continue;
      send(x_to_ + y * stride_, n, out_.x + to);
      send(y_to_ + y * stride_, n, out_.y + to);
    }
    for (const Many& many : many_) {
      if (!many.differ) shared_[(left_ + many.column) / 16].end = many.first;
    }
  }
  void finish_row() {
    if (out_.shared == nullptr) return;
    std::copy_n(shared_, width_ / 16,
                out_.shared + static_cast<ptrdiff_t>(y_ / 16) * (width_ / 16));
  }

  const TraceJob& job_;
  const Map out_;
  const int width_, height_;
  const ptrdiff_t cells_;
  const bool
      staged_;        // displacements are put together elsewhere too, and leave by streaming stores
  const int tile_;    // columns that are complete at a time
  const int stride_;  // of x_to_ and y_to_
  std::unique_ptr<uint64_t[]> memory_;  // of these:
  Shared* shared_;                      // of this row of macroblocks
  int32_t* end_;                        // a row of cells per row of blocks
  int16_t* xy_;                         // 16 rows of x, then of y
  uint8_t* mask_;
  std::vector<Mixed> mixed_;
  std::vector<Many> many_;
  int y_ = 0;                 // first sample row of this row of macroblocks
  int left_ = 0, right_ = 0;  // columns of this tile
  int16_t* x_to_ = nullptr;
  int16_t* y_to_ = nullptr;
  int64_t clipped_ = 0;
};

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace cvdecode::kernels
HWY_AFTER_NAMESPACE();

#endif  // per-target guard
