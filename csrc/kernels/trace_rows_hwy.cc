// The SIMD builds of the luma and chroma grids. A run of blocks that share one vector and one
// source copies rows: contiguous loads, no gather. Highway compiles this file once per target.
#include <algorithm>
#include <cstddef>
#include <vector>

#include "kernels/trace.h"
#include "kernels/trace_builds.h"
#include "kernels/trace_pixel.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/trace_rows_hwy.cc"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include "kernels/trace_bare-inl.h"
#include "kernels/trace_lanes-inl.h"
#include "kernels/trace_plain-inl.h"
#include "kernels/trace_planes-inl.h"

HWY_BEFORE_NAMESPACE();
namespace cvdecode::kernels {
namespace HWY_NAMESPACE {
namespace {

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
  for (int by = job.top; by < job.end_row(); ++by) {
    const BlockMotion* row = job.blocks + static_cast<ptrdiff_t>(by - job.top) * blocks;
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

int64_t Pixels(const TraceJob& job) {
  const Map& out = job.out;
  if (out.end == nullptr) return BareTracer<false>(job).run();
  if (out.at_x == nullptr && out.hops == nullptr && out.residual_y == nullptr) {
    return PlainTracer(job).run();
  }
  if (out.shared != nullptr) {
    const ptrdiff_t columns = job.width / 16;
    std::fill(out.shared + job.top / 4 * columns, out.shared + job.end_row() / 4 * columns,
              Shared{});
  }
  return trace_by_rows(Tracer<LumaPlanes>(job, 4, luma_shift));
}
int64_t Chroma(const TraceJob& job) {
  if (job.out.mask_uv == nullptr) return BareTracer<true>(job).run();
  return trace_by_rows(Tracer<ChromaPlanes>(job, 2, chroma_shift));
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace cvdecode::kernels
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace cvdecode::kernels {

HWY_EXPORT(Pixels);
HWY_EXPORT(Chroma);

TraceKernel chosen_pixels() { return HWY_DYNAMIC_DISPATCH(Pixels); }
TraceKernel chosen_chroma() { return HWY_DYNAMIC_DISPATCH(Chroma); }

}  // namespace cvdecode::kernels
#endif  // HWY_ONCE
