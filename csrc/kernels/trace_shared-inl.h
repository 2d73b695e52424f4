// What the samples of macroblocks have in common (Shared), one hop further.

// Per-target include guard of Highway.
#if defined(CVDECODE_KERNELS_TRACE_SHARED_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef CVDECODE_KERNELS_TRACE_SHARED_INL_H_
#undef CVDECODE_KERNELS_TRACE_SHARED_INL_H_
#else
#define CVDECODE_KERNELS_TRACE_SHARED_INL_H_
#endif

#include <cstddef>
#include <cstdint>

#include "kernels/trace.h"
#include "kernels/trace_lanes-inl.h"

HWY_BEFORE_NAMESPACE();
namespace cvdecode::kernels {
namespace HWY_NAMESPACE {
namespace {

// Of the macroblocks at the corners of a part that is at most one macroblock large: columns left
// and right, rows top and bottom of macroblocks.
HWY_INLINE Shared shared_of_corners(const Shared* map, ptrdiff_t columns, int left, int right,
                                    int top, int bottom) {
  const Shared& a = map[top * columns + left];
  const Shared& b = map[top * columns + right];
  const Shared& c = map[bottom * columns + left];
  const Shared& d = map[bottom * columns + right];
  const uint64_t ends = (a.end ^ b.end) | (a.end ^ c.end) | (a.end ^ d.end);
  const uint64_t moves = (a.move ^ b.move) | (a.move ^ c.move) | (a.move ^ d.move);
  return {ends == 0 ? a.end : kMany, moves == 0 ? a.move : kMany};
}

// Whether it is known that all are void.
HWY_INLINE bool is_void_end(uint64_t end) {
  return end != kMany && is_void(static_cast<uint8_t>(end >> 32));
}

// Shared::move one hop further; kMany where samples differ, may be void or saturate.
HWY_INLINE uint64_t next_move(const Shared& from, const BlockMotion& m, bool may_void) {
  if (is_void_end(from.end)) return shared_move(0, 0);
  if (from.move == kMany || may_void) return kMany;
  const int x = static_cast<int16_t>(from.move) - m.x;
  const int y = static_cast<int16_t>(from.move >> 16) - m.y;
  return x == static_cast<int16_t>(x) && y == static_cast<int16_t>(y) ? shared_move(x, y) : kMany;
}

// Whether a row of a macroblock ended in `first` alone.
HWY_INLINE bool is_all(const int32_t* end, const uint8_t* mask, uint64_t first) {
  const hn::CappedTag<int32_t, 16> d32;
  const hn::CappedTag<uint8_t, 16> d8;
  const auto want = hn::Set(d32, static_cast<int32_t>(static_cast<uint32_t>(first)));
  auto differ = hn::Zero(d32);
  for (size_t i = 0; i < 16; i += hn::Lanes(d32)) {
    differ = hn::Or(differ, hn::Xor(hn::LoadU(d32, end + i), want));
  }
  bool same = hn::AllTrue(d32, hn::Eq(differ, hn::Zero(d32)));
  for (size_t i = 0; i < 16; i += hn::Lanes(d8)) {
    const auto masks = hn::LoadU(d8, mask + i);
    same &= hn::AllTrue(d8, hn::Eq(masks, hn::Set(d8, static_cast<uint8_t>(first >> 32))));
  }
  return same;
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace cvdecode::kernels
HWY_AFTER_NAMESPACE();

#endif  // per-target guard
