#include "h264/sei.h"

#include "bitstream/bit_reader.h"

namespace cvdecode::h264 {

std::optional<RecoveryPoint> find_recovery_point(std::span<const uint8_t> rbsp) {
  constexpr uint32_t kRecoveryPoint = 6;
  size_t at = 0;
  // payloadType and payloadSize of 7.3.2.3.1: a run of 255s and a last byte.
  const auto read_coded = [&](uint32_t& value) {
    value = 0;
    while (at < rbsp.size()) {
      const uint8_t byte = rbsp[at++];
      if (value > (1u << 28)) return false;
      value += byte;
      if (byte != 255) return true;
    }
    return false;
  };
  while (at < rbsp.size()) {
    uint32_t type = 0;
    uint32_t size = 0;
    if (!read_coded(type) || !read_coded(size)) return std::nullopt;
    // Some encoders count emulation prevention bytes into the size; read what is there.
    const size_t left = rbsp.size() - at;
    if (type == kRecoveryPoint) {
      BitReader bits(rbsp.subspan(at));
      RecoveryPoint point;
      point.recovery_frame_cnt = bits.ue();
      point.exact_match_flag = bits.flag();
      point.broken_link_flag = bits.flag();
      if (!bits.ok() || point.recovery_frame_cnt > 65535) return std::nullopt;
      return point;
    }
    if (size > left) return std::nullopt;
    at += size;
  }
  return std::nullopt;
}

}  // namespace cvdecode::h264
