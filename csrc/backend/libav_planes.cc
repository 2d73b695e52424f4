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

// Cells of a 4x4 grid that one block covers, clipped to the grid.
struct Cells {
  int x0, y0, x1, y1;
};

// Macroblocks and their halves are 4 or 2 cells wide: one store for each of their rows.
template <typename T>
[[gnu::always_inline]] inline void fill_block(T* plane, int stride, const Cells& c, T value) {
  T* p = plane + static_cast<ptrdiff_t>(c.y0) * stride + c.x0;
  const T row[4] = {value, value, value, value};
  const int width = c.x1 - c.x0;
  if (width == 4) {
    for (int y = c.y0; y < c.y1; ++y, p += stride) std::memcpy(p, row, 4 * sizeof(T));
  } else if (width == 2) {
    for (int y = c.y0; y < c.y1; ++y, p += stride) std::memcpy(p, row, 2 * sizeof(T));
  } else {
    for (int y = c.y0; y < c.y1; ++y, p += stride) std::fill_n(p, width, value);
  }
}

// dst is the centre of the block. Blocks of macroblocks that stick out of the grid (libavcodec
// rounds interlaced heights up to 32) are clipped to it; the result may be empty.
[[gnu::always_inline]] inline Cells cells_of(const AVMotionVector& v, int w4, int h4) {
  const int left = v.dst_x - (v.w >> 1);
  const int top = v.dst_y - (v.h >> 1);
  return {std::clamp(left >> 2, 0, w4), std::clamp(top >> 2, 0, h4),
          std::clamp((left + v.w) >> 2, 0, w4), std::clamp((top + v.h) >> 2, 0, h4)};
}

// Which lists have a vector for every cell: their planes need not be cleared before. libavcodec
// exports macroblock by macroblock, so the blocks of one list never overlap.
std::array<bool, 2> covered_lists(std::span<const AVMotionVector> vectors, int w4, int h4) {
  std::array<int64_t, 2> cells{};
  for (const AVMotionVector& v : vectors) {
    const Cells c = cells_of(v, w4, h4);
    cells[v.source > 0 ? 1 : 0] += static_cast<int64_t>(c.x1 - c.x0) * (c.y1 - c.y0);
  }
  const int64_t all = static_cast<int64_t>(w4) * h4;
  return {cells[0] == all, cells[1] == all};
}

MbType type_of(const AVMotionVector& v, CodecFamily family) {
  if (v.w == 16 && v.h == 16) return MbType::kInter16x16;
  if (v.w == 8 && v.h == 8) return MbType::kInter8x8;
  // MPEG has no such partitions: this is how two field predictions are exported.
  if (family != CodecFamily::kH264) return MbType::kInterUnknown;
  return v.h == 8 ? MbType::kInter16x8 : MbType::kInter8x16;
}

// Table 7-6 of 13818-2 backwards: which quantiser_scale_code selects this quantiser_scale when
// q_scale_type is 1.
int32_t quantiser_scale_code(int32_t quantiser_scale) {
  const int32_t q = quantiser_scale;
  int32_t code = 0;
  if (q <= 8) {
    code = q;
  } else if (q <= 24) {
    code = 8 + (q - 8) / 2;
  } else if (q <= 56) {
    code = 16 + (q - 24) / 4;
  } else {
    code = 24 + (q - 56) / 8;
  }
  return code >= 1 && code <= 31 ? code : kQpNone;
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
  const auto cells = static_cast<size_t>(w4) * static_cast<size_t>(h4);
  int16_t* mv = has(planes, Plane::kMv) ? clip.row<int16_t>(Plane::kMv, row) : nullptr;
  int16_t* ref = has(planes, Plane::kRef) ? clip.row<int16_t>(Plane::kRef, row) : nullptr;
  int32_t* ref_picture =
      has(planes, Plane::kRefPicture) ? clip.row<int32_t>(Plane::kRefPicture, row) : nullptr;
  uint8_t* mb_type = has(planes, Plane::kMbType) ? clip.row<uint8_t>(Plane::kMbType, row) : nullptr;
  // libavcodec does not keep the vectors of MPEG-4 B-VOPs; what it exports for them is zero.
  const bool unknown = family == CodecFamily::kMpeg4 && frame.pict_type == AV_PICTURE_TYPE_B;
  const std::span<const AVMotionVector> vectors = vectors_of(frame);

  // Rows may hold an earlier batch. Where vectors leave no gap, nothing needs clearing.
  const std::array<bool, 2> covered = covered_lists(vectors, w4, h4);
  for (size_t list = 0; list < 2; ++list) {
    if (mv != nullptr && (unknown || !covered[list])) {
      std::fill_n(mv + list * 2 * cells, 2 * cells, int16_t{0});
    }
    if (covered[list]) continue;
    if (ref != nullptr) std::fill_n(ref + list * cells, cells, kRefUnused);
    if (ref_picture != nullptr) std::fill_n(ref_picture + list * cells, cells, kRefPictureUnused);
  }
  if (mb_type != nullptr) {
    std::memset(mb_type, static_cast<int>(MbType::kIntraUnknown),
                plane_row_bytes(g, Plane::kMbType));
  }

  for (const AVMotionVector& v : vectors) {
    const Cells c = cells_of(v, w4, h4);
    if (c.x0 >= c.x1 || c.y0 >= c.y1) continue;
    const size_t list = v.source > 0 ? 1 : 0;
    // Field prediction is the only thing that MPEG exports as 16x8.
    const bool field = family != CodecFamily::kH264 && v.w != v.h;
    if (mv != nullptr && !unknown) {
      int16_t* plane = mv + list * 2 * cells;
      fill_block(plane, w4, c, quarter(v.motion_x, v.motion_scale));
      fill_block(plane + cells, w4, c, quarter(v.motion_y, v.motion_scale));
    }
    if (ref != nullptr) {
      fill_block(ref + list * cells, w4, c, field ? kRefUntrusted : references.distance[list]);
    }
    if (ref_picture != nullptr) {
      fill_block(ref_picture + list * cells, w4, c,
                 field ? kRefPictureUntrusted : references.picture[list]);
    }
    if (mb_type != nullptr) {
      const MbType type = unknown ? MbType::kInterUnknown : type_of(v, family);
      mb_type[static_cast<ptrdiff_t>(c.y0 >> 2) * w16 + (c.x0 >> 2)] = static_cast<uint8_t>(type);
    }
  }
}

bool has_qp(const AVFrame& frame) {
  return av_frame_get_side_data(&frame, AV_FRAME_DATA_VIDEO_ENC_PARAMS) != nullptr;
}

bool has_side_data(const AVFrame& frame) {
  return has_qp(frame) || av_frame_get_side_data(&frame, AV_FRAME_DATA_MOTION_VECTORS) != nullptr;
}

void fill_qp(const AVFrame& frame, QpScale scale, int64_t row, Clip& clip) {
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
    int32_t value = params->qp + block->delta_qp;
    if (scale == QpScale::kDouble) value /= 2;
    if (scale == QpScale::kNonLinear) value = quantiser_scale_code(value);
    qp[static_cast<ptrdiff_t>(y) * w16 + x] = static_cast<int16_t>(value);
  }
}

}  // namespace cvdecode
