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

// Calls body(lanes, i) so that all of [0, n) is covered once: full vectors, halves, single cells.
#define CVDECODE_FOR_LANES(kVoid, kClip, n, BODY)          \
  do {                                                     \
    size_t i = 0;                                          \
    {                                                      \
      const ManyLanes<16, kVoid, kClip> lanes;             \
      for (; i + lanes.kLanes <= (n); i += lanes.kLanes) { \
        BODY                                               \
      }                                                    \
    }                                                      \
    {                                                      \
      const ManyLanes<8, kVoid, kClip> lanes;              \
      for (; i + lanes.kLanes <= (n); i += lanes.kLanes) { \
        BODY                                               \
      }                                                    \
    }                                                      \
    {                                                      \
      const ManyLanes<4, kVoid, kClip> lanes;              \
      for (; i + lanes.kLanes <= (n); i += lanes.kLanes) { \
        BODY                                               \
      }                                                    \
    }                                                      \
    {                                                      \
      const ManyLanes<1, kVoid, kClip> lanes;              \
      for (; i < (n); ++i) {                               \
        BODY                                               \
      }                                                    \
    }                                                      \
  } while (false)

// from[0 .. n) -> to[0 .. n) for elements of any size, n small.
template <typename T>
HWY_INLINE void copy_cells(const T* from, size_t n, T* to) {
  const hn::CappedTag<T, 16> d16;
  const hn::CappedTag<T, 4> d4;
  size_t i = 0;
  for (; i + hn::Lanes(d16) <= n; i += hn::Lanes(d16))
    hn::StoreU(hn::LoadU(d16, from + i), d16, to + i);
  for (; i + hn::Lanes(d4) <= n; i += hn::Lanes(d4))
    hn::StoreU(hn::LoadU(d4, from + i), d4, to + i);
  for (; i < n; ++i) to[i] = from[i];
}

template <typename T>
HWY_INLINE void fill_cells(T value, size_t n, T* to) {
  const hn::CappedTag<T, 16> d16;
  const hn::CappedTag<T, 4> d4;
  size_t i = 0;
  for (; i + hn::Lanes(d16) <= n; i += hn::Lanes(d16)) hn::StoreU(hn::Set(d16, value), d16, to + i);
  for (; i + hn::Lanes(d4) <= n; i += hn::Lanes(d4)) hn::StoreU(hn::Set(d4, value), d4, to + i);
  for (; i < n; ++i) to[i] = value;
}

template <bool kVoid, bool kClip>
HWY_INLINE void displacement_cells(const int16_t* from, const uint8_t* mask, int v, size_t n,
                                   int16_t* to, int64_t& clipped) {
  CVDECODE_FOR_LANES(kVoid, kClip, n, {
    lanes.store(
        next_displacement(lanes, lanes.load(from + i), lanes.set(v), lanes.dead(mask + i), clipped),
        to + i);
  });
}

template <bool kVoid>
HWY_INLINE void residual_cells(const int16_t* from, const uint8_t* mask, const int16_t* res,
                               size_t n, int16_t* to, int64_t& clipped) {
  CVDECODE_FOR_LANES(kVoid, true, n, {
    lanes.store(next_residual(lanes, lanes.load(from + i), lanes.load(res + i),
                              lanes.dead(mask + i), clipped),
                to + i);
  });
}

template <bool kVoid>
HWY_INLINE void hops_cells(const uint16_t* from, const uint8_t* mask, size_t n, uint16_t* to) {
  CVDECODE_FOR_LANES(kVoid, true, n, {
    lanes.store(next_hops(lanes, lanes.load(from + i), lanes.dead(mask + i)), to + i);
  });
}

// A run of blocks in one row of blocks with the same motion: cells [begin, end) of each cell row.
struct Run {
  int begin, end;
  BlockMotion motion;
};

// What the three grids have in common.
struct Grid {
  int width, height;  // in cells
  int per_block;      // cells per block on each axis
};

void find_runs(const BlockMotion* row, int blocks, int per_block, std::vector<Run>& runs) {
  runs.clear();
  int begin = 0;
  for (int b = 1; b <= blocks; ++b) {
    if (b < blocks && std::memcmp(row + b, row + begin, sizeof(BlockMotion)) == 0) continue;
    runs.push_back({begin * per_block, b * per_block, row[begin]});
    begin = b;
  }
}

// The planes of the luma and of the block grid. Copy(from, to, n) handles n cells whose sources
// are n cells in a row; from and to count cells of the map.
class LumaPlanes {
 public:
  explicit LumaPlanes(const TraceJob& job, int width) : job_(job), out_(job.out), width_(width) {}

