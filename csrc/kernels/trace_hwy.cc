// The SIMD builds of the trace. A run of blocks that share one vector and one source copies rows:
// contiguous loads, no gather. Highway compiles this file once per target and picks at run time.
#include <algorithm>
#include <cstddef>
#include <cstring>
#include <vector>

#include "kernels/trace.h"
#include "kernels/trace_pixel.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/trace_hwy.cc"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include "kernels/trace_cell-inl.h"

HWY_BEFORE_NAMESPACE();
namespace cvdecode::kernels {
namespace HWY_NAMESPACE {
namespace {

namespace hn = hwy::HWY_NAMESPACE;

// Up to kMost lanes of 16 bits. kMayVoid, kMayClip: what cannot happen costs nothing.
template <size_t kMost, bool kMayVoid, bool kMayClip>
struct ManyLanes {
  using D = hn::CappedTag<int16_t, kMost>;
  using V = hn::Vec<D>;
  using M = hn::Mask<D>;
  static constexpr size_t kLanes = HWY_MIN(kMost, HWY_LANES(int16_t));

  HWY_INLINE V load(const int16_t* from) const { return hn::LoadU(D(), from); }
  HWY_INLINE V load(const uint16_t* from) const {
    return hn::BitCast(D(), hn::LoadU(hn::RebindToUnsigned<D>(), from));
  }
  HWY_INLINE void store(V v, int16_t* to) const { hn::StoreU(v, D(), to); }
  HWY_INLINE void store(V v, uint16_t* to) const {
    const hn::RebindToUnsigned<D> du;
    hn::StoreU(hn::BitCast(du, v), du, to);
  }
  HWY_INLINE V set(int value) const { return hn::Set(D(), static_cast<int16_t>(value)); }

