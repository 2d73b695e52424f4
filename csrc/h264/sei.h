// Supplemental enhancement information: only the recovery point matters here (D.1.8, D.2.8).
#pragma once

#include <cstdint>
#include <optional>
#include <span>

namespace cvdecode::h264 {

struct RecoveryPoint {
  uint32_t recovery_frame_cnt = 0;  // 0 .. MaxFrameNum - 1
  bool exact_match_flag = false;
  bool broken_link_flag = false;
};

// The recovery point among the messages of one SEI NAL unit, if there is one.
std::optional<RecoveryPoint> find_recovery_point(std::span<const uint8_t> rbsp);

}  // namespace cvdecode::h264
