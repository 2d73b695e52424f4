// SIMD lanes for the trace, once per target of the CPU: trace_cell-inl.h over many cells at a time,
// and runs of cells that are copied, filled, or moved on by one vector.

// Per-target include guard of Highway.
#if defined(CVDECODE_KERNELS_TRACE_LANES_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef CVDECODE_KERNELS_TRACE_LANES_INL_H_
#undef CVDECODE_KERNELS_TRACE_LANES_INL_H_
#else
#define CVDECODE_KERNELS_TRACE_LANES_INL_H_
#endif

#include <hwy/highway.h>

#include <cstddef>
#include <cstdint>
#include <cstring>

#include "kernels/trace.h"
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

HWY_INLINE uint64_t bits_of(const BlockMotion* block) {
  static_assert(sizeof(BlockMotion) == sizeof(uint64_t));
  uint64_t bits;
  std::memcpy(&bits, block, sizeof bits);
  return bits;
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace cvdecode::kernels
HWY_AFTER_NAMESPACE();

#endif  // per-target guard
