// A row of macroblocks as rectangles of blocks of one motion.

// Per-target include guard of Highway.
#if defined(CVDECODE_KERNELS_TRACE_WALK_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef CVDECODE_KERNELS_TRACE_WALK_INL_H_
#undef CVDECODE_KERNELS_TRACE_WALK_INL_H_
#else
#define CVDECODE_KERNELS_TRACE_WALK_INL_H_
#endif

#include <cstddef>
#include <cstdint>
#include <cstring>

#include "kernels/trace.h"
#include "kernels/trace_lanes-inl.h"

HWY_BEFORE_NAMESPACE();
namespace cvdecode::kernels {
namespace HWY_NAMESPACE {
namespace {

// Whether a 4x4 square of blocks has one motion.
HWY_INLINE bool is_uniform(const BlockMotion* corner, ptrdiff_t blocks) {
  const uint64_t first = bits_of(corner);
  uint64_t differ = 0;
  for (int y = 0; y < 4; ++y, corner += blocks) {
    for (int x = 0; x < 4; ++x) differ |= bits_of(corner + x) ^ first;
  }
  return differ == 0;
}

// Calls visit(motion, left, right, top, bottom) for columns [first, last) of four rows of `width`
// blocks: macroblocks of one motion are joined to the right, others go by block rows that are
// alike. In every row from left to right: a visit may write beyond its right edge.
template <class Visit>
HWY_INLINE void walk_macroblocks(const BlockMotion* rows, int width, const uint8_t* shapes,
                                 Visit& visit, int first, int last) {
  int begin = -1;  // of the macroblocks of one motion that wait, -1 = none do
  for (int bx = first; bx < last; bx += 4) {
    const bool uniform =
        shapes != nullptr ? shapes[bx / 4] == kOneMotion : is_uniform(rows + bx, ptrdiff_t{width});
    if (begin >= 0 && (!uniform || bits_of(rows + bx) != bits_of(rows + begin))) {
      visit(rows[begin], begin, bx, 0, 4);
      begin = -1;
    }
    if (uniform) {
      if (begin < 0) begin = bx;
      continue;
    }
    for (int y = 0; y < 4;) {
      const BlockMotion* cells = rows + static_cast<ptrdiff_t>(y) * width + bx;
      int end = y + 1;
      while (end < 4 && std::memcmp(cells, cells + (end - y) * width, 4 * sizeof *cells) == 0) {
        ++end;
      }
      int from = 0;
      for (int x = 1; x <= 4; ++x) {
        if (x < 4 && bits_of(cells + x) == bits_of(cells + from)) continue;
        visit(cells[from], bx + from, bx + x, y, end);
        from = x;
      }
      y = end;
    }
  }
  if (begin >= 0) visit(rows[begin], begin, last, 0, 4);
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace cvdecode::kernels
HWY_AFTER_NAMESPACE();

#endif  // per-target guard
