// A stream in memory for the fuzz targets: Annex B bytes cut into packets.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "base/packet.h"
#include "bitstream/nal.h"
#include "frame/frame_index.h"
#include "frame/stream_info.h"

namespace cvdecode::fuzz {

class Stream : public PacketSource {
 public:
  virtual const StreamInfo& info() const = 0;
};

// The first byte of the input chooses the framing: bit 0 one packet for all or one per NAL, bits
// 1..3 the length size of a length-prefixed container (0 = Annex B, 5..7 count as Annex B).
class MemoryStream final : public Stream {
 public:
  explicit MemoryStream(std::span<const uint8_t> input) {
    const uint8_t choice = input.empty() ? 0 : input[0];
    if (!input.empty()) input = input.subspan(1);
    const int length = (choice >> 1) & 7;
    info_.path = "<fuzz>";
    info_.codec = "h264";
    info_.codec_id = 27;  // AV_CODEC_ID_H264
    info_.container = "h264";
    info_.nal_length_size = length <= 4 ? length : 0;
    if ((choice & 1) == 0) {
      packets_.push_back(input);
      return;
    }
    std::vector<NalSpan> nals;
    split_packet(input, info_.nal_length_size, nals);
    for (size_t i = 0; i < nals.size(); ++i) {
      const size_t begin =
          i == 0 ? 0 : packets_.back().data() + packets_.back().size() - input.data();
      const size_t end = i + 1 == nals.size() ? input.size() : nals[i].offset + nals[i].size;
      if (begin < end) packets_.push_back(input.subspan(begin, end - begin));
    }
  }

  int64_t packet_count() const override { return static_cast<int64_t>(packets_.size()); }
  Packet read_packet(int64_t number) override {
    Packet packet;
    packet.data = packets_.at(static_cast<size_t>(number));
    packet.number = number;
    return packet;
  }
  const StreamInfo& info() const override { return info_; }

 private:
  StreamInfo info_;
  std::vector<std::span<const uint8_t>> packets_;
};

// Pictures above this are not worth the time of a fuzz run.
inline bool small_enough(const FrameIndex& index) {
  if (index.pictures.size() > 16) return false;
  for (const Segment& s : index.segments) {
    if (static_cast<int64_t>(s.geometry.coded_width) * s.geometry.coded_height > 128 * 128) {
      return false;
    }
  }
  return true;
}

}  // namespace cvdecode::fuzz