  // Lanes whose trace is void: masks 2 and 3.
  HWY_INLINE M dead(const uint8_t* mask) const {
    if constexpr (!kMayVoid) {
      (void)mask;
      return hn::MaskFromVec(hn::Zero(D()));
    } else {
      const hn::Rebind<uint8_t, D> d8;
      const V wide = hn::PromoteTo(D(), hn::LoadU(d8, mask));
      return hn::Eq(hn::And(wide, set(0xFE)), set(2));
    }
  }
  HWY_INLINE V zero_where(M dead, V v) const {
    if constexpr (kMayVoid) return hn::IfThenZeroElse(dead, v);
    return v;
  }
  HWY_INLINE V sub_sat(V a, V b, M dead, int64_t& clipped) const {
    if constexpr (!kMayClip) return hn::Sub(a, b);
    const V sum = hn::SaturatedSub(a, b);
    count(sum, hn::Sub(a, b), dead, clipped);
    return sum;
  }
  HWY_INLINE V add_sat(V a, V b, M dead, int64_t& clipped) const {
    const V sum = hn::SaturatedAdd(a, b);
    count(sum, hn::Add(a, b), dead, clipped);
    return sum;
  }
  HWY_INLINE V add_hop(V h) const {
    const hn::RebindToUnsigned<D> du;
    return hn::BitCast(D(), hn::SaturatedAdd(hn::BitCast(du, h), hn::Set(du, uint16_t{1})));
  }
  HWY_INLINE void count(V sum, V wrapped, M dead, int64_t& clipped) const {
    const auto differ = hn::Ne(sum, wrapped);
    if (HWY_LIKELY(hn::AllFalse(D(), differ))) return;
    const V ones = hn::IfThenElseZero(differ, set(1));
    clipped += static_cast<int64_t>(hn::CountTrue(D(), hn::Ne(zero_where(dead, ones), set(0))));
  }
};

// Runs BODY with `lanes` and `i` until [0, n) is covered. kOver: in whole vectors of 16 cells, past
// n if need be, where the caller knows that what follows is written again; else to the cell.
#define CVDECODE_FOR_LANES(kVoid, kClip, kOver, n, BODY)      \
  do {                                                        \
    size_t i = 0;                                             \
    const size_t stop = kOver ? hwy::RoundUpTo(n, 16) : (n);  \
    {                                                         \
      const ManyLanes<16, kVoid, kClip> lanes;                \
      for (; i + lanes.kLanes <= stop; i += lanes.kLanes) {   \
        BODY                                                  \
      }                                                       \
    }                                                         \
    if constexpr (!kOver) {                                   \
      {                                                       \
        const ManyLanes<4, kVoid, kClip> lanes;               \
        for (; i + lanes.kLanes <= stop; i += lanes.kLanes) { \
          BODY                                                \
        }                                                     \
      }                                                       \
      const ManyLanes<1, kVoid, kClip> lanes;                 \
      for (; i < stop; ++i) {                                 \
        BODY                                                  \
      }                                                       \
    }                                                         \
  } while (false)

template <bool kOver, typename T>
HWY_INLINE void copy_cells(const T* from, size_t n, T* to) {
  const hn::CappedTag<T, 16> d16;
  size_t i = 0;
  const size_t stop = kOver ? hwy::RoundUpTo(n, 16) : n;
  for (; i + hn::Lanes(d16) <= stop; i += hn::Lanes(d16)) {
    hn::StoreU(hn::LoadU(d16, from + i), d16, to + i);
  }
  if constexpr (!kOver) {
    const hn::CappedTag<T, 4> d4;
    for (; i + hn::Lanes(d4) <= stop; i += hn::Lanes(d4)) {
      hn::StoreU(hn::LoadU(d4, from + i), d4, to + i);
    }
    for (; i < stop; ++i) to[i] = from[i];
  }
}

template <bool kOver, typename T>
HWY_INLINE void fill_cells(T value, size_t n, T* to) {
  const hn::CappedTag<T, 16> d16;
  size_t i = 0;
  const size_t stop = kOver ? hwy::RoundUpTo(n, 16) : n;
  for (; i + hn::Lanes(d16) <= stop; i += hn::Lanes(d16))
    hn::StoreU(hn::Set(d16, value), d16, to + i);
  if constexpr (!kOver) {
    const hn::CappedTag<T, 4> d4;
    for (; i + hn::Lanes(d4) <= stop; i += hn::Lanes(d4))
      hn::StoreU(hn::Set(d4, value), d4, to + i);
    for (; i < stop; ++i) to[i] = value;
  }
}

template <bool kVoid, bool kClip, bool kOver>
HWY_INLINE void displacement_cells(const int16_t* from, const uint8_t* mask, int v, size_t n,
                                   int16_t* to, int64_t& clipped) {
  CVDECODE_FOR_LANES(kVoid, kClip, kOver, n, {
    lanes.store(
        next_displacement(lanes, lanes.load(from + i), lanes.set(v), lanes.dead(mask + i), clipped),
        to + i);
  });
}

// Counts what it clips, so never past n.
template <bool kVoid>
HWY_INLINE void residual_cells(const int16_t* from, const uint8_t* mask, const int16_t* res,
                               size_t n, int16_t* to, int64_t& clipped) {
  CVDECODE_FOR_LANES(kVoid, true, false, n, {
    lanes.store(next_residual(lanes, lanes.load(from + i), lanes.load(res + i),
                              lanes.dead(mask + i), clipped),
                to + i);
  });
}

template <bool kVoid, bool kOver>
HWY_INLINE void hops_cells(const uint16_t* from, const uint8_t* mask, size_t n, uint16_t* to) {
  CVDECODE_FOR_LANES(kVoid, true, kOver, n, {
    lanes.store(next_hops(lanes, lanes.load(from + i), lanes.dead(mask + i)), to + i);
  });
}

// Cells from, from + 1 ... of a source, as cells to, to + 1 ... of the new map. `n` of them, and
// `over`: whole vectors may be read and written, because cells to the right come later.
struct Span {
  size_t from, to, n;
  bool over;
};

HWY_INLINE uint64_t bits_of(const BlockMotion* block) {
  static_assert(sizeof(BlockMotion) == sizeof(uint64_t));
  uint64_t bits;
  std::memcpy(&bits, block, sizeof bits);
  return bits;
}

// Whether a 4x4 square of blocks has one motion.
HWY_INLINE bool is_uniform(const BlockMotion* corner, ptrdiff_t blocks) {
  const uint64_t first = bits_of(corner);
  uint64_t differ = 0;
  for (int y = 0; y < 4; ++y, corner += blocks) {
    for (int x = 0; x < 4; ++x) differ |= bits_of(corner + x) ^ first;
  }
  return differ == 0;
}

// The planes of the luma and of the block grid.
class LumaPlanes {
 public:
  explicit LumaPlanes(const TraceJob& job) : job_(job), out_(job.out) {}

