// Maps that carry what is summed along the traces and not where these ended: displacement and
// residual of the luma grid, or the residuals of the chroma grid. Nothing is void. A row of
// macroblocks at a time, those that are wanted.

// Per-target include guard of Highway.
#if defined(CVDECODE_KERNELS_TRACE_BARE_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef CVDECODE_KERNELS_TRACE_BARE_INL_H_
#undef CVDECODE_KERNELS_TRACE_BARE_INL_H_
#else
#define CVDECODE_KERNELS_TRACE_BARE_INL_H_
#endif

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>

#include "kernels/trace.h"
#include "kernels/trace_lanes-inl.h"
#include "kernels/trace_walk-inl.h"

HWY_BEFORE_NAMESPACE();
namespace cvdecode::kernels {
namespace HWY_NAMESPACE {
namespace {

// kChroma: cells are 2x2 luma samples.
template <bool kChroma>
class BareTracer {
 public:
  explicit BareTracer(const TraceJob& job)
      : job_(job),
        width_(job.width / (kChroma ? 2 : 1)),
        height_(job.height / (kChroma ? 2 : 1)),
        has_residual_(kChroma || job.out.residual_y != nullptr) {}

  int64_t run() {
    const int blocks = job_.width / 4;
    const int macroblocks = job_.width / 16;
    for (int by = job_.top; by < job_.end_row(); by += 4) {
      y_ = by * kBlock;
      const BlockMotion* rows = job_.blocks + static_cast<ptrdiff_t>(by - job_.top) * blocks;
      const ptrdiff_t row = static_cast<ptrdiff_t>(by / 4) * macroblocks;
      const uint8_t* wanted = job_.wanted == nullptr ? nullptr : job_.wanted + row;
      const uint8_t* shapes =
          job_.shapes == nullptr ? nullptr : job_.shapes + row - job_.top / 4 * macroblocks;
      for (int first = 0, end = 0; first < macroblocks; first = end + 1) {
        while (wanted != nullptr && first < macroblocks && wanted[first] == 0) ++first;
        for (end = first; end < macroblocks && (wanted == nullptr || wanted[end] != 0);) ++end;
        if (first < end) walk_macroblocks(rows, blocks, shapes, *this, 4 * first, 4 * end);
      }
    }
    return clipped_;
  }

  // Blocks [left, right) x [top, bottom) of this row of macroblocks, all of one motion.
  HWY_NOINLINE void operator()(const BlockMotion& m, int left, int right, int top, int bottom) {
    left_ = left * kBlock;
    top_ = y_ + top * kBlock;
    rows_ = (bottom - top) * kBlock;
    const ptrdiff_t to = at(top_, left_);
    const int n = (right - left) * kBlock;
    if (m.source < 0) return stay(to, n);
    const Source& source = job_.sources[m.source];
    if (source.is_end) return end(m, to, n);
    const int dx = kChroma ? chroma_shift(m.x) : luma_shift(m.x);
    const int dy = kChroma ? chroma_shift(m.y) : luma_shift(m.y);
    for (int y = 0; y < rows_; ++y) from_[y] = at(clamp_to(top_ + y + dy, height_), 0);
    if (!kChroma && source.reach + std::max(std::abs(int{m.x}), std::abs(int{m.y})) > INT16_MAX) {
      return clamped(source.map, m, dx, left_, left_ + n);
    }
    const int inner = std::clamp(-dx, left_, left_ + n);
    const int outer = std::clamp(width_ - dx, inner, left_ + n);
    if (inner > left_) clamped(source.map, m, dx, left_, inner);
    if (outer > inner) move(source.map, m, inner + dx, to + (inner - left_), outer - inner);
    if (left_ + n > outer) clamped(source.map, m, dx, outer, left_ + n);
  }

 private:
  static constexpr int kBlock = kChroma ? 2 : 4;

  ptrdiff_t at(int y, int x) const { return static_cast<ptrdiff_t>(y) * width_ + x; }

  // Calls cells(d, row, i) for columns [0, n) of each row, in vectors of lanes that n is made of.
  template <class Cells>
  HWY_INLINE void each(int n, const Cells& cells) const {
    if (n % 16 == 0) {
      each_of<16>(n, cells);
    } else if (n % 8 == 0) {
      each_of<8>(n, cells);
    } else if (n % 4 == 0) {
      each_of<4>(n, cells);
    } else if (n % 2 == 0) {
      each_of<2>(n, cells);
    } else {
      each_of<1>(n, cells);
    }
  }
  template <size_t kMost, class Cells>
  HWY_INLINE void each_of(int n, const Cells& cells) const {
    const hn::CappedTag<int16_t, kMost> d;
    for (int y = 0; y < rows_; ++y) {
      for (int i = 0; i < n; i += static_cast<int>(hn::Lanes(d))) cells(d, y, i);
    }
  }

