// Index of MPEG-1 (11172-2) and MPEG-2 (13818-2) video from sequence, GOP and picture headers.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "base/packet.h"
#include "frame/frame_index.h"
#include "frame/stream_info.h"
#include "mpeg/picture_list.h"

namespace cvdecode::mpeg {

class Mpeg12Indexer {
 public:
  explicit Mpeg12Indexer(const StreamInfo& info);
  void add_packet(const Packet& packet);
  FrameIndex finish();

 private:
  enum Structure : uint8_t { kNoStructure = 0, kTop = 1, kBottom = 2, kFrame = 3 };

  void read_headers(std::span<const uint8_t> data, const Packet* packet);
  void sequence_header(std::span<const uint8_t> payload);
  void sequence_extension(std::span<const uint8_t> payload);
  void gop_header(std::span<const uint8_t> payload);
  void picture_header(std::span<const uint8_t> payload, const Packet& packet);
  void picture_coding_extension(std::span<const uint8_t> payload);
  // Decides, once its extension has been seen or a slice begins, whether the pending header starts
  // a picture or is the second field of the one before.
  void commit_picture();

  // sequence_header and sequence_extension in force
  int horizontal_size_ = 0;
  int vertical_size_ = 0;
  int chroma_format_idc_ = 1;
  bool progressive_sequence_ = true;  // MPEG-1 is
  int32_t geometry_ = -1;

  // headers met since the last picture
  int64_t header_packet_ = -1;
  bool group_start_ = false;
  bool closed_gop_ = false;

  bool pending_ = false;  // a picture header whose picture is not committed
  CodedPicture pending_picture_;
  Structure pending_structure_ = kFrame;

  Structure open_field_ = kNoStructure;  // first field of pictures_.back(), waiting for its second
  int64_t pts_used_of_packet_ = -1;      // packet whose pts a picture has taken
  std::vector<CodedPicture> pictures_;
  std::vector<Geometry> geometries_;
};

}  // namespace cvdecode::mpeg