  // From a map; kClip: some sum may saturate.
  template <bool kVoid, bool kClip>
  HWY_INLINE void copy(const Source& source, const BlockMotion& m, const Span& s) {
    if (!kClip && s.over) {
      copy_as<kVoid, kClip, !kClip>(source.map, m, s);
    } else {
      copy_as<kVoid, kClip, false>(source.map, m, s);
    }
  }
  // From a picture in which every trace ends; (sx, sy) is the source of the first cell, `step` from
  // one cell's to the next one's.
  HWY_INLINE void end(const Source& source, const BlockMotion& m, int sx, int step, int sy,
                      const Span& s) {
    const OneLane lane;
    int64_t once = 0;
    const int dx = next_displacement(lane, 0, int{m.x}, false, once);
    const int dy = next_displacement(lane, 0, int{m.y}, false, once);
    clipped += once * static_cast<int64_t>(s.n);
    fill(dx, dy, source.end, source.mask, 1, s);
    if (out_.at_x != nullptr) positions(sx, step, sy, s);
    if (out_.residual_y != nullptr) {
      copy_cells<false>(job_.residual_y + s.to, s.n, out_.residual_y + s.to);
    }
  }
  // Traces that do not leave this picture.
  HWY_INLINE void stay(int32_t source, int x, int y, const Span& s) {
    const bool stop = source == kSourceStop;
    fill(0, 0, stop ? job_.here : -1, mask_of_source(source), 0, s);
    if (out_.at_x != nullptr) positions(stop ? x : 0, stop ? 1 : 0, stop ? y : 0, s);
    if (out_.residual_y != nullptr) fill_cells<false>(int16_t{0}, s.n, out_.residual_y + s.to);
  }

  int64_t clipped = 0;

 private:
  template <bool kVoid, bool kClip, bool kOver>
  HWY_INLINE void copy_as(const Map& in, const BlockMotion& m, const Span& s) {
    const uint8_t* mask = in.mask + s.from;
    displacement_cells<kVoid, kClip, kOver>(in.x + s.from, mask, m.x, s.n, out_.x + s.to, clipped);
    displacement_cells<kVoid, kClip, kOver>(in.y + s.from, mask, m.y, s.n, out_.y + s.to, clipped);
    copy_cells<kOver>(in.end + s.from, s.n, out_.end + s.to);
    copy_cells<kOver>(mask, s.n, out_.mask + s.to);
    if (out_.at_x != nullptr) {
      copy_cells<kOver>(in.at_x + s.from, s.n, out_.at_x + s.to);
      copy_cells<kOver>(in.at_y + s.from, s.n, out_.at_y + s.to);
    }
    if (out_.hops != nullptr) {
      hops_cells<kVoid, kOver>(in.hops + s.from, mask, s.n, out_.hops + s.to);
    }
    if (out_.residual_y != nullptr) {
      residual_cells<kVoid>(in.residual_y + s.from, mask, job_.residual_y + s.to, s.n,
                            out_.residual_y + s.to, clipped);
    }
  }
  template <bool kOver>
  HWY_INLINE void fill_as(int dx, int dy, int32_t end, uint8_t mask, int hops, const Span& s) {
    fill_cells<kOver>(static_cast<int16_t>(dx), s.n, out_.x + s.to);
    fill_cells<kOver>(static_cast<int16_t>(dy), s.n, out_.y + s.to);
    fill_cells<kOver>(end, s.n, out_.end + s.to);
    fill_cells<kOver>(mask, s.n, out_.mask + s.to);
    if (out_.hops != nullptr) {
      fill_cells<kOver>(static_cast<uint16_t>(hops), s.n, out_.hops + s.to);
    }
  }
  HWY_INLINE void fill(int dx, int dy, int32_t end, uint8_t mask, int hops, const Span& s) {
    if (s.over) {
      fill_as<true>(dx, dy, end, mask, hops, s);
    } else {
      fill_as<false>(dx, dy, end, mask, hops, s);
    }
  }
  HWY_INLINE void positions(int x, int step, int y, const Span& s) {
    for (size_t i = 0; i < s.n; ++i) {
      out_.at_x[s.to + i] = static_cast<int16_t>(x + step * static_cast<int>(i));
    }
    fill_cells<false>(static_cast<int16_t>(y), s.n, out_.at_y + s.to);
  }

