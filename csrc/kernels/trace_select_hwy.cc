// The SIMD builds of the selection: blocks of a row whose references are the same, and what the
// blocks of macroblocks have in common.
#include <algorithm>
#include <cstddef>
#include <cstdlib>
#include <cstring>

#include "kernels/trace.h"
#include "kernels/trace_builds.h"
#include "kernels/trace_pixel.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/trace_select_hwy.cc"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include "kernels/trace_lanes-inl.h"

HWY_BEFORE_NAMESPACE();
namespace cvdecode::kernels {
namespace HWY_NAMESPACE {
namespace {

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

// One macroblock, where no vector would fit.
HWY_INLINE MotionShape shape_of(const ShapeJob& job, ptrdiff_t first) {
  const ptrdiff_t stride = job.stride;
  uint64_t one = 0;
  uint64_t four = 0;
  for (const int16_t* mv : job.mv) {
    uint64_t rows[4];
    for (ptrdiff_t y = 0; y < 4; ++y)
      std::memcpy(&rows[y], mv + first + y * stride, sizeof rows[y]);
    const auto pairs = [](uint64_t row) { return (row ^ row >> 16) & 0x0000FFFF0000FFFF; };
    four |= (rows[0] ^ rows[1]) | (rows[2] ^ rows[3]) | pairs(rows[0]) | pairs(rows[2]);
    one |= (rows[0] ^ rows[2]) | ((rows[0] ^ rows[0] >> 32) & 0xFFFFFFFF);
  }
  for (const int32_t* ref : job.ref) {
    const int32_t* upper = ref + first;
    const int32_t* lower = upper + 2 * stride;
    one |= static_cast<uint32_t>((upper[0] ^ upper[2]) | (upper[0] ^ lower[0]) |
                                 (upper[0] ^ lower[2]));
  }
  return (one | four) == 0 ? kOneMotion : (four == 0 ? kFourMotions : kAnyMotion);
}

#if HWY_TARGET != HWY_SCALAR
// As many as there are 64-bit lanes in a vector.
HWY_INLINE void store_shapes(const ShapeJob& job, ptrdiff_t mb) {
  const hn::ScalableTag<uint64_t> d64;
  const hn::Repartition<uint32_t, decltype(d64)> d32;
  const hn::Repartition<int32_t, decltype(d64)> di32;
  const hn::Repartition<uint16_t, decltype(d64)> d16;
  const hn::Repartition<int16_t, decltype(d64)> di16;
  const hn::Rebind<uint8_t, decltype(d64)> d8;
  const ptrdiff_t first = 4 * mb;
  auto one = hn::Zero(d64);
  auto four = hn::Zero(d64);
  for (const int16_t* mv : job.mv) {
    const auto row = [&](ptrdiff_t y) HWY_ATTR {
      return hn::BitCast(d64, hn::LoadU(di16, mv + first + y * job.stride));
    };
    const auto pairs = [&](hn::Vec<decltype(d64)> v) HWY_ATTR {
      return hn::Xor(v, hn::BitCast(d64, hn::Reverse2(d16, hn::BitCast(d16, v))));
    };
    const auto upper = row(0);
    const auto lower = row(2);
    four = hn::Or3(four, hn::Xor(upper, row(1)), hn::Xor(lower, row(3)));
    four = hn::Or3(four, pairs(upper), pairs(lower));
    const auto halves = hn::BitCast(d64, hn::Reverse2(d32, hn::BitCast(d32, upper)));
    one = hn::Or3(one, hn::Xor(upper, lower), hn::Xor(upper, halves));
  }
  for (const int32_t* ref : job.ref) {
    // 128 bits a macroblock.
    const auto differ = [&](size_t half) HWY_ATTR {
      const int32_t* from = ref + first + half * hn::Lanes(di32);
      const auto upper = hn::LoadU(di32, from);
      const auto lower = hn::LoadU(di32, from + 2 * job.stride);
      return hn::BitCast(d64,
                         hn::Or(hn::Xor(upper, lower), hn::Xor(upper, hn::Broadcast<0>(upper))));
    };
    const auto low = differ(0);
    const auto high = differ(1);
    one = hn::Or3(one, hn::ConcatEven(d64, high, low), hn::ConcatOdd(d64, high, low));
  }
  const auto none = hn::Zero(d64);
  const auto shape =
      hn::IfThenElse(hn::Eq(hn::Or(one, four), none), hn::Set(d64, uint64_t{kOneMotion}),
                     hn::IfThenElseZero(hn::Eq(four, none), hn::Set(d64, uint64_t{kFourMotions})));
  hn::StoreU(hn::TruncateTo(d8, shape), d8, job.out + mb);
}
#endif

void Shapes(const ShapeJob& job) {
#if HWY_TARGET != HWY_SCALAR
  const auto lanes = static_cast<int>(hn::Lanes(hn::ScalableTag<uint64_t>()));
  if (job.count >= lanes) {
    for (int mb = 0; mb + lanes < job.count; mb += lanes) store_shapes(job, mb);
    store_shapes(job, job.count - lanes);  // some once more
    return;
  }
#endif
  for (int mb = 0; mb < job.count; ++mb) job.out[mb] = shape_of(job, ptrdiff_t{4} * mb);
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace cvdecode::kernels
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace cvdecode::kernels {

HWY_EXPORT(Select);
HWY_EXPORT(Shapes);

SelectKernel chosen_select() { return HWY_DYNAMIC_DISPATCH(Select); }
ShapeKernel chosen_shapes() { return HWY_DYNAMIC_DISPATCH(Shapes); }

}  // namespace cvdecode::kernels
#endif  // HWY_ONCE