  template <bool kVoid, bool kClip>
  HWY_INLINE void copy_as(const Map& in, const BlockMotion& m, size_t from, size_t to, size_t n) {
    const uint8_t* mask = in.mask + from;
    displacement_cells<kVoid, kClip>(in.x + from, mask, m.x, n, out_.x + to, clipped);
    displacement_cells<kVoid, kClip>(in.y + from, mask, m.y, n, out_.y + to, clipped);
    copy_cells(in.end + from, n, out_.end + to);
    copy_cells(mask, n, out_.mask + to);
    if (out_.at_x != nullptr) {
      copy_cells(in.at_x + from, n, out_.at_x + to);
      copy_cells(in.at_y + from, n, out_.at_y + to);
    }
    if (out_.hops != nullptr) hops_cells<kVoid>(in.hops + from, mask, n, out_.hops + to);
    if (out_.residual_y != nullptr) {
      residual_cells<kVoid>(in.residual_y + from, mask, job_.residual_y + to, n,
                            out_.residual_y + to, clipped);
    }
  }
  HWY_INLINE void copy(const Source& source, const BlockMotion& m, size_t from, size_t to,
                       size_t n) {
    const bool may_clip =
        source.reach + std::max(std::abs(int{m.x}), std::abs(int{m.y})) > INT16_MAX;
    if (source.may_void) {
      copy_as<true, true>(source.map, m, from, to, n);
    } else if (may_clip) {
      copy_as<false, true>(source.map, m, from, to, n);
    } else {
      copy_as<false, false>(source.map, m, from, to, n);
    }
  }
  // Sources in which every trace ends; (sx, sy) is the source of the first cell, dx its step.
  HWY_INLINE void end(const Source& source, const BlockMotion& m, int sx, int step, int sy,
                      size_t to, size_t n) {
    const OneLane lane;
    int64_t once = 0;
    fill_cells(static_cast<int16_t>(next_displacement(lane, 0, int{m.x}, false, once)), n,
               out_.x + to);
    fill_cells(static_cast<int16_t>(next_displacement(lane, 0, int{m.y}, false, once)), n,
               out_.y + to);
    clipped += once * static_cast<int64_t>(n);
    fill_cells(source.end, n, out_.end + to);
    fill_cells(source.mask, n, out_.mask + to);
    if (out_.at_x != nullptr) {
      for (size_t i = 0; i < n; ++i)
        out_.at_x[to + i] = static_cast<int16_t>(sx + step * static_cast<int>(i));
      fill_cells(static_cast<int16_t>(sy), n, out_.at_y + to);
    }
    if (out_.hops != nullptr) fill_cells(uint16_t{1}, n, out_.hops + to);
    if (out_.residual_y != nullptr) copy_cells(job_.residual_y + to, n, out_.residual_y + to);
  }
  // Traces that do not leave this picture.
  HWY_INLINE void stay(int32_t source, int x, int y, size_t to, size_t n) {
    const bool stop = source == kSourceStop;
    fill_cells(int16_t{0}, n, out_.x + to);
    fill_cells(int16_t{0}, n, out_.y + to);
    fill_cells(stop ? job_.here : -1, n, out_.end + to);
    fill_cells(mask_of_source(source), n, out_.mask + to);
    if (out_.at_x != nullptr) {
      for (size_t i = 0; i < n; ++i) {
        out_.at_x[to + i] = static_cast<int16_t>(stop ? x + static_cast<int>(i) : 0);
      }
      fill_cells(static_cast<int16_t>(stop ? y : 0), n, out_.at_y + to);
    }
    if (out_.hops != nullptr) fill_cells(uint16_t{0}, n, out_.hops + to);
    if (out_.residual_y != nullptr) fill_cells(int16_t{0}, n, out_.residual_y + to);
  }

  static HWY_INLINE uint8_t mask_of_source(int32_t source) {
    return source == kSourceStop ? kMaskIntraBlock
                                 : (source == kSourceCut ? kMaskCut : kMaskBroken);
  }

  int64_t clipped = 0;

 private:
  const TraceJob& job_;
  const Map out_;
  int width_;
};

class ChromaPlanes {
 public:
  explicit ChromaPlanes(const TraceJob& job, int) : job_(job), out_(job.out) {}

  template <bool kVoid>
  HWY_INLINE void copy_as(const Map& in, size_t from, size_t to, size_t n) {
    const uint8_t* mask = in.mask_uv + from;
    residual_cells<kVoid>(in.residual_u + from, mask, job_.residual_u + to, n, out_.residual_u + to,
                          clipped);
    residual_cells<kVoid>(in.residual_v + from, mask, job_.residual_v + to, n, out_.residual_v + to,
                          clipped);
    copy_cells(mask, n, out_.mask_uv + to);
  }
  HWY_INLINE void copy(const Source& source, const BlockMotion&, size_t from, size_t to, size_t n) {
    if (source.may_void) {
      copy_as<true>(source.map, from, to, n);
    } else {
      copy_as<false>(source.map, from, to, n);
    }
  }
  HWY_INLINE void end(const Source& source, const BlockMotion&, int, int, int, size_t to,
                      size_t n) {
    fill_cells(source.mask, n, out_.mask_uv + to);
    copy_cells(job_.residual_u + to, n, out_.residual_u + to);
    copy_cells(job_.residual_v + to, n, out_.residual_v + to);
  }
  HWY_INLINE void stay(int32_t source, int, int, size_t to, size_t n) {
    fill_cells(LumaPlanes::mask_of_source(source), n, out_.mask_uv + to);
    fill_cells(int16_t{0}, n, out_.residual_u + to);
    fill_cells(int16_t{0}, n, out_.residual_v + to);
  }

