#include "h264/scaling_lists.h"

#include <span>

#include "base/error.h"

namespace cvdecode::h264 {
namespace {

// Tables 7-3 and 7-4, in zig-zag order as transmitted.
constexpr std::array<uint8_t, 16> kDefault4x4Intra = {6,  13, 13, 20, 20, 20, 28, 28,
                                                      28, 28, 32, 32, 32, 37, 37, 42};
constexpr std::array<uint8_t, 16> kDefault4x4Inter = {10, 14, 14, 20, 20, 20, 24, 24,
                                                      24, 24, 27, 27, 27, 30, 30, 34};
constexpr std::array<uint8_t, 64> kDefault8x8Intra = {
    6,  10, 10, 13, 11, 13, 16, 16, 16, 16, 18, 18, 18, 18, 18, 23, 23, 23, 23, 23, 23, 25,
    25, 25, 25, 25, 25, 25, 27, 27, 27, 27, 27, 27, 27, 27, 29, 29, 29, 29, 29, 29, 29, 31,
    31, 31, 31, 31, 31, 33, 33, 33, 33, 33, 36, 36, 36, 36, 38, 38, 38, 40, 40, 42};
constexpr std::array<uint8_t, 64> kDefault8x8Inter = {
    9,  13, 13, 15, 13, 15, 17, 17, 17, 17, 19, 19, 19, 19, 19, 21, 21, 21, 21, 21, 21, 22,
    22, 22, 22, 22, 22, 22, 24, 24, 24, 24, 24, 24, 24, 24, 25, 25, 25, 25, 25, 25, 25, 27,
    27, 27, 27, 27, 27, 28, 28, 28, 28, 28, 30, 30, 30, 30, 32, 32, 32, 33, 33, 35};

// scaling_list( ) of 7.3.2.1.1.1. False: useDefaultScalingMatrixFlag.
bool read_list(BitReader& bits, std::span<uint8_t> list) {
  int last_scale = 8;
  int next_scale = 8;
  for (size_t j = 0; j < list.size(); ++j) {
    if (next_scale != 0) {
      const int delta_scale = bits.se();
      if (delta_scale < -128 || delta_scale > 127) {
        throw Error(ErrorKind::kCorrupt, "delta_scale is out of range");
      }
      next_scale = (last_scale + delta_scale + 256) % 256;
      if (j == 0 && next_scale == 0) return false;
    }
    list[j] = static_cast<uint8_t>(next_scale == 0 ? last_scale : next_scale);
    last_scale = list[j];
  }
  return true;
}

// One list of size N: `first` is true for the lists that open a chain of Table 7-2 (0, 3, 6, 7),
// whose fall-back is the default (rule set A) or the sequence's list (rule set B).
template <size_t N>
void read_or_fall_back(BitReader& bits, bool sent, bool first,
                       const std::array<uint8_t, N>& default_list,
                       const std::array<uint8_t, N>* sequence,
                       const std::array<uint8_t, N>& previous, std::array<uint8_t, N>& list) {
  if (sent && bits.flag()) {
    if (!read_list(bits, list)) list = default_list;
  } else if (!first) {
    list = previous;
  } else {
    list = sequence != nullptr ? *sequence : default_list;
  }
}

}  // namespace

ScalingLists flat_scaling_lists() {
  ScalingLists lists;
  for (auto& list : lists.ScalingList4x4) list.fill(16);
  for (auto& list : lists.ScalingList8x8) list.fill(16);
  return lists;
}

ScalingLists parse_scaling_lists(BitReader& bits, int count_8x8, const ScalingLists* sequence) {
  ScalingLists lists;
  for (size_t i = 0; i < 6; ++i) {
    const bool first = i % 3 == 0;
    read_or_fall_back(bits, true, first, i < 3 ? kDefault4x4Intra : kDefault4x4Inter,
                      sequence != nullptr ? &sequence->ScalingList4x4[i] : nullptr,
                      lists.ScalingList4x4[first ? i : i - 1], lists.ScalingList4x4[i]);
  }
  // The 8x8 lists alternate between Intra and Inter (Y, Y, Cb, Cb, Cr, Cr).
  for (size_t i = 0; i < 6; ++i) {
    const bool first = i < 2;
    read_or_fall_back(bits, static_cast<int>(i) < count_8x8, first,
                      i % 2 == 0 ? kDefault8x8Intra : kDefault8x8Inter,
                      sequence != nullptr ? &sequence->ScalingList8x8[i] : nullptr,
                      lists.ScalingList8x8[first ? i : i - 2], lists.ScalingList8x8[i]);
  }
  return lists;
}

}  // namespace cvdecode::h264
