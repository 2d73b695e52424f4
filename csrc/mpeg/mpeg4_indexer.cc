#include "mpeg/mpeg4_indexer.h"

#include <algorithm>
#include <string>
#include <utility>

#include "mpeg/h263_headers.h"
#include "mpeg/start_codes.h"

namespace cvdecode::mpeg {

Mpeg4Indexer::Mpeg4Indexer(const StreamInfo& info) : width_(info.width), height_(info.height) {
  if (!info.extradata.empty()) read_headers(info.extradata, nullptr);
}

void Mpeg4Indexer::add_packet(const Packet& packet) {
  if (!packet.new_extradata.empty()) read_headers(packet.new_extradata, nullptr);
  const size_t before = pictures_.size();
  const int64_t placeholders_before = placeholders_;
  // What stands before the first start code belongs to the picture before.
  if (!pictures_.empty() && find_start_code(packet.data, 0) != 0) {
    pictures_.back().picture.last_packet = packet.number;
  }
  read_headers(packet.data, &packet);
  if (pictures_.size() == before && placeholders_ == placeholders_before) {
    add_short_header_picture(packet);
  }
}

void Mpeg4Indexer::read_headers(std::span<const uint8_t> data, const Packet* packet) {
  for (size_t at = find_start_code(data, 0); at < data.size(); at = find_start_code(data, at + 3)) {
    const int code = data[at + 3];
    // No header is longer; without the limit, nonsense could make the search quadratic.
    const auto payload = data.subspan(at + 4, std::min<size_t>(data.size() - at - 4, 512));
    if (packet != nullptr && header_packet_ < 0 && code != kVisualObjectSequenceEnd) {
      header_packet_ = packet->number;
    }
    if (code >= kVideoObjectLayer && code <= kVideoObjectLayerLast) {
      read_vol(payload, packet);
    } else if (code == kGroupOfVop) {
      read_gov(payload);
    } else if (code == kVop && packet != nullptr) {
      read_vop(payload, *packet);
      header_packet_ = -1;
    }
  }
}

void Mpeg4Indexer::read_vol(std::span<const uint8_t> payload, const Packet* packet) {
  const Vol before = vol_;
  if (!parse_vol(payload, vol_)) return;
  if (packet != nullptr && (!has_vol_ || vol_ != before)) {
    parameter_packets_.push_back(packet->number);
  }
  has_vol_ = true;
  if (vol_.video_object_layer_width > 0 && vol_.video_object_layer_height > 0) {
    width_ = vol_.video_object_layer_width;
    height_ = vol_.video_object_layer_height;
  }
  geometry_ = -1;
}

void Mpeg4Indexer::read_gov(std::span<const uint8_t> payload) {
  Gov gov;
  if (!parse_gov(payload, gov)) return;
  second_ = gov.time_code_seconds;
  group_start_ = true;
  closed_gov_ = gov.closed_gov;
}

int64_t Mpeg4Indexer::vop_time(const Vop& vop) {
  const int64_t resolution = vol_.vop_time_increment_resolution;
  if (vop.vop_coding_type == VopType::kB) {
    return (previous_second_ + vop.modulo_time_base) * resolution + vop.vop_time_increment;
  }
  previous_second_ = second_;
  second_ += vop.modulo_time_base;
  return second_ * resolution + vop.vop_time_increment;
}

void Mpeg4Indexer::read_vop(std::span<const uint8_t> payload, const Packet& packet) {
  Vop vop;
  CodedPicture coded;
  Picture& picture = coded.picture;
  if (parse_vop(payload, vol_, vop)) {
    const Vop& v = vop;
    const bool b = v.vop_coding_type == VopType::kB;
    const int64_t saved_second = second_;
    const int64_t saved_previous = previous_second_;
    coded.time = vop_time(v);
    if (!v.vop_coded && coded.time == reference_time_) {
      // A placeholder: the packet whose VOP was packed into the packet before (docs/planes.md,
      // Frames).
      second_ = saved_second;
      previous_second_ = saved_previous;
      ++placeholders_;
      if (!pictures_.empty()) pictures_.back().picture.last_packet = packet.number;
      return;
    }
    // Encoders exist that start time anew at each I-VOP without a GOV: a new sequence.
    if (v.vop_coding_type == VopType::kI && coded.time < reference_time_) group_start_ = true;
    if (!b) reference_time_ = coded.time;
  } else {
    picture.damaged = true;
    if (!payload.empty()) vop.vop_coding_type = static_cast<VopType>(payload[0] >> 6);
  }
  if (!has_vol_) picture.damaged = true;
  switch (vop.vop_coding_type) {
    case VopType::kI: picture.type = FrameType::kI; break;
    case VopType::kB: picture.type = FrameType::kB; break;
    case VopType::kP:
    case VopType::kS: picture.type = FrameType::kP; break;
  }
  picture.all_intra = picture.type == FrameType::kI;
  picture.field_coded = vol_.interlaced;
  picture.first_packet = header_packet_ >= 0 ? header_packet_ : packet.number;
  picture.last_packet = packet.number;
  // The packet's pts belongs to the first VOP in it.
  if (pictures_.empty() || pictures_.back().picture.last_packet != packet.number) {
    picture.pts = packet.pts;
    picture.duration = packet.duration;
  }
  coded.random_access = picture.type == FrameType::kI;
  coded.group_start = group_start_;
  coded.closed = closed_gov_;
  coded.discard = packet.discard;
  if (geometry_ < 0) geometry_ = intern(geometries_, geometry_of(width_, height_, 16, 1));
  coded.geometry = geometry_;
  group_start_ = closed_gov_ = false;
  pictures_.push_back(coded);
}

// An MPEG-4 decoder also reads H.263 pictures ("short header", 6.2.5.2), which have no start codes
// of the usual form.
void Mpeg4Indexer::add_short_header_picture(const Packet& packet) {
  H263Picture header;
  if (!parse_h263_picture(packet.data, header)) return;
  if (header.width > 0 && (header.width != width_ || header.height != height_)) {
    width_ = header.width;
    height_ = header.height;
    geometry_ = -1;
  }
  CodedPicture coded;
  coded.picture.type = header.type;
  coded.picture.all_intra = header.type == FrameType::kI;
  coded.picture.first_packet = coded.picture.last_packet = packet.number;
  coded.picture.pts = packet.pts;
  coded.picture.duration = packet.duration;
  coded.random_access = coded.picture.all_intra;
  coded.closed = true;
  coded.discard = packet.discard;
  coded.time = static_cast<int64_t>(pictures_.size());
  if (geometry_ < 0) geometry_ = intern(geometries_, geometry_of(width_, height_, 16, 1));
  coded.geometry = geometry_;
  pictures_.push_back(coded);
}

FrameIndex Mpeg4Indexer::finish() {
  FrameIndex index = make_frame_index(pictures_, geometries_, "the VOP time", 0);
  index.parameter_packets = std::move(parameter_packets_);
  if (placeholders_ > 0) {
    index.warnings.push_back(std::to_string(placeholders_) +
                             " placeholder VOPs of packed B-VOPs are no frames");
  }
  return index;
}

}  // namespace cvdecode::mpeg
