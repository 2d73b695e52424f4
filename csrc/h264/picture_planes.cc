#include "h264/picture_planes.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "h264/slice_decoder.h"

namespace cvdecode::h264 {
namespace {

// Two rows of cells from one row of quadrants, of which each covers two cells; `none` where the
// list is not used at all.
template <typename T>
void write_labels(const int8_t* ref_idx, int quadrants, const T* label, T none, T* out,
                  ptrdiff_t stride) {
  if (ref_idx == nullptr) {
    std::fill_n(out, quadrants * 2, none);
  } else if (std::memcmp(ref_idx, ref_idx + 1, static_cast<size_t>(quadrants) - 1) == 0) {
    std::fill_n(out, quadrants * 2, label[ref_idx[0] + 1]);  // the whole row refers to one picture
  } else {
    for (int i = 0; i < quadrants; ++i) {
      const std::array<T, 2> cells = {label[ref_idx[i] + 1], label[ref_idx[i] + 1]};
      std::memcpy(out + i * 2, cells.data(), sizeof(cells));
    }
  }
  std::memcpy(out + stride, out, static_cast<size_t>(quadrants) * 2 * sizeof(T));
}

// One list of a row of macroblocks.
class ListRow {
 public:
  ListRow(const MotionRows& rows, size_t list, const SliceLabels* labels, int width_mbs) {
    if (rows.mv[list] == nullptr) return;
    mv_ = rows.mv[list];
    ref_idx_ = rows.ref_idx[list];
    label_ = labels->ref_picture[list].data();
    w4_ = ptrdiff_t{4} * width_mbs;
  }

  // The block in column `x` of the row.
  void read(ptrdiff_t x, ptrdiff_t y, size_t list, Prediction& to) const {
    if (mv_ == nullptr) return;
    const Mv mv = mv_[y * w4_ + x];
    to.mv[list][0] = mv.x;
    to.mv[list][1] = mv.y;
    to.picture[list] = label_[ref_idx_[y / 2 * (w4_ / 2) + x / 2] + 1];
  }

  // Not 0: some vectors differ within 8x8 blocks; some vectors or references do between them.
  struct Difference {
    uint64_t within = 0;
    uint64_t between = 0;
  };
  Difference difference(int mb_x) const {
    Difference d;
    if (mv_ == nullptr) return d;
    const auto halves = [](uint64_t pair) { return (pair ^ pair >> 32) & 0xFFFFFFFF; };
    std::array<std::array<uint64_t, 2>, 4> pair;  // of vectors
    for (ptrdiff_t y = 0; y < 4; ++y) {
      std::memcpy(pair[static_cast<size_t>(y)].data(), mv_ + y * w4_ + ptrdiff_t{4} * mb_x, 16);
    }
    for (size_t half = 0; half < 2; ++half) {
      d.within |= (pair[0][half] ^ pair[1][half]) | (pair[2][half] ^ pair[3][half]) |
                  halves(pair[0][half]) | halves(pair[2][half]);
      d.between |= pair[0][half] ^ pair[2][half];
    }
    const int8_t* const upper = ref_idx_ + ptrdiff_t{2} * mb_x;
    const int8_t* const lower = upper + w4_ / 2;
    const bool same = upper[0] == upper[1] && upper[0] == lower[0] && upper[0] == lower[1];
    d.between |= (pair[0][0] ^ pair[0][1]) | (same ? 0 : 1);
    return d;
  }