  HWY_INLINE void fill(int value, int16_t* to, int n) const {
    each(n, [&](auto d, int y, int i) HWY_ATTR {
      hn::StoreU(hn::Set(d, static_cast<int16_t>(value)), d, to + at(y, i));
    });
  }
  HWY_INLINE void copy(const int16_t* from, int16_t* to, int n) const {
    each(n, [&](auto d, int y, int i)
                HWY_ATTR { hn::StoreU(hn::LoadU(d, from + at(y, i)), d, to + at(y, i)); });
  }
  HWY_INLINE void subtract(const int16_t* from, int v, int16_t* to, int n) const {
    each(n, [&](auto d, int y, int i) HWY_ATTR {
      const auto there = hn::LoadU(d, from + from_[y] + i);
      hn::StoreU(hn::Sub(there, hn::Set(d, static_cast<int16_t>(v))), d, to + at(y, i));
    });
  }
  HWY_INLINE void add(const int16_t* from, const int16_t* own, int16_t* to, int n) {
    each(n, [&](auto d, int y, int i) HWY_ATTR {
      const auto there = hn::LoadU(d, from + from_[y] + i);
      const auto here = hn::LoadU(d, own + at(y, i));
      const auto sum = hn::SaturatedAdd(there, here);
      const auto differ = hn::Ne(sum, hn::Add(there, here));
      if (HWY_UNLIKELY(!hn::AllFalse(d, differ))) {
        clipped_ += static_cast<int64_t>(hn::CountTrue(d, differ));
      }
      hn::StoreU(sum, d, to + at(y, i));
    });
  }

  HWY_INLINE void stay(ptrdiff_t to, int n) {
    if constexpr (kChroma) {
      fill(0, job_.out.residual_u + to, n);
      fill(0, job_.out.residual_v + to, n);
    } else {
      fill(0, job_.out.x + to, n);
      fill(0, job_.out.y + to, n);
      if (has_residual_) fill(0, job_.out.residual_y + to, n);
    }
  }

  HWY_INLINE void end(const BlockMotion& m, ptrdiff_t to, int n) {
    if constexpr (kChroma) {
      copy(job_.residual_u + to, job_.out.residual_u + to, n);
      copy(job_.residual_v + to, job_.out.residual_v + to, n);
    } else {
      int64_t once = 0;
      fill(next_displacement(OneLane(), 0, int{m.x}, false, once), job_.out.x + to, n);
      fill(next_displacement(OneLane(), 0, int{m.y}, false, once), job_.out.y + to, n);
      clipped_ += once * n * rows_;
      if (has_residual_) copy(job_.residual_y + to, job_.out.residual_y + to, n);
    }
  }

  // From column `column` of the source on; no displacement saturates.
  HWY_INLINE void move(const Map& from, const BlockMotion& m, int column, ptrdiff_t to, int n) {
    if constexpr (kChroma) {
      add(from.residual_u + column, job_.residual_u + to, job_.out.residual_u + to, n);
      add(from.residual_v + column, job_.residual_v + to, job_.out.residual_v + to, n);
    } else {
      subtract(from.x + column, m.x, job_.out.x + to, n);
      subtract(from.y + column, m.y, job_.out.y + to, n);
      if (has_residual_) {
        add(from.residual_y + column, job_.residual_y + to, job_.out.residual_y + to, n);
      }
    }
  }

  // Columns [left, right), cell by cell.
  HWY_NOINLINE void clamped(const Map& map, const BlockMotion& m, int dx, int left, int right) {
    const OneLane lane;
    const auto summed = [&](const int16_t* in, const int16_t* own, ptrdiff_t from, ptrdiff_t to) {
      return static_cast<int16_t>(
          next_residual(lane, int{in[from]}, int{own[to]}, false, clipped_));
    };
    for (int y = 0; y < rows_; ++y) {
      for (int x = left; x < right; ++x) {
        const ptrdiff_t to = at(top_ + y, x);
        const ptrdiff_t from = from_[y] + clamp_to(x + dx, width_);
        if constexpr (kChroma) {
          job_.out.residual_u[to] = summed(map.residual_u, job_.residual_u, from, to);
          job_.out.residual_v[to] = summed(map.residual_v, job_.residual_v, from, to);
        } else {
          job_.out.x[to] = static_cast<int16_t>(
              next_displacement(lane, int{map.x[from]}, int{m.x}, false, clipped_));
          job_.out.y[to] = static_cast<int16_t>(
              next_displacement(lane, int{map.y[from]}, int{m.y}, false, clipped_));
          if (!has_residual_) continue;
          job_.out.residual_y[to] = summed(map.residual_y, job_.residual_y, from, to);
        }
      }
    }
  }

  const TraceJob& job_;
  const int width_, height_;
  const bool has_residual_;
  int64_t clipped_ = 0;
  int y_ = 0;  // first cell row of this row of macroblocks
  // Of the part in hand: first column, first row, rows, and where each row comes from.
  int left_ = 0, top_ = 0, rows_ = 0;
  ptrdiff_t from_[16] = {};
};

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace cvdecode::kernels
HWY_AFTER_NAMESPACE();

#endif  // per-target guard
