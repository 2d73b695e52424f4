// Parameter sets and sequence headers inside packets: what a decoder must see even when it jumps or
// leaves out pictures.
#pragma once

#include <cstdint>
#include <map>
#include <span>
#include <utility>
#include <vector>

#include "backend/libav_traits.h"
#include "base/packet.h"

namespace cvdecode {

// True when the packet holds more than picture data: parameter sets (H.264), a video object layer
// (MPEG-4), a sequence header or quantiser matrices (MPEG-1/2). Such a packet must reach the
// decoder even when nobody wants its picture. True for codecs it does not know.
bool carries_parameters(CodecFamily family, int nal_length_size, const Packet& packet);

// MPEG-2's q_scale_type (13818-2, 6.3.10) of the pictures in the packet: 0 linear, 1 non-linear, -1
// they differ. MPEG-1 has no such element: 0.
int q_scale_type(const Packet& packet);

// The H.264 parameter sets in force at one place, gathered from the start of the stream.
class H264ParameterSets {
 public:
  // avcC or Annex B. Later sets replace earlier ones of the same kind and id.
  void add_extradata(std::span<const uint8_t> extradata);
  // Every SPS and PPS of a packet.
  void add_packet(std::span<const uint8_t> data, int nal_length_size);
  // As extradata: avcC when nal_length_size is 1 to 4, else Annex B. Empty when there are none.
  std::vector<uint8_t> extradata(int nal_length_size) const;

 private:
  void add(std::span<const uint8_t> nal);

  // (nal_unit_type, id) -> NAL unit; SPS (7) come before PPS (8), which need them.
  std::map<std::pair<int, uint32_t>, std::vector<uint8_t>> sets_;
};

}  // namespace cvdecode