 private:
  const Mv* mv_ = nullptr;  // null: the list is not used
  const int8_t* ref_idx_ = nullptr;
  const int32_t* label_ = nullptr;
  ptrdiff_t w4_ = 0;
};

bool is_direct(MbType type) { return type == MbType::kBSkip || type == MbType::kBDirect16x16; }

// What a type alone says, kAnyMotion where the vectors have to.
MotionShape shape_of(MbType type) {
  switch (type) {
    case MbType::kInter16x8:
    case MbType::kInter8x16: return kFourMotions;
    case MbType::kBSkip:
    case MbType::kBDirect16x16:
    case MbType::kInter8x8: return kAnyMotion;
    default: return kOneMotion;
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

// The words of one row that say which blocks of the residual planes may differ from zero
// (ResidualMask). They stay with the memory; where it is not known, every block may.
uint32_t* written_blocks(Clip& clip, int64_t row, bool y, bool uv) {
  Buffer* const luma = y ? clip.buffers[static_cast<size_t>(Plane::kResidualY)].get() : nullptr;
  Buffer* const chroma = uv ? clip.buffers[static_cast<size_t>(Plane::kResidualUv)].get() : nullptr;
  Buffer& main = luma != nullptr ? *luma : *chroma;
  Buffer* const partner = luma != nullptr ? chroma : nullptr;
  const size_t row_words =
      static_cast<size_t>(clip.geometry.w16()) * static_cast<size_t>(clip.geometry.h16());
  const size_t words = row_words * static_cast<size_t>(clip.frames);
  const auto shape = std::make_pair(clip.geometry.w16(), clip.geometry.h16());
  const bool zero = main.note.zero && (partner == nullptr || partner->note.zero);
  const bool known = main.note.shape == shape &&
                     main.note.partner == (partner != nullptr ? partner->id() : 0) &&
                     (partner == nullptr || partner->note.partner == main.id());
  if (!known) main.note.words.clear();
  if (main.note.words.size() < words) {
    main.note.words.resize(words, zero ? 0 : kResidualUnknown);
  }
  main.note.zero = false;
  main.note.shape = shape;
  main.note.partner = partner != nullptr ? partner->id() : 0;
  if (partner != nullptr) {
    partner->note = Buffer::Note{};
    partner->note.partner = main.id();
  }
  return main.note.words.data() + row_words * static_cast<size_t>(row);
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
  if (wants(Plane::kMotion)) {
    r.motion = MotionRow::of(clip.row<uint8_t>(Plane::kMotion, row), clip.geometry);
  }
  if (wants(Plane::kMbType)) r.mb_type = clip.row<uint8_t>(Plane::kMbType, row);
  if (wants(Plane::kQp)) r.qp = clip.row<int16_t>(Plane::kQp, row);
  if (wants(Plane::kBits)) r.bits = clip.row<uint16_t>(Plane::kBits, row);
  if (wants(Plane::kResidualY)) r.residual_y = clip.row<int16_t>(Plane::kResidualY, row);
  if (wants(Plane::kResidualUv)) r.residual_uv = clip.row<int16_t>(Plane::kResidualUv, row);
  if (r.wants_residual()) {
    r.residual_written =
        written_blocks(clip, row, r.residual_y != nullptr, r.residual_uv != nullptr);
  }
  return r;
}

void PlaneSink::write_blocks(int mb_y, int x0, int x1, const MotionRows& rows) {
  const ptrdiff_t w4 = width_mbs_ * 4;
  const ptrdiff_t w8 = width_mbs_ * 2;
  const ptrdiff_t plane4 = w4 * height_mbs_ * 4;
  const int cells = (x1 - x0) * 4;
  for (size_t list = 0; list < 2; ++list) {
    const auto plane = static_cast<ptrdiff_t>(list) * plane4;
    const bool present = rows.mv[list] != nullptr;
    for (int r = 0; out_.mv != nullptr && r < 4; ++r) {
      int16_t* x = out_.mv + plane * 2 + (mb_y * 4 + r) * w4 + x0 * 4;
      int16_t* y = x + plane4;
      if (!present) {
        std::fill_n(x, cells, int16_t{0});
        std::fill_n(y, cells, int16_t{0});
        continue;
      }
      const Mv* mv = rows.mv[list] + r * w4 + x0 * 4;
      for (int i = 0; i < cells; ++i) {
        x[i] = mv[i].x;
        y[i] = mv[i].y;
      }
    }
    for (int r = 0; r < 2; ++r) {
      const ptrdiff_t at = plane + (mb_y * 4 + r * 2) * w4 + x0 * 4;
      const int8_t* ref_idx = present ? rows.ref_idx[list] + r * w8 + x0 * 2 : nullptr;
      if (out_.ref != nullptr) {
        write_labels(ref_idx, cells / 2, present ? labels_->ref[list].data() : nullptr, kRefUnused,
                     out_.ref + at, w4);
      }
      if (out_.ref_picture != nullptr) {
        write_labels(ref_idx, cells / 2, present ? labels_->ref_picture[list].data() : nullptr,
                     kRefPictureUnused, out_.ref_picture + at, w4);
      }
    }
  }
}

void PlaneSink::write_motion(int mb_y, int x0, int x1, const MotionRows& rows) {
  const std::array<ListRow, 2> lists = {ListRow(rows, 0, labels_, width_mbs_),
                                        ListRow(rows, 1, labels_, width_mbs_)};
  for (int x = x0; x < x1; ++x) {
    const auto mb = static_cast<size_t>(mb_y * width_mbs_ + x);
    const MbType type = macroblocks_[mb].mb_type;
    if (type == MbType::kLost) {
      out_.motion.lose(mb);
      continue;
    }
    const auto at = [&](int block_x, int block_y) {
      Prediction p;
      for (size_t list = 0; list < 2; ++list) lists[list].read(4 * x + block_x, block_y, list, p);
      return p;
    };
    MotionShape shape = shape_of(type);
    if (rows.one_motion != nullptr && is_direct(type) && rows.one_motion[x] != 0) {
      shape = kOneMotion;
    } else if (shape == kAnyMotion) {
      const ListRow::Difference d0 = lists[0].difference(x);
      const ListRow::Difference d1 = lists[1].difference(x);
      shape = (d0.within | d1.within) != 0     ? kAnyMotion
              : (d0.between | d1.between) != 0 ? kFourMotions
                                               : kOneMotion;
    }
    out_.motion.shapes[mb] = shape;
    out_.motion.first[mb] = at(0, 0);
    if (shape == kOneMotion) continue;
    Prediction* const blocks = out_.motion.blocks + mb * MotionRow::kBlocks;
    const int step = shape == kFourMotions ? 2 : 1;
    const int side = 4 / step;
    for (int i = 0; i < side * side; ++i) blocks[i] = at(i % side * step, i / side * step);
  }
}

void PlaneSink::row(int mb_y, int x0, int x1, const MotionRows& rows) {
  if (out_.wants_blocks()) write_blocks(mb_y, x0, x1, rows);
  if (out_.motion.first != nullptr) write_motion(mb_y, x0, x1, rows);
  const int first = mb_y * width_mbs_ + x0;
  const int end = mb_y * width_mbs_ + x1;
  if (out_.mb_type != nullptr) {
    for (int mb = first; mb < end; ++mb) {
      out_.mb_type[mb] = static_cast<uint8_t>(macroblocks_[mb].mb_type);
    }
  }
  if (out_.qp != nullptr) {
    for (int mb = first; mb < end; ++mb) {
      const Macroblock& m = macroblocks_[mb];
      const bool none = m.mb_type == MbType::kIPcm || m.mb_type == MbType::kLost;
      out_.qp[mb] = none ? kQpNone : int16_t{m.QPY};
    }
  }
}

void PlaneSink::still(int first_mb, int count) {
  const int end = first_mb + count;
  for (int mb = first_mb; mb < end;) {
    const int x0 = mb % width_mbs_;
    const int x1 = std::min(width_mbs_, x0 + end - mb);
    row(mb / width_mbs_, x0, x1, MotionRows{});
    mb += x1 - x0;
  }
}

// Vectors and references are 0 already.
void PlaneSink::lost(int mb) {
  if (out_.mb_type != nullptr) out_.mb_type[mb] = static_cast<uint8_t>(MbType::kLost);
  if (out_.qp != nullptr) out_.qp[mb] = kQpNone;
  if (out_.bits != nullptr) out_.bits[mb] = 0;
  if (out_.motion.first != nullptr) out_.motion.lose(static_cast<size_t>(mb));
  const ptrdiff_t w = width_mbs_ * 16;
  const ptrdiff_t x = mb % width_mbs_;
  const ptrdiff_t y = mb / width_mbs_;
  if (out_.residual_y != nullptr) {
    for (int r = 0; r < 16; ++r) {
      std::fill_n(out_.residual_y + (y * 16 + r) * w + x * 16, 16, int16_t{0});
    }
  }
  if (out_.residual_uv != nullptr) {
    const ptrdiff_t v_plane = w / 2 * height_mbs_ * 8;
    for (int r = 0; r < 8; ++r) {
      int16_t* u = out_.residual_uv + (y * 8 + r) * (w / 2) + x * 8;
      std::fill_n(u, 8, int16_t{0});
      std::fill_n(u + v_plane, 8, int16_t{0});
    }
  }
}

}  // namespace cvdecode::h264
