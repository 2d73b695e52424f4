#include "backend/mpeg4_motion.h"

#include <algorithm>
#include <cstddef>
#include <optional>
#include <span>
#include <vector>

namespace cvdecode {
namespace {

using mpeg::MacroblockKind;
using mpeg::MotionVector;
using mpeg::VopMotion;

// Both rows of cells of a row of 8x8 blocks at a time.
void write_vectors(const VopMotion& motion, int w4, int h4, int16_t* plane) {
  const auto cells = static_cast<size_t>(w4) * static_cast<size_t>(h4);
  std::fill_n(plane + 2 * cells, 2 * cells, int16_t{0});  // list 1
  for (int by = 0; by < h4 / 2; ++by) {
    int16_t* x = plane + static_cast<size_t>(2 * by) * static_cast<size_t>(w4);
    int16_t* y = x + cells;
    const MotionVector* from = &motion.vector(0, by);
    for (int bx = 0; bx < w4 / 2; ++bx) {
      x[2 * bx] = x[2 * bx + 1] = static_cast<int16_t>(from[bx].x * motion.to_quarter);
      y[2 * bx] = y[2 * bx + 1] = static_cast<int16_t>(from[bx].y * motion.to_quarter);
    }
    std::copy_n(x, w4, x + w4);
    std::copy_n(y, w4, y + w4);
  }
}

// One value for inter macroblocks, another for intra ones, per cell of list 0; list 1 is unused.
template <typename T>
void write_references(const VopMotion& motion, int w4, int h4, T used, T unused, T* plane) {
  const auto cells = static_cast<size_t>(w4) * static_cast<size_t>(h4);
  std::fill_n(plane + cells, cells, unused);
  const MacroblockKind* kind = motion.kinds.data();
  for (int mby = 0; mby < motion.height; ++mby) {
    T* first = plane + static_cast<size_t>(4 * mby) * static_cast<size_t>(w4);
    for (int mbx = 0; mbx < motion.width; ++mbx, ++kind) {
      std::fill_n(first + 4 * mbx, 4, *kind == MacroblockKind::kIntra ? unused : used);
    }
    for (int y = 1; y < 4; ++y) std::copy_n(first, w4, first + static_cast<ptrdiff_t>(y) * w4);
  }
}

uint8_t type_of(MacroblockKind kind) {
  switch (kind) {
    case MacroblockKind::kInter16x16: return static_cast<uint8_t>(MbType::kInter16x16);
    case MacroblockKind::kInter8x8: return static_cast<uint8_t>(MbType::kInter8x8);
    default: return static_cast<uint8_t>(MbType::kIntraUnknown);
  }
}

}  // namespace

Mpeg4Motion::Mpeg4Motion(const BackendContext& context) : context_(context) {
  const auto& pictures = context.index.pictures;
  // With B-VOPs in the stream libavcodec decodes everything anyway.
  usable_ = std::all_of(pictures.begin(), pictures.end(), [](const Picture& p) {
    return (p.type == FrameType::kI || p.type == FrameType::kP) && !p.field_coded;
  });
}

// Tells the parser the VOL in force before a packet.
bool Mpeg4Motion::enter_headers(int64_t packet) {
  // A container that changes its mind on the way is left to libavcodec.
  if (!context_.packets.extradata_in_force(packet).empty()) return false;
  const auto& changes = context_.index.parameter_packets;
  const auto after = std::lower_bound(changes.begin(), changes.end(), packet);
  const int64_t from = after == changes.begin() ? -1 : *std::prev(after);
  if (from == headers_from_) return true;
  parser_ = {};
  parser_.read_headers(context_.info.extradata);
  if (from >= 0) parser_.read_headers(context_.packets.read_packet(from).data);
  headers_from_ = from;
  return true;
}

bool Mpeg4Motion::is_exported(const AVFrame& frame, int32_t picture, const Geometry& geometry) {
  const std::span<const AVMotionVector> vectors = vectors_of(frame);
  const Picture& p = context_.index.pictures[static_cast<size_t>(picture)];
  std::optional<std::vector<int>> starts;
  for (size_t i = 0; i + 1 < vectors.size(); ++i) {
    // The fourth of a macroblock, and the first of four of the macroblock beside it?
    const AVMotionVector& last = vectors[i];
    const AVMotionVector& next = vectors[i + 1];
    if (last.motion_x != 0 || last.motion_y != 0 || last.w != 8 || next.w != 8 ||
        next.dst_x != last.dst_x + 8 || next.dst_y != last.dst_y - 8) {
      continue;
    }
    if (p.first_packet != p.last_packet) return false;
    if (!starts) {
      starts = mpeg::video_packet_starts(context_.packets.read_packet(p.first_packet).data,
                                         geometry.w16() * geometry.h16());
    }
    const int number = next.dst_y / 16 * geometry.w16() + next.dst_x / 16;
    if (std::find(starts->begin(), starts->end(), number) != starts->end()) return false;
  }
  return true;
}

bool Mpeg4Motion::read(int32_t picture, const References& references, PlaneMask planes, int64_t row,
                       Clip& clip) {
  if (!usable_) return false;
  const Picture& p = context_.index.pictures[static_cast<size_t>(picture)];
  if (p.damaged || p.first_packet != p.last_packet || !enter_headers(p.first_packet)) return false;
  const bool own_headers =
      std::binary_search(context_.index.parameter_packets.begin(),
                         context_.index.parameter_packets.end(), p.first_packet);
  const bool read = parser_.read_packet(context_.packets.read_packet(p.first_packet).data, motion_);
  if (own_headers) headers_from_ = -2;  // they count for what follows, not for what is asked next
  const int w4 = clip.geometry.w4();
  const int h4 = clip.geometry.h4();
  if (!read || motion_.width * 4 != w4 || motion_.height * 4 != h4) return false;
  if (has(planes, Plane::kMv)) write_vectors(motion_, w4, h4, clip.row<int16_t>(Plane::kMv, row));
  if (has(planes, Plane::kRef)) {
    write_references(motion_, w4, h4, references.distance[0], kRefUnused,
                     clip.row<int16_t>(Plane::kRef, row));
  }
  if (has(planes, Plane::kRefPicture)) {
    write_references(motion_, w4, h4, references.picture[0], kRefPictureUnused,
                     clip.row<int32_t>(Plane::kRefPicture, row));
  }
  if (has(planes, Plane::kMbType)) {
    std::transform(motion_.kinds.begin(), motion_.kinds.end(),
                   clip.row<uint8_t>(Plane::kMbType, row), type_of);
  }
  if (has(planes, Plane::kQp)) {
    std::copy(motion_.quantisers.begin(), motion_.quantisers.end(),
              clip.row<int16_t>(Plane::kQp, row));
  }
  return true;
}

}  // namespace cvdecode
