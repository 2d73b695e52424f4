#include "mpeg/mpeg12_indexer.h"

#include <algorithm>

#include "bitstream/bit_reader.h"
#include "mpeg/start_codes.h"

namespace cvdecode::mpeg {
namespace {

// 13818-2, table 6-1
constexpr int kPictureStartCode = 0x00;
constexpr int kFirstSlice = 0x01;
constexpr int kLastSlice = 0xaf;
constexpr int kSequenceHeader = 0xb3;
constexpr int kExtension = 0xb5;
constexpr int kSequenceEnd = 0xb7;
constexpr int kGroup = 0xb8;

}  // namespace

Mpeg12Indexer::Mpeg12Indexer(const StreamInfo& info) {
  horizontal_size_ = info.width;
  vertical_size_ = info.height;
  if (!info.extradata.empty()) read_headers(info.extradata, nullptr);
}

void Mpeg12Indexer::add_packet(const Packet& packet) {
  if (!packet.new_extradata.empty()) read_headers(packet.new_extradata, nullptr);
  // What stands before the first start code belongs to the picture before.
  if (!pictures_.empty() && !pending_ && find_start_code(packet.data, 0) != 0) {
    pictures_.back().picture.last_packet = packet.number;
  }
  read_headers(packet.data, &packet);
}

void Mpeg12Indexer::read_headers(std::span<const uint8_t> data, const Packet* packet) {
  for (size_t at = find_start_code(data, 0); at < data.size(); at = find_start_code(data, at + 3)) {
    const int code = data[at + 3];
    // No header is longer; without the limit, nonsense could make the search quadratic.
    const auto payload = data.subspan(at + 4, std::min<size_t>(data.size() - at - 4, 512));
    if (code >= kFirstSlice && code <= kLastSlice) {
      commit_picture();
      if (packet != nullptr && !pictures_.empty()) {
        pictures_.back().picture.last_packet = packet->number;
      }
      continue;
    }
    if (code == kExtension) {
      const int id = payload.empty() ? 0 : payload[0] >> 4;
      if (id == 1) sequence_extension(payload);
      if (id == 8) picture_coding_extension(payload);
      continue;
    }
    if (code != kPictureStartCode && code != kSequenceHeader && code != kGroup &&
        code != kSequenceEnd) {
      continue;
    }
    commit_picture();
    if (packet != nullptr && header_packet_ < 0) header_packet_ = packet->number;
    if (code == kSequenceHeader) {
      sequence_header(payload);
    } else if (code == kGroup) {
      gop_header(payload);
    } else if (code == kSequenceEnd) {
      header_packet_ = -1;
      open_field_ = kNoStructure;
    } else if (packet != nullptr) {
      picture_header(payload, *packet);
    }
  }
}

void Mpeg12Indexer::sequence_header(std::span<const uint8_t> payload) {
  BitReader bits(payload);
  const int width = static_cast<int>(bits.u(12));
  const int height = static_cast<int>(bits.u(12));
  if (!bits.ok() || width == 0 || height == 0) return;  // damaged: what was known stays in force
  horizontal_size_ = width;
  vertical_size_ = height;
  chroma_format_idc_ = 1;
  progressive_sequence_ = true;
  geometry_ = -1;
}

void Mpeg12Indexer::sequence_extension(std::span<const uint8_t> payload) {
  BitReader bits(payload);
  bits.skip(4 + 8);  // extension_start_code_identifier, profile_and_level_indication
  const bool progressive = bits.flag();
  const auto chroma = static_cast<int>(bits.u(2));  // 1: 4:2:0, 2: 4:2:2, 3: 4:4:4, as ours
  const auto width_high = static_cast<int>(bits.u(2));
  const auto height_high = static_cast<int>(bits.u(2));
  if (!bits.ok()) return;
  progressive_sequence_ = progressive;
  if (chroma != 0) chroma_format_idc_ = chroma;
  horizontal_size_ = (horizontal_size_ & 0xfff) | width_high << 12;
  vertical_size_ = (vertical_size_ & 0xfff) | height_high << 12;
  geometry_ = -1;
}

void Mpeg12Indexer::gop_header(std::span<const uint8_t> payload) {
  BitReader bits(payload);
  bits.skip(25);  // time_code
  const bool closed = bits.flag();
  // broken_link (the next bit) tells that leading B-pictures cannot be decoded; a decoder that
  // starts at the I picture before gives what decoding from the start of the file gives.
  group_start_ = true;
  closed_gop_ = bits.ok() && closed;
}

void Mpeg12Indexer::picture_header(std::span<const uint8_t> payload, const Packet& packet) {
  BitReader bits(payload);
  pending_picture_ = CodedPicture{};
  pending_picture_.time = bits.u(10);  // temporal_reference
  const auto type = bits.u(3);         // picture_coding_type
  Picture& picture = pending_picture_.picture;
  switch (type) {
    case 1:
    case 4: picture.type = FrameType::kI; break;  // 4: D-picture of MPEG-1, DC coefficients only
    case 2: picture.type = FrameType::kP; break;
    case 3: picture.type = FrameType::kB; break;
    default: picture.type = FrameType::kP; picture.damaged = true;
  }
  if (!bits.ok()) picture.damaged = true;
  picture.all_intra = picture.type == FrameType::kI;
  picture.first_packet = header_packet_;
  picture.last_packet = packet.number;
  // The packet's pts belongs to the first picture that starts in it.
  if (pts_used_of_packet_ != packet.number) {
    pts_used_of_packet_ = packet.number;
    picture.pts = packet.pts;
    picture.duration = packet.duration;
  }
  pending_picture_.discard = packet.discard;
  pending_picture_.group_start = group_start_;
  pending_picture_.closed = closed_gop_;
  pending_structure_ = kFrame;
  pending_ = true;
}

void Mpeg12Indexer::picture_coding_extension(std::span<const uint8_t> payload) {
  if (!pending_) return;
  BitReader bits(payload);
  bits.skip(4 + 16 + 2);  // identifier, f_code[2][2], intra_dc_precision
  const auto structure = static_cast<Structure>(bits.u(2));
  bits.skip(1);  // top_field_first
  const bool frame_pred_frame_dct = bits.flag();
  if (!bits.ok() || structure == kNoStructure) {
    pending_picture_.picture.damaged = true;
    return;
  }
  pending_structure_ = structure;
  pending_picture_.picture.field_coded = structure != kFrame || !frame_pred_frame_dct;
}

void Mpeg12Indexer::commit_picture() {
  if (!pending_) return;
  pending_ = false;
  header_packet_ = -1;
  group_start_ = closed_gop_ = false;
  CodedPicture& coded = pending_picture_;
  const bool field = pending_structure_ != kFrame;
  // Two fields in a row of opposite parity with one temporal_reference are one frame (6.1.1.4.1).
  if (field && open_field_ != kNoStructure && open_field_ != pending_structure_ &&
      !coded.group_start && pictures_.back().time == coded.time) {
    CodedPicture& first = pictures_.back();
    open_field_ = kNoStructure;
    first.picture.last_packet = coded.picture.last_packet;
    first.picture.damaged |= coded.picture.damaged;
    first.picture.all_intra = first.picture.all_intra && coded.picture.all_intra;
    // The types rise I, P, B, so the frame's type is the greater (docs/planes.md, Frames).
    first.picture.type = std::max(first.picture.type, coded.picture.type);
    return;
  }
  open_field_ = field ? pending_structure_ : kNoStructure;
  coded.random_access = coded.picture.type == FrameType::kI;
  if (geometry_ < 0) {
    const int rows = progressive_sequence_ ? 16 : 32;  // 6.3.3: mb_height
    geometry_ = intern(geometries_,
                       geometry_of(horizontal_size_, vertical_size_, rows, chroma_format_idc_));
  }
  coded.geometry = geometry_;
  pictures_.push_back(coded);
}

FrameIndex Mpeg12Indexer::finish() {
  commit_picture();
  return make_frame_index(pictures_, geometries_, "temporal_reference", 1024);
}

}  // namespace cvdecode::mpeg