  int64_t clipped = 0;

 private:
  const TraceJob& job_;
  const Map out_;
};

// Cells [run.begin, run.end) of row y. Where the source row is clamped at the left or right edge,
// cells share one source.
template <class Planes, class Shift>
HWY_INLINE void trace_run(const TraceJob& job, const Grid& grid, const Run& run, int y,
                          Planes& planes, const Shift& shift) {
  const size_t row = static_cast<size_t>(y) * static_cast<size_t>(grid.width);
  const auto to = [&](int x) HWY_ATTR { return row + static_cast<size_t>(x); };
  if (run.motion.source < 0) {
    planes.stay(run.motion.source, run.begin, y, to(run.begin),
                static_cast<size_t>(run.end - run.begin));
    return;
  }
  const Source& source = job.sources[run.motion.source];
  const int dx = shift(run.motion.x);
  const int sy = clamp_to(y + shift(run.motion.y), grid.height);
  const int left = std::clamp(-dx, run.begin, run.end);          // first cell not clamped
  const int right = std::clamp(grid.width - dx, left, run.end);  // one past the last
  const size_t source_row = static_cast<size_t>(sy) * static_cast<size_t>(grid.width);
  if (source.is_end) {
    if (left > run.begin) {
      planes.end(source, run.motion, 0, 0, sy, to(run.begin),
                 static_cast<size_t>(left - run.begin));
    }
    if (right > left) {
      planes.end(source, run.motion, left + dx, 1, sy, to(left), static_cast<size_t>(right - left));
    }
    if (run.end > right) {
      planes.end(source, run.motion, grid.width - 1, 0, sy, to(right),
                 static_cast<size_t>(run.end - right));
    }
    return;
  }
  for (int x = run.begin; x < left; ++x) {
    planes.copy(source, run.motion, source_row, to(x), 1);
  }
  if (right > left) {
    planes.copy(source, run.motion, source_row + static_cast<size_t>(left + dx), to(left),
                static_cast<size_t>(right - left));
  }
  for (int x = right; x < run.end; ++x) {
    planes.copy(source, run.motion, source_row + static_cast<size_t>(grid.width - 1), to(x), 1);
  }
}

template <class Planes, class Shift>
HWY_INLINE int64_t trace_grid(const TraceJob& job, int per_block, const Shift& shift) {
  const Grid grid{job.width / 4 * per_block, job.height / 4 * per_block, per_block};
  Planes planes(job, grid.width);
  std::vector<Run> runs;
  const int blocks = job.width / 4;
  runs.reserve(static_cast<size_t>(blocks));
  for (int by = 0; by < job.height / 4; ++by) {
    find_runs(job.blocks + static_cast<ptrdiff_t>(by) * blocks, blocks, per_block, runs);
    for (int y = by * per_block; y < (by + 1) * per_block; ++y) {
      for (const Run& run : runs) trace_run(job, grid, run, y, planes, shift);
    }
  }
  return planes.clipped;
}

int64_t Pixels(const TraceJob& job) {
  return trace_grid<LumaPlanes>(job, 4, [](int v) HWY_ATTR { return luma_shift(v); });
}
int64_t Chroma(const TraceJob& job) {
  return trace_grid<ChromaPlanes>(job, 2, [](int v) HWY_ATTR { return chroma_shift(v); });
}
int64_t Blocks(const TraceJob& job) {
  return trace_grid<LumaPlanes>(job, 1, [](int v) HWY_ATTR { return block_shift(v); });
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace cvdecode::kernels
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace cvdecode::kernels {

HWY_EXPORT(Pixels);
HWY_EXPORT(Chroma);
HWY_EXPORT(Blocks);

const TraceKernels& trace_best() {
  static const TraceKernels kTable = {
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
      tables.push_back({HWY_DYNAMIC_DISPATCH(Pixels), HWY_DYNAMIC_DISPATCH(Chroma),
                        HWY_DYNAMIC_DISPATCH(Blocks), hwy::TargetName(target)});
    }
    hwy::SetSupportedTargetsForTest(0);
    hwy::GetChosenTarget().Update(hwy::SupportedTargets());
    return tables;
  }();
  return kTables;
}

}  // namespace cvdecode::kernels
#endif  // HWY_ONCE