  const TraceJob& job_;
  const Map out_;
};

class ChromaPlanes {
 public:
  explicit ChromaPlanes(const TraceJob& job) : job_(job), out_(job.out) {}

  template <bool kVoid, bool kClip>
  HWY_INLINE void copy(const Source& source, const BlockMotion&, const Span& s) {
    const uint8_t* mask = source.map.mask_uv + s.from;
    residual_cells<kVoid>(source.map.residual_u + s.from, mask, job_.residual_u + s.to, s.n,
                          out_.residual_u + s.to, clipped);
    residual_cells<kVoid>(source.map.residual_v + s.from, mask, job_.residual_v + s.to, s.n,
                          out_.residual_v + s.to, clipped);
    copy_cells<false>(mask, s.n, out_.mask_uv + s.to);
  }
  HWY_INLINE void end(const Source& source, const BlockMotion&, int, int, int, const Span& s) {
    fill_cells<false>(source.mask, s.n, out_.mask_uv + s.to);
    copy_cells<false>(job_.residual_u + s.to, s.n, out_.residual_u + s.to);
    copy_cells<false>(job_.residual_v + s.to, s.n, out_.residual_v + s.to);
  }
  HWY_INLINE void stay(int32_t source, int, int, const Span& s) {
    fill_cells<false>(mask_of_source(source), s.n, out_.mask_uv + s.to);
    fill_cells<false>(int16_t{0}, s.n, out_.residual_u + s.to);
    fill_cells<false>(int16_t{0}, s.n, out_.residual_v + s.to);
  }

  int64_t clipped = 0;

 private:
  const TraceJob& job_;
  const Map out_;
};

// A run of blocks with the same motion: cells [left, right) of a row of cells. Where the source is
// clamped at the left or right edge, cells share one source; [inner, outer) are not clamped.
struct Run {
  BlockMotion motion;
  const Source* source;  // null: the trace does not leave the picture
  int left, right, inner, outer;
  int dx, dy;
  bool clip;  // some sum may saturate
};

template <class Planes>
class Tracer {
 public:
  // `per_block` cells to a block on each axis; shift(v) is what a vector comes to in cells.
  Tracer(const TraceJob& job, int per_block, int (*shift)(int))
      : job_(job),
        per_block_(per_block),
        width_(job.width / 4 * per_block),
        height_(job.height / 4 * per_block),
        cells_(static_cast<size_t>(width_) * static_cast<size_t>(height_)),
        shift_(shift),
        planes_(job) {}

  HWY_INLINE Run make_run(const BlockMotion& m, int left_block, int right_block) const {
    Run run;
    run.motion = m;
    run.left = left_block * per_block_;
    run.right = right_block * per_block_;
    run.source = m.source < 0 ? nullptr : job_.sources + m.source;
    if (run.source == nullptr) return run;
    run.dx = shift_(m.x);
    run.dy = shift_(m.y);
    run.inner = std::clamp(-run.dx, run.left, run.right);
    run.outer = std::clamp(width_ - run.dx, run.inner, run.right);
    run.clip = run.source->reach + std::max(std::abs(int{m.x}), std::abs(int{m.y})) > INT16_MAX;
    return run;
  }

