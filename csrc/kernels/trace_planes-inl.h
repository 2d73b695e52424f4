// The planes of a map, and what a run of cells of one motion does to them.

// Per-target include guard of Highway.
#if defined(CVDECODE_KERNELS_TRACE_PLANES_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef CVDECODE_KERNELS_TRACE_PLANES_INL_H_
#undef CVDECODE_KERNELS_TRACE_PLANES_INL_H_
#else
#define CVDECODE_KERNELS_TRACE_PLANES_INL_H_
#endif

#include <cstddef>
#include <cstdint>

#include "kernels/trace.h"
#include "kernels/trace_lanes-inl.h"

HWY_BEFORE_NAMESPACE();
namespace cvdecode::kernels {
namespace HWY_NAMESPACE {
namespace {

// Cells from, from + 1 ... of a source, as cells to, to + 1 ... of the new map. `n` of them, and
// `over`: whole vectors may be read and written, because cells to the right come later.
struct Span {
  size_t from, to, n;
  bool over;
};

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

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace cvdecode::kernels
HWY_AFTER_NAMESPACE();

#endif  // per-target guard
