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

// Packets that lie in memory; a subclass fills the two fields.
class Stream : public PacketSource {
 public:
  int64_t packet_count() const override { return static_cast<int64_t>(packets_.size()); }
  Packet read_packet(int64_t number) override {
    Packet packet;
    packet.data = packets_.at(static_cast<size_t>(number));
    packet.number = number;
    return packet;
  }
  const StreamInfo& info() const { return info_; }

 protected:
  Stream() {
    info_.path = "<fuzz>";
    info_.codec = "h264";
    info_.codec_id = 27;  // AV_CODEC_ID_H264
    info_.container = "h264";
  }
  StreamInfo info_;
  std::vector<std::span<const uint8_t>> packets_;
};

// The first byte of the input chooses how it is read.
struct Choice {
  explicit Choice(std::span<const uint8_t> input) : bits(input.empty() ? 0 : input[0]) {}
  const uint8_t bits;

  bool one_packet_per_nal() const { return (bits & 1) != 0; }
  // Of a length-prefixed container; 0 = Annex B.
  int length_size() const { return (bits >> 1 & 7) <= 4 ? bits >> 1 & 7 : 0; }
  bool read_again() const { return (bits & 0x10) != 0; }
};

class MemoryStream final : public Stream {
 public:
  explicit MemoryStream(std::span<const uint8_t> input) {
    const Choice choice(input);
    if (!input.empty()) input = input.subspan(1);
    info_.nal_length_size = choice.length_size();
    if (!choice.one_packet_per_nal()) {
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
};

// Pictures above this are not worth the time of a fuzz run.
inline bool small_enough(const FrameIndex& index) {
  if (index.pictures.size() > 16) return false;
  for (const Segment& s : index.segments) {
    if (static_cast<int64_t>(s.geometry.coded_width) * s.geometry.coded_height > 96 * 96) {
      return false;
    }
  }
  return true;
}

}  // namespace cvdecode::fuzz
