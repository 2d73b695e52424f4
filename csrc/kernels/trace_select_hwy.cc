// The SIMD build of the selection: blocks of a row whose references are the same.
#include <algorithm>
#include <cstdlib>

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

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace cvdecode::kernels
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace cvdecode::kernels {

HWY_EXPORT(Select);

SelectKernel chosen_select() { return HWY_DYNAMIC_DISPATCH(Select); }

}  // namespace cvdecode::kernels
#endif  // HWY_ONCE