  HWY_INLINE void row(const Run& run, int y) {
    if (run.source == nullptr) {
      planes_.stay(run.motion.source, run.left, y, span(0, 0, y, run.left, run.right));
      return;
    }
    const int sy = clamp_to(y + run.dy, height_);
    if (run.source->is_end) {
      end_row(run, y, sy);
    } else if (run.source->may_void) {
      if (run.clip) {
        map_row<true, true>(run, y, sy);
      } else {
        map_row<true, false>(run, y, sy);
      }
    } else if (run.clip) {
      map_row<false, true>(run, y, sy);
    } else {
      map_row<false, false>(run, y, sy);
    }
  }

  const TraceJob& job() const { return job_; }
  int per_block() const { return per_block_; }
  int64_t clipped() const { return planes_.clipped; }

 private:
  // Source cell (sx, sy) on, to cells [x, end) of row y.
  HWY_INLINE Span span(int sx, int sy, int y, int x, int end) const {
    Span s;
    s.from = static_cast<size_t>(sy) * static_cast<size_t>(width_) + static_cast<size_t>(sx);
    s.to = static_cast<size_t>(y) * static_cast<size_t>(width_) + static_cast<size_t>(x);
    s.n = static_cast<size_t>(end - x);
    const size_t whole = hwy::RoundUpTo(s.n, 16);
    s.over =
        static_cast<size_t>(x) + whole <= static_cast<size_t>(width_) && s.from + whole <= cells_;
    return s;
  }

  template <bool kVoid, bool kClip>
  HWY_INLINE void map_row(const Run& run, int y, int sy) {
    for (int x = run.left; x < run.inner; ++x) {
      planes_.template copy<kVoid, kClip>(*run.source, run.motion, span(0, sy, y, x, x + 1));
    }
    if (run.outer > run.inner) {
      planes_.template copy<kVoid, kClip>(*run.source, run.motion,
                                          span(run.inner + run.dx, sy, y, run.inner, run.outer));
    }
    for (int x = run.outer; x < run.right; ++x) {
      planes_.template copy<kVoid, kClip>(*run.source, run.motion,
                                          span(width_ - 1, sy, y, x, x + 1));
    }
  }

  HWY_INLINE void end_row(const Run& run, int y, int sy) {
    const auto part = [&](int sx, int step, int x, int end) HWY_ATTR {
      if (end > x) planes_.end(*run.source, run.motion, sx, step, sy, span(0, 0, y, x, end));
    };
    part(0, 0, run.left, run.inner);
    part(run.inner + run.dx, 1, run.inner, run.outer);
    part(width_ - 1, 0, run.outer, run.right);
  }

  const TraceJob& job_;
  const int per_block_, width_, height_;
  const size_t cells_;
  int (*const shift_)(int);
  Planes planes_;
};

// Cell row by cell row, so that large maps are written in the order of memory; in each, runs of
// blocks of one motion.
template <class Planes>
HWY_INLINE int64_t trace_by_rows(Tracer<Planes> tracer) {
  const TraceJob& job = tracer.job();
  const int blocks = job.width / 4;
  std::vector<Run> runs;
  runs.reserve(static_cast<size_t>(blocks));
  for (int by = 0; by < job.height / 4; ++by) {
    const BlockMotion* row = job.blocks + static_cast<ptrdiff_t>(by) * blocks;
    runs.clear();
    for (int begin = 0, end = 1; end <= blocks; ++end) {
      if (end < blocks && bits_of(row + end) == bits_of(row + begin)) continue;
      runs.push_back(tracer.make_run(row[begin], begin, end));
      begin = end;
    }
    for (int y = by * tracer.per_block(); y < (by + 1) * tracer.per_block(); ++y) {
      for (const Run& run : runs) tracer.row(run, y);
    }
  }
  return tracer.clipped();
}

// grid=4, macroblock by macroblock: those of one motion are joined to the right, others go block
// row by block row. Cells are words, so a run is one subtraction per four cells.
class BlockTracer {
 public:
  explicit BlockTracer(const TraceJob& job)
      : job_(job), out_(job.out), width_(job.width / 4), height_(job.height / 4) {}

