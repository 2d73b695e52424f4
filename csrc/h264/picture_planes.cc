#include "h264/picture_planes.h"

#include <algorithm>
#include <cstring>

namespace cvdecode::h264 {
namespace {

// Calls f(mb_y, x0, x1) for each run of macroblocks in one macroblock row.
template <typename F>
void for_rows(int width_mbs, int first_mb, int count, F f) {
  int mb = first_mb;
  const int end = first_mb + count;
  while (mb < end) {
    const int y = mb / width_mbs;
    const int x0 = mb % width_mbs;
    const int x1 = std::min(width_mbs, x0 + end - mb);
    f(y, x0, x1);
    mb += x1 - x0;
  }
}

// Two equal cells at once.
template <typename T>
void put_pair(T* out, T v) {
  out[0] = v;
  out[1] = v;
}

template <typename T>
void write_labels(const int8_t* ref_idx, int count8, const T* label, T* row0, T* row1) {
  for (int i = 0; i < count8; ++i) {
    const T v = label[ref_idx[i] + 1];
    put_pair(row0 + i * 2, v);
    put_pair(row1 + i * 2, v);
  }
}

int16_t distance(const FrameIndex& index, int32_t from, int32_t to) {
  if (to < 0 || static_cast<size_t>(to) >= index.pictures.size()) return kRefMissing;
  const int32_t here = index.pictures[static_cast<size_t>(from)].presentation;
  const int32_t there = index.pictures[static_cast<size_t>(to)].presentation;
  if (here < 0 || there < 0) return kRefNotShown;
  const int64_t d = static_cast<int64_t>(there) - here;
  // -32765 and below are the sentinels.
  if (d > 32766 || d < -32764) return kRefNotShown;
  return static_cast<int16_t>(d);
}

}  // namespace

void make_labels(const FrameIndex& index, int32_t picture, const PictureMotion& motion,
                 std::vector<SliceLabels>& labels) {
  labels.resize(motion.slices.size());
  for (size_t s = 0; s < labels.size(); ++s) {
    for (size_t list = 0; list < 2; ++list) {
      labels[s].ref[list][0] = kRefUnused;
      labels[s].ref_picture[list][0] = kRefPictureUnused;
      for (size_t i = 0; i < 32; ++i) {
        const int32_t id = motion.slices[s].picture[list][i];
        labels[s].ref[list][i + 1] = distance(index, picture, id);
        labels[s].ref_picture[list][i + 1] = id < 0 ? kRefPictureMissing : id;
      }
    }
  }
}

PlaneRow PlaneRow::of(Clip& clip, int64_t row, PlaneMask planes) {
  PlaneRow r;
  const auto wants = [&](Plane p) { return has(planes & clip.planes, p); };
  if (wants(Plane::kMv)) r.mv = clip.row<int16_t>(Plane::kMv, row);
  if (wants(Plane::kRef)) r.ref = clip.row<int16_t>(Plane::kRef, row);
  if (wants(Plane::kRefPicture)) r.ref_picture = clip.row<int32_t>(Plane::kRefPicture, row);
  if (wants(Plane::kMbType)) r.mb_type = clip.row<uint8_t>(Plane::kMbType, row);
  if (wants(Plane::kQp)) r.qp = clip.row<int16_t>(Plane::kQp, row);
  if (wants(Plane::kBits)) r.bits = clip.row<uint16_t>(Plane::kBits, row);
  if (wants(Plane::kResidualY)) r.residual_y = clip.row<int16_t>(Plane::kResidualY, row);
  if (wants(Plane::kResidualUv)) r.residual_uv = clip.row<int16_t>(Plane::kResidualUv, row);
  if (r.wants_residual()) {
    const auto mbs =
        static_cast<size_t>(clip.geometry.w16()) * static_cast<size_t>(clip.geometry.h16());
    const size_t all = mbs * static_cast<size_t>(clip.frames);
    if (clip.residual_written.size() != all) clip.residual_written.assign(all, 0xffffffffu);
    r.residual_written = clip.residual_written.data() + mbs * static_cast<size_t>(row);
  }
  return r;
}

void write_motion(const PictureMotion& motion, const SliceLabels& labels, int first_mb, int count,
                  const PlaneRow& out) {
  const ptrdiff_t w4 = motion.w4();
  const ptrdiff_t plane4 = w4 * motion.height_mbs * 4;
  for_rows(motion.width_mbs, first_mb, count, [&](int mb_y, int x0, int x1) {
    const int cells = (x1 - x0) * 4;
    for (size_t list = 0; list < 2; ++list) {
      const bool present = list == 0 || motion.has_list1;
      const auto plane = static_cast<ptrdiff_t>(list) * plane4;
      for (int r = 0; out.mv != nullptr && r < 4; ++r) {
        const ptrdiff_t at = (mb_y * 4 + r) * w4 + x0 * 4;
        int16_t* x = out.mv + plane * 2 + at;
        int16_t* y = x + plane4;
        if (!present) {
          std::fill_n(x, cells, int16_t{0});
          std::fill_n(y, cells, int16_t{0});
          continue;
        }
        const Mv* mv = motion.mv[list].data() + at;
        for (int i = 0; i < cells; ++i) {
          x[i] = mv[i].x;
          y[i] = mv[i].y;
        }
      }
      for (int r = 0; r < 2; ++r) {
        const ptrdiff_t at = plane + (mb_y * 4 + r * 2) * w4 + x0 * 4;
        const int8_t* ref_idx =
            present ? motion.ref_idx[list].data() + (mb_y * 2 + r) * motion.w8() + x0 * 2 : nullptr;
        if (out.ref != nullptr) {
          int16_t* ref = out.ref + at;
          if (present) {
            write_labels(ref_idx, cells / 2, labels.ref[list].data(), ref, ref + w4);
          } else {
            std::fill_n(ref, cells, kRefUnused);
            std::fill_n(ref + w4, cells, kRefUnused);
          }
        }
        if (out.ref_picture != nullptr) {
          int32_t* ref = out.ref_picture + at;
          if (present) {
            write_labels(ref_idx, cells / 2, labels.ref_picture[list].data(), ref, ref + w4);
          } else {
            std::fill_n(ref, cells, kRefPictureUnused);
            std::fill_n(ref + w4, cells, kRefPictureUnused);
          }
        }
      }
    }
  });
}

void write_no_motion(int width_mbs, int height_mbs, int first_mb, int count, const PlaneRow& out) {
  const ptrdiff_t w4 = width_mbs * 4;
  const ptrdiff_t plane4 = w4 * height_mbs * 4;
  for_rows(width_mbs, first_mb, count, [&](int mb_y, int x0, int x1) {
    const int cells = (x1 - x0) * 4;
    for (int r = 0; r < 4; ++r) {
      const ptrdiff_t at = (mb_y * 4 + r) * w4 + x0 * 4;
      for (int k = 0; k < 4; ++k) {
        if (out.mv != nullptr) std::fill_n(out.mv + k * plane4 + at, cells, int16_t{0});
        if (k >= 2) continue;
        if (out.ref != nullptr) std::fill_n(out.ref + k * plane4 + at, cells, kRefUnused);
        if (out.ref_picture != nullptr) {
          std::fill_n(out.ref_picture + k * plane4 + at, cells, kRefPictureUnused);
        }
      }
    }
  });
}

void write_macroblocks(const Macroblock* macroblocks, int first_mb, int count,
                       const PlaneRow& out) {
  const int end = first_mb + count;
  if (out.mb_type != nullptr) {
    for (int mb = first_mb; mb < end; ++mb) {
      out.mb_type[mb] = static_cast<uint8_t>(macroblocks[mb].mb_type);
    }
  }
  if (out.qp != nullptr) {
    for (int mb = first_mb; mb < end; ++mb) {
      const Macroblock& m = macroblocks[mb];
      const bool none = m.mb_type == MbType::kIPcm || m.mb_type == MbType::kLost;
      out.qp[mb] = none ? kQpNone : int16_t{m.QPY};
    }
  }
}

void write_lost(int width_mbs, int height_mbs, int mb, const PlaneRow& out) {
  if (out.mb_type != nullptr) out.mb_type[mb] = static_cast<uint8_t>(MbType::kLost);
  if (out.qp != nullptr) out.qp[mb] = kQpNone;
  if (out.bits != nullptr) out.bits[mb] = 0;
  const ptrdiff_t w = width_mbs * 16;
  const ptrdiff_t x = mb % width_mbs;
  const ptrdiff_t y = mb / width_mbs;
  if (out.residual_y != nullptr) {
    for (int r = 0; r < 16; ++r) {
      std::fill_n(out.residual_y + (y * 16 + r) * w + x * 16, 16, int16_t{0});
    }
  }
  if (out.residual_uv != nullptr) {
    const ptrdiff_t v_plane = w / 2 * height_mbs * 8;
    for (int r = 0; r < 8; ++r) {
      int16_t* u = out.residual_uv + (y * 8 + r) * (w / 2) + x * 8;
      std::fill_n(u, 8, int16_t{0});
      std::fill_n(u + v_plane, 8, int16_t{0});
    }
  }
}

}  // namespace cvdecode::h264
