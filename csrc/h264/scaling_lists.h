// Scaling lists (7.3.2.1.1.1, 7.4.2.1.1.1) and the fall-back rules of Table 7-2.
#pragma once

#include <array>
#include <cstdint>

#include "bitstream/bit_reader.h"

namespace cvdecode::h264 {

struct ScalingLists {
  std::array<std::array<uint8_t, 16>, 6> ScalingList4x4;
  std::array<std::array<uint8_t, 64>, 6> ScalingList8x8;
};

// Flat_4x4_16 and Flat_8x8_16: what holds where no matrix was ever sent.
ScalingLists flat_scaling_lists();

// Reads the scaling_list_present_flags and lists of an SPS or PPS: six 4x4 lists and the first
// `count_8x8` (0, 2 or 6) 8x8 lists. What is not sent falls back by Table 7-2: rule set A where
// `sequence` is null, rule set B (to the lists of the SPS) where it is not. Throws Error(kCorrupt)
// on a delta_scale out of range.
ScalingLists parse_scaling_lists(BitReader& bits, int count_8x8, const ScalingLists* sequence);

}  // namespace cvdecode::h264