  int64_t run() {
    for (int by = 0; by < height_; by += 4) {
      macroblock_row(by);
      if (out_.x != nullptr) unpack(by * width_, 4 * width_);
    }
    return clipped_;
  }

 private:
  HWY_INLINE void macroblock_row(int by) {
    const BlockMotion* rows = job_.blocks + static_cast<ptrdiff_t>(by) * width_;
    int begin = -1;  // of the macroblocks of one motion that wait, -1 = none do
    for (int bx = 0; bx < width_; bx += 4) {
      const bool uniform = is_uniform(rows + bx, width_);
      if (begin >= 0 && (!uniform || bits_of(rows + bx) != bits_of(rows + begin))) {
        trace(rows[begin], begin, bx, by, by + 4);
        begin = -1;
      }
      if (uniform) {
        if (begin < 0) begin = bx;
        continue;
      }
      for (int y = 0; y < 4;) {
        const BlockMotion* cells = rows + static_cast<ptrdiff_t>(y) * width_ + bx;
        // Two rows alike are one of 8x8 blocks.
        const bool pair = y % 2 == 0 && std::memcmp(cells, cells + width_, 4 * sizeof *cells) == 0;
        const int end = by + y + (pair ? 2 : 1);
        int from = 0;
        for (int x = 1; x <= 4; ++x) {
          if (x < 4 && bits_of(cells + x) == bits_of(cells + from)) continue;
          trace(cells[from], bx + from, bx + x, by + y, end);
          from = x;
        }
        y = end - by;
      }
    }
    if (begin >= 0) trace(rows[begin], begin, width_, by, by + 4);
  }

  // Cells [left, right) x [top, bottom), all of one motion.
  HWY_INLINE void trace(const BlockMotion& m, int left, int right, int top, int bottom) {
    const int dx = block_shift(m.x);
    const int dy = block_shift(m.y);
    if (m.source >= 0 && !job_.sources[m.source].is_end) {
      const Source& source = job_.sources[m.source];
      const int reach = source.reach + std::max(std::abs(int{m.x}), std::abs(int{m.y}));
      if (source.may_void || reach > INT16_MAX || out_.hops != nullptr || left + dx < 0 ||
          right + dx > width_) {
        cell_by_cell(m, left, right, top, bottom);
        return;
      }
      for (int y = top; y < bottom; ++y) {
        const int from = clamp_to(y + dy, height_) * width_ + left + dx;
        const int to = y * width_ + left;
        subtract(source.map.packed + from, m, right - left, from, left, out_.packed + to);
      }
      return;
    }
    uint64_t cell = 0;
    int hops = 0;
    if (m.source >= 0) {
      const Source& source = job_.sources[m.source];
      int64_t once = 0;
      cell = next_cell(OneLane{}, pack_cell(0, 0, source.end, source.mask), m.x, m.y, once);
      clipped_ += once * (right - left) * (bottom - top);
      hops = 1;
    } else {
      const uint8_t mask = mask_of_source(m.source);
      cell = pack_cell(0, 0, is_void(mask) ? -1 : job_.here, mask);
    }
    for (int y = top; y < bottom; ++y) {
      std::fill(out_.packed + y * width_ + left, out_.packed + y * width_ + right, cell);
      if (out_.hops == nullptr) continue;
      std::fill(out_.hops + y * width_ + left, out_.hops + y * width_ + right,
                static_cast<uint16_t>(hops));
    }
  }

  // `n` cells from cell `from` of a map to column `column` of a row. What is written past them is
  // written again, because rows are filled from left to right.
  HWY_INLINE void subtract(const uint64_t* in, const BlockMotion& m, int n, int from, int column,
                           uint64_t* out) {
#if HWY_TARGET != HWY_SCALAR
    constexpr int kCells = HWY_MIN(16, HWY_LANES(int16_t)) / 4;
    const hn::CappedTag<int16_t, 16> d16;
    const hn::Repartition<uint64_t, decltype(d16)> d64;
    const int whole = (n + kCells - 1) / kCells * kCells;
    if (column + whole <= width_ && from + whole <= width_ * height_) {
      const auto v = hn::BitCast(d16, hn::Set(d64, pack_cell(m.x, m.y, 0, 0)));
      for (int i = 0; i < whole; i += kCells) {
        const auto cells = hn::LoadU(d16, reinterpret_cast<const int16_t*>(in + i));
        hn::StoreU(hn::Sub(cells, v), d16, reinterpret_cast<int16_t*>(out + i));
      }
      return;
    }
#else
    (void)from;
    (void)column;
#endif
    for (int i = 0; i < n; ++i) out[i] = next_cell(OneLane{}, in[i], m.x, m.y, clipped_);
  }

