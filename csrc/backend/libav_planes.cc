#include "backend/libav_planes.h"

#include <algorithm>
#include <cstddef>
#include <cstring>
#include <span>

extern "C" {
#include <libavutil/video_enc_params.h>
}

namespace cvdecode {

std::span<const AVMotionVector> vectors_of(const AVFrame& frame) {
  const AVFrameSideData* data = av_frame_get_side_data(&frame, AV_FRAME_DATA_MOTION_VECTORS);
  if (data == nullptr) return {};
  return {reinterpret_cast<const AVMotionVector*>(data->data),
          static_cast<size_t>(data->size) / sizeof(AVMotionVector)};
}

namespace {

// motion / scale luma samples, as quarter samples. Every exporting codec has scale 2 or 4, so the
// result is exact; other scales would be rounded towards zero.
[[gnu::always_inline]] inline int16_t quarter(int32_t motion, int scale) {
  int32_t q = motion;
  if (scale != 4) [[unlikely]]
    q = scale == 2 ? motion * 2 : motion * 4 / scale;
  if (q != static_cast<int16_t>(q)) [[unlikely]]
    q = std::clamp(q, -32768, 32767);
  return static_cast<int16_t>(q);
}

// Cells of a 4x4 grid that one block covers.
struct Cells {
  int x0, y0, x1, y1;
};

// dst is the centre of the block. Blocks of macroblocks that stick out of the grid (libavcodec
// rounds interlaced heights up to 32) are clipped to it; the result may be empty.
Cells cells_of(const AVMotionVector& v, int w4, int h4) {
  const int x = (v.dst_x - (v.w >> 1)) >> 2;
  const int y = (v.dst_y - (v.h >> 1)) >> 2;
  return {std::clamp(x, 0, w4), std::clamp(y, 0, h4), std::clamp(x + (v.w >> 2), 0, w4),
          std::clamp(y + (v.h >> 2), 0, h4)};
}

template <typename T>
void fill_block(T* plane, int stride, const Cells& c, T value) {
  T* p = plane + static_cast<ptrdiff_t>(c.y0) * stride + c.x0;
  for (int y = c.y0; y < c.y1; ++y, p += stride) std::fill_n(p, c.x1 - c.x0, value);
}

// A whole block at p: `width` is 2 or 4 cells, one store for each row.
[[gnu::always_inline]] inline void store_block(int16_t* p, ptrdiff_t stride, int width, int height,
                                               int16_t value) {
  const uint64_t row = uint64_t{0x0001000100010001} * static_cast<uint16_t>(value);
  if (width == 4) {
    for (int y = 0; y < height; ++y, p += stride) std::memcpy(p, &row, 8);
  } else {
    for (int y = 0; y < height; ++y, p += stride) std::memcpy(p, &row, 4);
  }
}

// The mv plane: list 0 x, y, list 1 x, y, or its first list alone. It may hold an earlier batch, so
// it is cleared, a row of macroblocks at a time, just before that row is written to: libavcodec
// exports in raster order, and the row is in the cache then.
template <int kLists>
void fill_vectors(std::span<const AVMotionVector> vectors, int w4, int h4, int16_t* mv) {
  const ptrdiff_t stride = w4;
  const ptrdiff_t cells = stride * h4;
  int cleared = 0;
  const auto clear_to = [&](int end) {
    for (int plane = 0; plane < 2 * kLists; ++plane) {
      std::fill_n(mv + plane * cells + cleared * stride, (end - cleared) * stride, int16_t{0});
    }
    cleared = end;
  };
  for (const AVMotionVector& v : vectors) {
    if (kLists == 1 && v.source > 0) continue;
    const int x = (v.dst_x - (v.w >> 1)) >> 2;
    const int y = (v.dst_y - (v.h >> 1)) >> 2;
    const int width = v.w >> 2;
    const int height = v.h >> 2;
    if (y + height > cleared) clear_to(std::min((y + height + 3) & ~3, h4));
    int16_t* list = mv + (v.source > 0 ? 2 * cells : 0);
    const int16_t mv_x = quarter(v.motion_x, v.motion_scale);
    const int16_t mv_y = quarter(v.motion_y, v.motion_scale);
    const bool inside = x >= 0 && y >= 0 && x + width <= w4 && y + height <= h4;
    if (inside && width == 4 && height == 4) {  // most are whole macroblocks
      int16_t* p = list + y * stride + x;
      store_block(p, stride, 4, 4, mv_x);
      store_block(p + cells, stride, 4, 4, mv_y);
    } else if (inside && (width == 4 || width == 2)) {
      int16_t* p = list + y * stride + x;
      store_block(p, stride, width, height, mv_x);
      store_block(p + cells, stride, width, height, mv_y);
    } else {
      const Cells c = cells_of(v, w4, h4);
      fill_block(list, w4, c, mv_x);
      fill_block(list + cells, w4, c, mv_y);
    }
  }
  clear_to(h4);
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
  if (mv != nullptr) {
    if (unknown) {
      std::fill_n(mv, 4 * cells, int16_t{0});
    } else {
      fill_vectors<2>(vectors, w4, h4, mv);
    }
  }

  if (ref == nullptr && ref_picture == nullptr && mb_type == nullptr) return;
  if (ref != nullptr) std::fill_n(ref, 2 * cells, kRefUnused);
  if (ref_picture != nullptr) std::fill_n(ref_picture, 2 * cells, kRefPictureUnused);
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

void fill_list0(const AVFrame& frame, const Geometry& g, int16_t* mv) {
  fill_vectors<1>(vectors_of(frame), g.w4(), g.h4(), mv);
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
