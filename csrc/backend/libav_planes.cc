#include "backend/libav_planes.h"

#include <algorithm>
#include <cstddef>
#include <cstring>
#include <span>

extern "C" {
#include <libavutil/motion_vector.h>
#include <libavutil/video_enc_params.h>
}

namespace cvdecode {
namespace {

std::span<const AVMotionVector> vectors_of(const AVFrame& frame) {
  const AVFrameSideData* data = av_frame_get_side_data(&frame, AV_FRAME_DATA_MOTION_VECTORS);
  if (data == nullptr) return {};
  return {reinterpret_cast<const AVMotionVector*>(data->data),
          static_cast<size_t>(data->size) / sizeof(AVMotionVector)};
}

// motion / scale luma samples, as quarter samples. Every exporting codec has scale 2 or 4, so the
// result is exact; other scales would be rounded towards zero.
int16_t quarter(int32_t motion, int scale) {
  const int32_t q = scale == 4 ? motion : scale == 2 ? motion * 2 : motion * 4 / scale;
  return static_cast<int16_t>(std::clamp(q, -32768, 32767));
}

template <typename T>
void fill_block(T* plane, int stride, int x0, int y0, int x1, int y1, T value) {
  T* p = plane + static_cast<ptrdiff_t>(y0) * stride + x0;
  if (x1 - x0 == 4) {  // the common macroblock width: one store each row
    for (int y = y0; y < y1; ++y, p += stride) std::fill_n(p, 4, value);
  } else if (x1 - x0 == 2) {
    for (int y = y0; y < y1; ++y, p += stride) std::fill_n(p, 2, value);
  } else {
    for (int y = y0; y < y1; ++y, p += stride) std::fill_n(p, x1 - x0, value);
  }
}

MbType type_of(const AVMotionVector& v, CodecFamily family) {
  if (v.w == 16 && v.h == 16) return MbType::kInter16x16;
  if (v.w == 8 && v.h == 8) return MbType::kInter8x8;
  // MPEG has no such partitions: this is how two field predictions are exported.
  if (family != CodecFamily::kH264) return MbType::kInterUnknown;
  return v.h == 8 ? MbType::kInter16x8 : MbType::kInter8x16;
}

}  // namespace

ReferenceTable::ReferenceTable(const FrameIndex& index, CodecFamily family)
    : index_(index), family_(family) {
  if (family != CodecFamily::kMpeg4 && family != CodecFamily::kMpeg12) return;
  const size_t n = index.pictures.size();
  last_.resize(n, -1);
  last_but_one_.resize(n, -1);
  int32_t last = -1;
  int32_t last_but_one = -1;
  for (size_t i = 0; i < n; ++i) {
    last_[i] = last;
    last_but_one_[i] = last_but_one;
    if (!index.pictures[i].is_reference) continue;
    last_but_one = last;
    last = static_cast<int32_t>(i);
  }
}

int16_t ReferenceTable::distance(int32_t from, int32_t to) const {
  if (to < 0) return kRefMissing;
  const int32_t a = index_.pictures[static_cast<size_t>(from)].presentation;
  const int32_t b = index_.pictures[static_cast<size_t>(to)].presentation;
  if (a < 0 || b < 0 || b - a > 32764 || b - a < -32764) return kRefNotShown;
  return static_cast<int16_t>(b - a);
}

References ReferenceTable::of(int32_t picture, bool sprite) const {
  References result;
  if (last_.empty() || sprite) return result;
  const auto i = static_cast<size_t>(picture);
  const Picture& p = index_.pictures[i];
  const bool is_b = p.type == FrameType::kB;
  if (family_ == CodecFamily::kMpeg12) {
    // Dual prime looks like a frame prediction in the export.
    if (p.field_coded) return result;
  } else if (is_b) {
    return result;  // vectors of B-VOPs are exported as zero
  }
  const int32_t refs[2] = {is_b ? last_but_one_[i] : last_[i], is_b ? last_[i] : -1};
  for (size_t list = 0; list < 2; ++list) {
    result.distance[list] = distance(picture, refs[list]);
    result.picture[list] = refs[list] < 0 ? kRefPictureMissing : refs[list];
  }
  return result;
}

void fill_motion(const AVFrame& frame, CodecFamily family, const References& references,
                 PlaneMask planes, int64_t row, Clip& clip) {
  const Geometry& g = clip.geometry;
  const int w4 = g.w4();
  const int h4 = g.h4();
  const int w16 = g.w16();
  const ptrdiff_t cells = static_cast<ptrdiff_t>(w4) * h4;
  int16_t* mv = has(planes, Plane::kMv) ? clip.row<int16_t>(Plane::kMv, row) : nullptr;
  int16_t* ref = has(planes, Plane::kRef) ? clip.row<int16_t>(Plane::kRef, row) : nullptr;
  int32_t* ref_picture =
      has(planes, Plane::kRefPicture) ? clip.row<int32_t>(Plane::kRefPicture, row) : nullptr;
  uint8_t* mb_type = has(planes, Plane::kMbType) ? clip.row<uint8_t>(Plane::kMbType, row) : nullptr;

  if (mv != nullptr) std::memset(mv, 0, plane_row_bytes(g, Plane::kMv));
  if (ref != nullptr) std::memset(ref, 0, plane_row_bytes(g, Plane::kRef));
  if (ref_picture != nullptr) std::fill_n(ref_picture, 2 * cells, kRefPictureUnused);
  if (mb_type != nullptr) {
    std::memset(mb_type, static_cast<int>(MbType::kIntraUnknown),
                plane_row_bytes(g, Plane::kMbType));
  }

  // libavcodec does not keep the vectors of MPEG-4 B-VOPs; what it exports for them is zero.
  const bool unknown = family == CodecFamily::kMpeg4 && frame.pict_type == AV_PICTURE_TYPE_B;

  for (const AVMotionVector& v : vectors_of(frame)) {
    const size_t list = v.source > 0 ? 1 : 0;
    // dst is the centre of the block. Blocks of macroblocks that stick out of the grid (libavcodec
    // rounds interlaced heights up to 32) are clipped to it.
    const int left = v.dst_x - v.w / 2;
    const int top = v.dst_y - v.h / 2;
    const int x0 = std::clamp(left / 4, 0, w4);
    const int y0 = std::clamp(top / 4, 0, h4);
    const int x1 = std::clamp((left + v.w) / 4, 0, w4);
    const int y1 = std::clamp((top + v.h) / 4, 0, h4);
    if (x0 >= x1 || y0 >= y1) continue;

    int16_t distance = references.distance[list];
    int32_t picture = references.picture[list];
    if (family != CodecFamily::kH264 && v.w != v.h) {  // field prediction
      distance = kRefUntrusted;
      picture = kRefPictureUntrusted;
    }
    if (mv != nullptr && !unknown) {
      int16_t* plane = mv + static_cast<ptrdiff_t>(list) * 2 * cells;
      fill_block(plane, w4, x0, y0, x1, y1, quarter(v.motion_x, v.motion_scale));
      fill_block(plane + cells, w4, x0, y0, x1, y1, quarter(v.motion_y, v.motion_scale));
    }
    if (ref != nullptr) {
      fill_block(ref + static_cast<ptrdiff_t>(list) * cells, w4, x0, y0, x1, y1, distance);
    }
    if (ref_picture != nullptr) {
      fill_block(ref_picture + static_cast<ptrdiff_t>(list) * cells, w4, x0, y0, x1, y1, picture);
    }
    if (mb_type != nullptr) {
      const MbType type = unknown ? MbType::kInterUnknown : type_of(v, family);
      mb_type[static_cast<ptrdiff_t>(y0 / 4) * w16 + x0 / 4] = static_cast<uint8_t>(type);
    }
  }
}

bool has_qp(const AVFrame& frame) {
  return av_frame_get_side_data(&frame, AV_FRAME_DATA_VIDEO_ENC_PARAMS) != nullptr;
}

bool has_side_data(const AVFrame& frame) {
  return has_qp(frame) || av_frame_get_side_data(&frame, AV_FRAME_DATA_MOTION_VECTORS) != nullptr;
}

void fill_qp(const AVFrame& frame, bool halve, int64_t row, Clip& clip) {
  const Geometry& g = clip.geometry;
  int16_t* qp = clip.row<int16_t>(Plane::kQp, row);
  const int w16 = g.w16();
  const int h16 = g.h16();
  const AVFrameSideData* data = av_frame_get_side_data(&frame, AV_FRAME_DATA_VIDEO_ENC_PARAMS);
  std::fill_n(qp, static_cast<ptrdiff_t>(w16) * h16, kQpNone);
  if (data == nullptr) return;
  auto* params = reinterpret_cast<AVVideoEncParams*>(data->data);
  for (unsigned i = 0; i < params->nb_blocks; ++i) {
    const AVVideoBlockParams* block = av_video_enc_params_block(params, i);
    const int x = block->src_x / 16;
    const int y = block->src_y / 16;
    if (block->src_x < 0 || block->src_y < 0 || x >= w16 || y >= h16) continue;
    const int32_t value = params->qp + block->delta_qp;
    qp[static_cast<ptrdiff_t>(y) * w16 + x] = static_cast<int16_t>(halve ? value / 2 : value);
  }
}

}  // namespace cvdecode