  // Clamped, possibly void or saturating cells, and hops.
  void cell_by_cell(const BlockMotion& m, int left, int right, int top, int bottom) {
    const Map& in = job_.sources[m.source].map;
    for (int y = top; y < bottom; ++y) {
      const int row = clamp_to(y + block_shift(m.y), height_) * width_;
      for (int x = left; x < right; ++x) {
        const int from = row + clamp_to(x + block_shift(m.x), width_);
        const uint64_t cell = next_cell(OneLane{}, in.packed[from], m.x, m.y, clipped_);
        out_.packed[y * width_ + x] = cell;
        if (out_.hops == nullptr) continue;
        out_.hops[y * width_ + x] = static_cast<uint16_t>(
            next_hops(OneLane{}, int{in.hops[from]}, is_void(cell_mask(cell))));
      }
    }
  }

  // Cells [first, first + n) of the planes from the words.
  HWY_INLINE void unpack(int first, int n) {
    const hn::CappedTag<uint32_t, 8> d32;
    const hn::Rebind<uint16_t, decltype(d32)> d16;
    const hn::Rebind<uint8_t, decltype(d32)> d8;
    const hn::RebindToSigned<decltype(d32)> di32;
    const auto lanes = static_cast<int>(hn::Lanes(d32));
    const uint64_t* in = out_.packed + first;
    auto* x = reinterpret_cast<uint16_t*>(out_.x + first);
    auto* y = reinterpret_cast<uint16_t*>(out_.y + first);
    int i = 0;
    for (; i + lanes <= n; i += lanes) {
      hn::Vec<decltype(d32)> low, high;
      hn::LoadInterleaved2(d32, reinterpret_cast<const uint32_t*>(in + i), low, high);
      hn::StoreU(hn::TruncateTo(d16, low), d16, x + i);
      hn::StoreU(hn::TruncateTo(d16, hn::ShiftRight<16>(low)), d16, y + i);
      hn::StoreU(hn::TruncateTo(d8, high), d8, out_.mask + first + i);
      hn::StoreU(hn::ShiftRight<8>(hn::BitCast(di32, high)), di32, out_.end + first + i);
    }
    for (; i < n; ++i) {
      out_.x[first + i] = cell_x(in[i]);
      out_.y[first + i] = cell_y(in[i]);
      out_.mask[first + i] = cell_mask(in[i]);
      out_.end[first + i] = cell_end(in[i]);
    }
  }

