// The SIMD builds of what residual="recon_diff" does to pixels: runs of traces that ended side by
// side, and a row of samples minus another.
#include "kernels/trace.h"
#include "kernels/trace_builds.h"
#include "kernels/trace_pixel.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/trace_ends_hwy.cc"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

HWY_BEFORE_NAMESPACE();
namespace cvdecode::kernels {
namespace HWY_NAMESPACE {
namespace {

namespace hn = hwy::HWY_NAMESPACE;

int RunOfEnds(const EndRow& row) {
  const hn::CappedTag<int32_t, 8> d32;
  const hn::Rebind<int16_t, decltype(d32)> d16;
  const hn::Rebind<uint8_t, decltype(d32)> d8;
  const auto lanes = static_cast<int>(hn::Lanes(d32));
  const bool nowhere = is_void(row.mask[0]);
  const int step = nowhere ? 0 : 1;
  const auto none = hn::Zero(d32);
  const auto end = hn::Set(d32, row.end[0]);
  const auto y = hn::Set(d32, row.at_y[0]);
  const auto dead = hn::Set(d32, nowhere ? 1 : 0);
  auto x = hn::Set(d32, row.at_x[0]);
  if (!nowhere) x = hn::Add(x, hn::Iota(d32, 0));
  const auto ahead = hn::Set(d32, step * lanes);
  int n = 0;
  for (; n + lanes <= row.count; n += lanes) {
    const auto mask = hn::PromoteTo(d32, hn::LoadU(d8, row.mask + n));
    const auto is_dead = hn::IfThenElseZero(
        hn::Eq(hn::And(mask, hn::Set(d32, 0xFE)), hn::Set(d32, 2)), hn::Set(d32, 1));
    auto differ = hn::Xor(hn::PromoteTo(d32, hn::LoadU(d16, row.at_x + n)), x);
    differ = hn::Or(differ, hn::Xor(hn::PromoteTo(d32, hn::LoadU(d16, row.at_y + n)), y));
    differ = hn::Or(differ, hn::Xor(hn::LoadU(d32, row.end + n), end));
    differ = hn::Or(differ, hn::Xor(is_dead, dead));
    const auto wrong = hn::FindFirstTrue(d32, hn::Ne(differ, none));
    if (wrong >= 0) return n + static_cast<int>(wrong);
    x = hn::Add(x, ahead);
  }
  for (; n < row.count; ++n) {
    if (is_void(row.mask[n]) != nowhere || row.end[n] != row.end[0]) break;
    if (row.at_y[n] != row.at_y[0] || row.at_x[n] != row.at_x[0] + step * n) break;
  }
  return n;
}

void Subtract(const uint8_t* from, int count, int16_t* to) {
  const hn::CappedTag<int16_t, 16> d16;
  const hn::Rebind<uint8_t, decltype(d16)> d8;
  const auto lanes = static_cast<int>(hn::Lanes(d16));
  int i = 0;
  for (; i + lanes <= count; i += lanes) {
    const auto there = hn::PromoteTo(d16, hn::LoadU(d8, from + i));
    hn::StoreU(hn::Sub(hn::LoadU(d16, to + i), there), d16, to + i);
  }
  for (; i < count; ++i) to[i] = static_cast<int16_t>(to[i] - from[i]);
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace cvdecode::kernels
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace cvdecode::kernels {

HWY_EXPORT(RunOfEnds);
HWY_EXPORT(Subtract);

EndsKernel chosen_run_of_ends() { return HWY_DYNAMIC_DISPATCH(RunOfEnds); }
SubtractKernel chosen_subtract() { return HWY_DYNAMIC_DISPATCH(Subtract); }

}  // namespace cvdecode::kernels
#endif  // HWY_ONCE
