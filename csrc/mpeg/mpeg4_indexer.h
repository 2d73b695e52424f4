// Index of MPEG-4 part 2 video (14496-2): packed B-VOPs are split, packing placeholders dropped.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "base/packet.h"
#include "frame/frame_index.h"
#include "frame/stream_info.h"
#include "mpeg/mpeg4_headers.h"
#include "mpeg/picture_list.h"

namespace cvdecode::mpeg {

class Mpeg4Indexer {
 public:
  explicit Mpeg4Indexer(const StreamInfo& info);
  void add_packet(const Packet& packet);
  FrameIndex finish();

 private:
  void read_headers(std::span<const uint8_t> data, const Packet* packet);
  void read_vol(std::span<const uint8_t> payload, const Packet* packet);
  void read_gov(std::span<const uint8_t> payload);
  void read_vop(std::span<const uint8_t> payload, const Packet& packet);
  void add_short_header_picture(const Packet& packet);
  int64_t vop_time(const Vop& vop);

  int width_ = 0;  // as the container says, until a VOL says it
  int height_ = 0;
  Vol vol_;
  bool has_vol_ = false;
  int32_t geometry_ = -1;

  int64_t header_packet_ = -1;  // where the headers before the next VOP begin
  bool group_start_ = false;
  bool closed_gov_ = false;

  // 6.3.5: modulo_time_base of a B-VOP counts from the reference before the last one's second.
  int64_t second_ = 0;           // of the last reference VOP
  int64_t previous_second_ = 0;  // of the reference before it
  int64_t reference_time_ = -1;  // of the last reference VOP, in ticks

  int64_t placeholders_ = 0;
  std::vector<CodedPicture> pictures_;
  std::vector<Geometry> geometries_;
  std::vector<int64_t> parameter_packets_;
};

}  // namespace cvdecode::mpeg