  const TraceJob& job_;
  const Map out_;
  const int width_, height_;
  int64_t clipped_ = 0;
};

int Select(const SelectJob& job, int32_t& longest) {
  const hn::CappedTag<int32_t, 8> d32;
  const hn::Rebind<int16_t, decltype(d32)> d16;
  const hn::RebindToUnsigned<decltype(d32)> du32;
  const auto lanes = static_cast<int>(hn::Lanes(d32));
  const auto key0 = hn::Set(d32, job.ref0[0]);
  const auto key1 = hn::Set(d32, job.ref1[0]);
  const auto source = hn::Set(du32, static_cast<uint32_t>(job.source));
  const auto low = hn::Set(du32, 0xFFFFU);
  // x | y << 16, as BlockMotion lies in memory.
  const auto vectors = [&](int n) HWY_ATTR {
    const auto x = hn::PromoteTo(d32, hn::LoadU(d16, job.x + n));
    const auto y = hn::PromoteTo(d32, hn::LoadU(d16, job.y + n));
    return hn::Or(hn::And(hn::BitCast(du32, x), low), hn::ShiftLeft<16>(hn::BitCast(du32, y)));
  };
  auto most = hn::Zero(d16);
  auto least = hn::Zero(d16);
  int n = 0;
  for (; n + lanes <= job.count; n += lanes) {
    const auto differ = hn::Or(hn::Xor(hn::LoadU(d32, job.ref0 + n), key0),
                               hn::Xor(hn::LoadU(d32, job.ref1 + n), key1));
    auto xy = hn::Zero(du32);
    if (job.x != nullptr) {
      xy = vectors(n);
      const auto x = hn::LoadU(d16, job.x + n);
      const auto y = hn::LoadU(d16, job.y + n);
      most = hn::Max(most, hn::Max(x, y));
      least = hn::Min(least, hn::Min(x, y));
    }
    hn::StoreInterleaved2(xy, source, du32, reinterpret_cast<uint32_t*>(job.out + n));
    const auto wrong = hn::FindFirstTrue(d32, hn::Ne(differ, hn::Zero(d32)));
    if (wrong >= 0) {
      n += static_cast<int>(wrong);
      break;
    }
  }
  if (n + lanes > job.count) {
    // The rest of the row, or where a vector found another reference: the same test again.
    for (; n < job.count && job.ref0[n] == job.ref0[0] && job.ref1[n] == job.ref1[0]; ++n) {
      const int16_t x = job.x == nullptr ? int16_t{0} : job.x[n];
      const int16_t y = job.y == nullptr ? int16_t{0} : job.y[n];
      job.out[n] = {x, y, job.source};
      longest = std::max({longest, std::abs(int32_t{x}), std::abs(int32_t{y})});
    }
  }
  longest = std::max({longest, int32_t{hn::GetLane(hn::MaxOfLanes(d16, most))},
                      -int32_t{hn::GetLane(hn::MinOfLanes(d16, least))}});
  return n;
}

int64_t Pixels(const TraceJob& job) {
  return trace_by_rows(Tracer<LumaPlanes>(job, 4, luma_shift));
}
int64_t Chroma(const TraceJob& job) {
  return trace_by_rows(Tracer<ChromaPlanes>(job, 2, chroma_shift));
}
int64_t Blocks(const TraceJob& job) { return BlockTracer(job).run(); }

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace cvdecode::kernels
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace cvdecode::kernels {

HWY_EXPORT(Select);
HWY_EXPORT(Pixels);
HWY_EXPORT(Chroma);
HWY_EXPORT(Blocks);

const TraceKernels& trace_best() {
  static const TraceKernels kTable = {
      [](const SelectJob& job, int32_t& longest) {
        return HWY_DYNAMIC_DISPATCH(Select)(job, longest);
      },
      [](const TraceJob& job) { return HWY_DYNAMIC_DISPATCH(Pixels)(job); },
      [](const TraceJob& job) { return HWY_DYNAMIC_DISPATCH(Chroma)(job); },
      [](const TraceJob& job) { return HWY_DYNAMIC_DISPATCH(Blocks)(job); }, "simd"};
  return kTable;
}

const std::vector<TraceKernels>& trace_targets() {
  static const std::vector<TraceKernels> kTables = [] {
    std::vector<TraceKernels> tables;
    for (int64_t left = hwy::SupportedTargets() & HWY_TARGETS; left != 0; left &= left - 1) {
      const int64_t target = left & -left;
      hwy::SetSupportedTargetsForTest(target);
      hwy::GetChosenTarget().Update(hwy::SupportedTargets());
      tables.push_back({HWY_DYNAMIC_DISPATCH(Select), HWY_DYNAMIC_DISPATCH(Pixels),
                        HWY_DYNAMIC_DISPATCH(Chroma), HWY_DYNAMIC_DISPATCH(Blocks),
                        hwy::TargetName(target)});
    }
    hwy::SetSupportedTargetsForTest(0);
    hwy::GetChosenTarget().Update(hwy::SupportedTargets());
    return tables;
  }();
  return kTables;
}

}  // namespace cvdecode::kernels
#endif  // HWY_ONCE
