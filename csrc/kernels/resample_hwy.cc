// The SIMD builds of resample().
#include <cstring>
#include <vector>

#include "kernels/resample.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/resample_hwy.cc"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

HWY_BEFORE_NAMESPACE();
namespace cvdecode::kernels {
namespace HWY_NAMESPACE {
namespace {

namespace hn = hwy::HWY_NAMESPACE;

// Rows that these functions write are padded: they write whole vectors.

// `encode` makes bytes of a vector of samples. Nothing is read behind the row.
template <typename D, typename F>
void EncodeRow(D d, const int16_t* in, int count, const F& encode, uint8_t* out) {
  const hn::Rebind<uint8_t, D> d8;
  const auto lanes = static_cast<int>(hn::Lanes(d));
  int i = 0;
  for (; i + lanes <= count; i += lanes) hn::StoreU(encode(hn::LoadU(d, in + i)), d8, out + i);
  if (i == count) return;
  int16_t rest[32] = {};
  for (int k = 0; i + k < count; ++k) rest[k] = in[i + k];
  hn::StoreU(encode(hn::LoadU(d, rest)), d8, out + i);
}

void EncodeVectors(const int16_t* in, int count, bool negate, uint8_t* out) {
  const hn::CappedTag<int16_t, 32> d;
  const hn::Rebind<uint8_t, decltype(d)> d8;
  // Beyond 81 the result is clipped anyway, and within it fits 16 bits.
  const auto most = hn::Set(d, 81);
  const auto least = hn::Set(d, -81);
  const auto encode = [&](auto q) {
    q = hn::Clamp(q, least, most);
    if (negate) q = hn::Neg(q);
    q = hn::Mul(q, hn::Set(d, 51));
    // The shift rounds down, the formula to 0.
    q = hn::Add(q, hn::And(hn::ShiftRight<15>(q), hn::Set(d, 31)));
    return hn::DemoteTo(d8, hn::Add(hn::ShiftRight<5>(q), hn::Set(d, 128)));
  };
  EncodeRow(d, in, count, encode, out);
}

void EncodeResiduals(const int16_t* in, int count, uint8_t* out) {
  const hn::CappedTag<int16_t, 32> d;
  const hn::Rebind<uint8_t, decltype(d)> d8;
  const auto encode = [&](auto r) {
    return hn::DemoteTo(d8, hn::SaturatedAdd(r, hn::Set(d, 128)));
  };
  EncodeRow(d, in, count, encode, out);
}

// Every sample twice, of `count` that `out` holds in the end; `odd`: of the first the second only.
void Repeat(const uint8_t* halves, int count, bool odd, uint8_t* out) {
  int i = 0;
#if HWY_TARGET != HWY_SCALAR
  const hn::Full128<uint8_t> d;
  if (odd) *out++ = *halves++;
  for (count -= odd ? 1 : 0; i < count; i += 32) {
    const auto some = hn::LoadU(d, halves + i / 2);
    hn::StoreU(hn::InterleaveLower(d, some, some), d, out + i);
    hn::StoreU(hn::InterleaveUpper(d, some, some), d, out + i + 16);
  }
#else
  for (; i < count; ++i) out[i] = halves[(i + (odd ? 1 : 0)) >> 1];
#endif
}

// A row of the box as bytes; `row` is its first sample, `odd` whether a halved row starts at the
// second of a pair.
void Encode(const ResampleJob& job, const void* row, int count, bool odd, uint8_t* out,
            std::vector<uint8_t>& halves) {
  const int held = job.halved ? (count + (odd ? 1 : 0) + 1) / 2 : count;
  uint8_t* const to = job.halved ? halves.data() : out;
  switch (job.encoding) {
    case ByteEncoding::kNone: std::memcpy(to, row, static_cast<size_t>(held)); break;
    case ByteEncoding::kVector:
      EncodeVectors(static_cast<const int16_t*>(row), held, job.negate, to);
      break;
    case ByteEncoding::kResidual:
      EncodeResiduals(static_cast<const int16_t*>(row), held, to);
      break;
  }
  if (job.halved) Repeat(to, count, odd, out);
}

// (near * weight + far * weight + half) >> bits of pairs of samples that lie side by side.
template <class D32, class Pairs, class Weights>
HWY_INLINE hn::Vec<hn::Rebind<uint8_t, D32>> Weigh(D32 d, Pairs pairs, Weights weights,
                                                   hn::Vec<D32> half, int bits) {
#if HWY_ARCH_X86 && HWY_TARGET != HWY_EMU128 && HWY_TARGET != HWY_SCALAR
  auto unused = hn::Zero(d);  // here, and only here, neighbours are summed into the first result
  const auto sum = hn::ReorderWidenMulAccumulate(d, pairs, weights, half, unused);
#else
  const auto low = hn::Set(d, 0xFFFF);
  const auto both = hn::BitCast(d, pairs);
  const auto by = hn::BitCast(d, weights);
  const auto near = hn::Mul(hn::And(both, low), hn::And(by, low));
  const auto far = hn::Mul(hn::ShiftRight<16>(both), hn::ShiftRight<16>(by));
  const auto sum = hn::Add(hn::Add(near, far), half);
#endif
  return hn::DemoteTo(hn::Rebind<uint8_t, D32>(), hn::ShiftRightSame(sum, bits));
}

#if HWY_TARGET != HWY_SCALAR
// The pairs of as many samples as `d` has lanes, from sample k of the result on.
template <class D32>
HWY_INLINE auto PairsAt(D32 d, const uint8_t* row, const Taps& taps, size_t k) {
  constexpr size_t kLanes = HWY_MIN(size_t{16}, HWY_LANES(int32_t));
  const hn::Repartition<int16_t, D32> d16;
  const hn::Full128<uint8_t> whole;
  const auto group = [&](size_t at) HWY_ATTR {
    return hn::TableLookupBytes(hn::LoadU(whole, row + taps.base[at / Taps::kGroup]),
                                hn::LoadU(whole, taps.bytes.data() + 2 * at));
  };
  if constexpr (kLanes > Taps::kGroup) {
    return hn::PromoteTo(
        d16, hn::Combine(hn::Rebind<uint8_t, decltype(d16)>(), group(k + Taps::kGroup), group(k)));
  } else if constexpr (kLanes == Taps::kGroup) {
    return hn::PromoteTo(d16, group(k));
  } else {
    const size_t first = k / Taps::kGroup * Taps::kGroup;
    const auto pairs = group(first);
    const hn::Half<decltype(whole)> part;
    return hn::PromoteTo(d16, k == first ? hn::LowerHalf(pairs) : hn::UpperHalf(part, pairs));
  }
}

// False where the samples of a group lie too far apart.
template <class D32>
bool ShuffleColumns(D32 d, const uint8_t* row, const Taps& taps, uint8_t* out) {
  if (taps.base.empty()) return false;
  const hn::Repartition<int16_t, D32> d16;
  const auto half = hn::Set(d, 1 << (taps.bits - 1));
  for (size_t i = 0; i < static_cast<size_t>(taps.count); i += hn::Lanes(d)) {
    const auto weights = hn::LoadU(d16, taps.weights.data() + 2 * i);
    hn::StoreU(Weigh(d, PairsAt(d, row, taps, i), weights, half, taps.bits),
               hn::Rebind<uint8_t, D32>(), out + i);
  }
  return true;
}
#endif

void Columns(const uint8_t* row, const Taps& taps, uint8_t* out) {
  const hn::CappedTag<int32_t, 16> d;
#if HWY_TARGET != HWY_SCALAR
  if (ShuffleColumns(d, row, taps, out)) return;
#endif
  const hn::Rebind<uint8_t, decltype(d)> d8;
  const auto lanes = static_cast<int>(hn::Lanes(d));
  const auto byte = hn::Set(d, 255);
  const auto half = hn::Set(d, 1 << (taps.bits - 1));
  const auto* const from = reinterpret_cast<const int32_t*>(row);
  for (int i = 0; i < taps.count; i += lanes) {
    // Four bytes from the first sample on, of which two count.
    const auto four = hn::GatherOffset(d, from, hn::LoadU(d, taps.first.data() + i));
    const auto near = hn::Mul(hn::And(four, byte), hn::LoadU(d, taps.near.data() + i));
    const auto far =
        hn::Mul(hn::And(hn::ShiftRight<8>(four), byte), hn::LoadU(d, taps.far.data() + i));
    const auto sum = hn::Add(hn::Add(near, far), half);
    hn::StoreU(hn::DemoteTo(d8, hn::ShiftRightSame(sum, taps.bits)), d8, out + i);
  }
}

void Rows(const uint8_t* first, const uint8_t* second, int count, int near, int far, int bits,
          uint8_t* out) {
  int i = 0;
#if HWY_TARGET != HWY_SCALAR
  const hn::CappedTag<int32_t, 16> d;
  const hn::Rebind<uint8_t, decltype(d)> d8;
  const auto lanes = static_cast<int>(hn::Lanes(d));
  const hn::Repartition<int16_t, decltype(d)> d16;
  const auto half = hn::Set(d, 1 << (bits - 1));
  const auto weights = hn::BitCast(d16, hn::Set(d, near | far << 16));
  for (; i + lanes <= count; i += lanes) {
    const auto a = hn::PromoteTo(d, hn::LoadU(d8, first + i));
    const auto b = hn::PromoteTo(d, hn::LoadU(d8, second + i));
    const auto pairs = hn::BitCast(d16, hn::Or(a, hn::ShiftLeft<16>(b)));
    hn::StoreU(Weigh(d, pairs, weights, half, bits), d8, out + i);
  }
#endif
  for (; i < count; ++i) {
    out[i] = static_cast<uint8_t>((first[i] * near + second[i] * far + (1 << (bits - 1))) >> bits);
  }
}

void Resample(const ResampleJob& job, uint8_t* out) {
  constexpr size_t kPadding = 64;
  const Taps& x = *job.x;
  const Taps& y = *job.y;
  if (x.count == 0 || y.count == 0) return;
  const auto width = static_cast<size_t>(x.count);
  const size_t stride = width + kPadding;
  const auto begin = static_cast<size_t>(job.box_width) + kPadding;
  std::vector<uint8_t> scratch(begin + 2 * stride);
  std::vector<uint8_t> halves(job.halved ? begin : 0);
  uint8_t* const row = scratch.data();
  // Two rows are alive at a time: each row of the result lies between neighbours.
  uint8_t* slots[2] = {row + begin, row + begin + stride};
  int held[2] = {-2, -2};  // none, nor the one before the first
  const size_t bytes = job.encoding == ByteEncoding::kNone ? 1 : 2;
  const auto columns_of = [&](int source) -> const uint8_t* {
    const int slot = source & 1;
    if (held[slot] != source) {
      held[slot] = source;
      if (job.halved && (job.box_y + source) % 2 == 1 && held[1 - slot] == source - 1) {
        std::memcpy(slots[slot], slots[1 - slot], width);  // the second of a pair of rows
        return slots[slot];
      }
      int64_t at_y = job.box_y + source;
      int64_t at_x = job.box_x;
      if (job.halved) {
        at_y >>= 1;
        at_x >>= 1;
      }
      const auto* from = static_cast<const uint8_t*>(job.in) +
                         (at_y * job.row_stride + at_x) * static_cast<int64_t>(bytes);
      Encode(job, from, job.box_width, job.halved && (job.box_x & 1) != 0, row, halves);
      row[job.box_width] = row[job.box_width - 1];
      if (x.is_copy) {
        std::memcpy(slots[slot], row + x.first[0], width);
      } else {
        Columns(row, x, slots[slot]);
      }
    }
    return slots[slot];
  };
  for (int i = 0; i < y.count; ++i, out += width) {
    const auto at = static_cast<size_t>(i);
    const int first = y.is_copy ? y.first[0] + i : y.first[at];
    const bool one = y.is_copy || y.far[at] == 0;
    if (one || y.near[at] == 0) {
      std::memcpy(out, columns_of(first + (one ? 0 : 1)), width);
      continue;
    }
    const uint8_t* const near = columns_of(first);
    const uint8_t* const far = columns_of(first + 1);
    Rows(near, far, x.count, y.near[at], y.far[at], y.bits, out);
  }
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace cvdecode::kernels
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace cvdecode::kernels {

HWY_EXPORT(Resample);

void resample(const ResampleJob& job, uint8_t* out) { HWY_DYNAMIC_DISPATCH(Resample)(job, out); }

}  // namespace cvdecode::kernels
#endif  // HWY_ONCE
