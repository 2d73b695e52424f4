#include "kernels/resample.h"

#include <algorithm>
#include <cmath>
#include <cstddef>

namespace cvdecode::kernels {
namespace {

constexpr int kPadding = 64;

// Both weights of a sample of the result, of which source sample `first` is the nearer or the only.
struct Pair {
  int first;
  double near;
  double far;
};

Pair pair_at(int length, double scale, int i) {
  const double centre = scale * (i + 0.5);
  const int first = std::max(static_cast<int>(centre - 0.5), 0);
  const int last = std::min(static_cast<int>(centre + 1.5), length) - 1;
  if (last <= first) return {first, 1, 0};
  const double near = 1 - std::abs(first - centre + 0.5);
  const double far = 1 - std::abs(first + 1 - centre + 0.5);
  return {first, near / (near + far), far / (near + far)};
}

// The two source samples of each of a group's samples, as places among 16.
void group(Taps& taps) {
  constexpr int kReach = 16;
  const auto groups = taps.first.size() / Taps::kGroup;
  taps.base.resize(groups);
  taps.bytes.resize(groups * 2 * Taps::kGroup);
  taps.weights.resize(groups * 2 * Taps::kGroup);
  for (size_t g = 0; g < groups; ++g) {
    const size_t begin = g * Taps::kGroup;
    const size_t end = std::min(begin + Taps::kGroup, static_cast<size_t>(taps.count));
    if (begin >= end) break;
    const auto [low, high] =
        std::minmax_element(taps.first.data() + begin, taps.first.data() + end);
    if (*high + 1 - *low >= kReach) {
      taps.base.clear();
      return;
    }
    taps.base[g] = *low;
    for (size_t i = begin; i < end; ++i) {
      taps.bytes[2 * i] = static_cast<uint8_t>(taps.first[i] - *low);
      taps.bytes[2 * i + 1] = static_cast<uint8_t>(taps.first[i] - *low + 1);
      taps.weights[2 * i] = static_cast<int16_t>(taps.near[i]);
      taps.weights[2 * i + 1] = static_cast<int16_t>(taps.far[i]);
    }
  }
}

}  // namespace

Taps make_taps(int length, int resized, int begin, int count, bool mirrored) {
  const double scale = static_cast<double>(length) / resized;
  // As many bits as the largest weight of the axis leaves below 2^15.
  double largest = 0;
  for (int i = 0; i < resized; ++i) {
    const Pair pair = pair_at(length, scale, i);
    largest = std::max({largest, pair.near, pair.far});
  }
  Taps taps;
  while (taps.bits < 22 && 0.5 + largest * (2 << taps.bits) < 32768) ++taps.bits;
  taps.count = count;
  const auto padded = static_cast<size_t>((count + kPadding) / Taps::kGroup * Taps::kGroup);
  taps.first.resize(padded);
  taps.near.resize(padded);
  taps.far.resize(padded);
  const double one = 1 << taps.bits;
  taps.is_copy = length == resized && !mirrored;
  for (int i = 0; i < count; ++i) {
    Pair pair = pair_at(length, scale, begin + (mirrored ? count - 1 - i : i));
    if (pair.far == 0 && pair.first > 0) pair = {pair.first - 1, 0, pair.near};
    const auto at = static_cast<size_t>(i);
    taps.first[at] = pair.first;
    taps.near[at] = static_cast<int32_t>(0.5 + pair.near * one);
    taps.far[at] = static_cast<int32_t>(0.5 + pair.far * one);
  }
  if (taps.is_copy) {
    taps.first[0] = begin;
  } else {
    group(taps);
  }
  return taps;
}

}  // namespace cvdecode::kernels
