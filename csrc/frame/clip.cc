#include "frame/clip.h"

#include <algorithm>
#include <cstring>
#include <string>

#include "base/error.h"
#include "frame/motion_row.h"

namespace cvdecode {

size_t plane_row_bytes(const Geometry& g, Plane plane) {
  const auto cells4 = static_cast<size_t>(g.w4()) * static_cast<size_t>(g.h4());
  const auto cells16 = static_cast<size_t>(g.w16()) * static_cast<size_t>(g.h16());
  const auto luma = static_cast<size_t>(g.coded_width) * static_cast<size_t>(g.coded_height);
  switch (plane) {
    case Plane::kMv: return cells4 * 4 * sizeof(int16_t);
    case Plane::kRef: return cells4 * 2 * sizeof(int16_t);
    case Plane::kMbType: return cells16;
    case Plane::kQp: return cells16 * sizeof(int16_t);
    case Plane::kBits: return cells16 * sizeof(uint16_t);
    case Plane::kResidualY: return luma * sizeof(int16_t);
    case Plane::kResidualUv: return luma / 4 * 2 * sizeof(int16_t);
    case Plane::kRgb: return 3 * static_cast<size_t>(g.width()) * static_cast<size_t>(g.height());
    case Plane::kRefPicture: return cells4 * 2 * sizeof(int32_t);
    case Plane::kMotion: return MotionRow::bytes(g);
  }
  return 0;
}

Clip Clip::allocate(const Geometry& geometry, int64_t frames, PlaneMask planes) {
  Clip clip;
  clip.geometry = geometry;
  clip.frames = frames;
  clip.planes = planes;
  clip.lost.assign(static_cast<size_t>(frames), 0);
  for (int p = 0; p < kPlaneCount; ++p) {
    if (!has(planes, static_cast<Plane>(p))) continue;
    const size_t bytes =
        plane_row_bytes(geometry, static_cast<Plane>(p)) * static_cast<size_t>(frames);
    clip.buffers[static_cast<size_t>(p)] = std::make_shared<Buffer>(bytes, true);
  }
  return clip;
}

void Clip::fill_lost(int64_t t, PlaneMask which) {
  lost[static_cast<size_t>(t)] = 1;
  for (int p = 0; p < kPlaneCount; ++p) {
    const auto plane = static_cast<Plane>(p);
    if (!has(which & planes, plane)) continue;
    const size_t bytes = plane_row_bytes(geometry, plane);
    if (plane == Plane::kMbType) {
      std::memset(row<uint8_t>(plane, t), 255, bytes);
    } else if (plane == Plane::kQp) {
      std::fill_n(row<int16_t>(plane, t), bytes / 2, kQpNone);
    } else if (plane == Plane::kMotion) {
      const MotionRow motion = MotionRow::of(row<uint8_t>(plane, t), geometry);
      for (size_t mb = 0; mb < MotionRow::macroblocks(geometry); ++mb) motion.lose(mb);
    } else if (plane == Plane::kRefPicture) {
      std::fill_n(row<int32_t>(plane, t), bytes / 4, kRefPictureUnused);
    } else {
      std::memset(row<uint8_t>(plane, t), 0, bytes);
    }
  }
}

}  // namespace cvdecode
