#include "h264/direct.h"

#include <algorithm>
#include <cstdlib>

namespace cvdecode::h264 {
namespace {

int clip3(int low, int high, int v) { return std::clamp(v, low, high); }

// Differences of hostile picture order counts must not overflow.
int diff_pic_order_cnt(int64_t a, int64_t b) {
  return static_cast<int>(std::clamp<int64_t>(a - b, -128, 127));
}

}  // namespace

void DirectSlice::start(const PictureEntry& entry, const SliceEntry& slice,
                        std::span<const PictureEntry> pictures, const SliceReferences& references,
                        const Colocated& colocated) {
  spatial_ = slice.header.direct_spatial_mv_pred_flag;
  corners_only_ = slice.sets.sps->direct_8x8_inference_flag;
  const auto& list0 = slice.RefPicList[0];
  const auto& list1 = slice.RefPicList[1];
  col_long_term_ = !list1.empty() && list1[0].long_term;
  colocated_ = colocated;
  references_ = references;
  list0_size_ = static_cast<int>(std::min<size_t>(list0.size(), 32));
  maps_.clear();
  map_made_.clear();
  if (spatial_) return;
  if (colocated_.state == Colocated::State::kMotion) {
    maps_.resize(colocated_.motion->slices.size());
    map_made_.assign(colocated_.motion->slices.size(), 0);
  }
  const auto count_of = [&](int32_t picture, int32_t* order) {
    if (picture < 0 || static_cast<size_t>(picture) >= pictures.size()) return false;
    *order = pictures[static_cast<size_t>(picture)].PicOrderCnt();
    return true;
  };
  const int64_t current = static_cast<int64_t>(entry.PicOrderCnt()) + entry.tempPicOrderCnt;
  int32_t order1 = 0;
  const bool have1 = count_of(references.picture[1][0], &order1);
  for (int i = 0; i < list0_size_; ++i) {
    int32_t order0 = 0;
    scaled_[i] = false;
    DistScaleFactor_[i] = 256;
    if (!have1 || !count_of(references.picture[0][i], &order0)) continue;
    const int td = diff_pic_order_cnt(order1, order0);
    if (list0[static_cast<size_t>(i)].long_term || td == 0) continue;
    const int tb = diff_pic_order_cnt(current, order0);
    const int tx = (16384 + std::abs(td / 2)) / td;
    scaled_[i] = true;
    DistScaleFactor_[i] = clip3(-1024, 1023, (tb * tx + 32) >> 6);
  }
}

DirectStatus DirectSlice::colocated_status(int mb_x, int mb_y) const {
  switch (colocated_.state) {
    case Colocated::State::kUnresolved: return DirectStatus::kUnresolved;
    case Colocated::State::kMissing: return DirectStatus::kLost;
    case Colocated::State::kIntra: return DirectStatus::kOk;
    case Colocated::State::kMotion: break;
  }
  const auto mb = static_cast<size_t>(mb_y * colocated_.motion->width_mbs + mb_x);
  return colocated_.motion->slice[mb] == kNoSlice ? DirectStatus::kLost : DirectStatus::kOk;
}

DirectSlice::Block DirectSlice::block(int mb_x, int mb_y, int x, int y) const {
  const PictureMotion& m = *colocated_.motion;
  const auto at8 = static_cast<size_t>((mb_y * 2 + y / 2) * m.w8() + mb_x * 2 + x / 2);
  const auto at4 = static_cast<size_t>((mb_y * 4 + y) * m.w4() + mb_x * 4 + x);
  if (m.ref_idx[0][at8] >= 0) return {m.ref_idx[0][at8], 0, m.mv[0][at4]};
  if (m.has_list1 && m.ref_idx[1][at8] >= 0) return {m.ref_idx[1][at8], 1, m.mv[1][at4]};
  return {-1, 0, Mv{}};
}

DirectStatus DirectSlice::col_zero(int mb_x, int mb_y, uint32_t* mask) const {
  *mask = 0;
  if (const auto status = colocated_status(mb_x, mb_y); status != DirectStatus::kOk) return status;
  if (col_long_term_ || colocated_.state == Colocated::State::kIntra) return DirectStatus::kOk;
  const auto still = [](const Block& b) {
    return b.ref_idx == 0 && b.mv.x >= -1 && b.mv.x <= 1 && b.mv.y >= -1 && b.mv.y <= 1;
  };
  if (corners_only_) {
    if (still(block(mb_x, mb_y, 0, 0))) *mask |= 0x0033;
    if (still(block(mb_x, mb_y, 3, 0))) *mask |= 0x00cc;
    if (still(block(mb_x, mb_y, 0, 3))) *mask |= 0x3300;
    if (still(block(mb_x, mb_y, 3, 3))) *mask |= 0xcc00;
    return DirectStatus::kOk;
  }
  for (int i = 0; i < 16; ++i) {
    if (still(block(mb_x, mb_y, i % 4, i / 4))) *mask |= 1u << i;
  }
  return DirectStatus::kOk;
}

int DirectSlice::map_col_to_list0(int col_slice, int list, int ref_idx) {
  const auto s = static_cast<size_t>(col_slice);
  if (!map_made_[s]) {
    map_made_[s] = 1;
    for (int l = 0; l < 2; ++l) {
      for (int i = 0; i < 32; ++i) {
        const int32_t picture = colocated_.motion->slices[s].picture[l][i];
        int8_t found = -1;  // "the lowest valued reference index refIdxL0 that references it"
        for (int r = 0; picture >= 0 && r < list0_size_ && found < 0; ++r) {
          if (references_.picture[0][r] == picture) found = static_cast<int8_t>(r);
        }
        maps_[s][l][i] = found;
      }
    }
  }
  return maps_[s][list][ref_idx];
}

// False where the picture that the co-located block refers to is not in list 0.
bool DirectSlice::scale(const Block& col, int col_slice, Pair* out) {
  const int refIdxL0 = col.ref_idx < 0 ? 0 : map_col_to_list0(col_slice, col.list, col.ref_idx);
  if (refIdxL0 < 0) return false;
  out->refIdxL0 = refIdxL0;
  out->mvL0 = col.mv;
  out->mvL1 = Mv{};
  if (scaled_[refIdxL0]) {
    const int f = DistScaleFactor_[refIdxL0];
    out->mvL0.x = static_cast<int16_t>((f * col.mv.x + 128) >> 8);
    out->mvL0.y = static_cast<int16_t>((f * col.mv.y + 128) >> 8);
    out->mvL1.x = static_cast<int16_t>(out->mvL0.x - col.mv.x);
    out->mvL1.y = static_cast<int16_t>(out->mvL0.y - col.mv.y);
  }
  return true;
}

DirectStatus DirectSlice::temporal(int mb_x, int mb_y, int quadrants, DirectMotion* out) {
  if (const auto status = colocated_status(mb_x, mb_y); status != DirectStatus::kOk) return status;
  const bool intra = colocated_.state == Colocated::State::kIntra;
  const int col_slice =
      intra ? 0
            : colocated_.motion
                  ->slice[static_cast<size_t>(mb_y * colocated_.motion->width_mbs + mb_x)];
  out->uniform = false;
  Pair pair;
  if (intra || corners_only_) {
    std::array<Block, 4> col;
    if (!intra) {
      for (int q = 0; q < 4; ++q) {
        col[static_cast<size_t>(q)] = block(mb_x, mb_y, q % 2 * 3, q / 2 * 3);
      }
    }
    if (col[0] == col[1] && col[0] == col[2] && col[0] == col[3] && quadrants == 15) {
      if (!scale(col[0], col_slice, &pair)) return DirectStatus::kLost;
      out->uniform = true;
      out->ref_idx[0][0] = static_cast<int8_t>(pair.refIdxL0);
      out->ref_idx[1][0] = 0;
      out->mv[0][0] = pair.mvL0;
      out->mv[1][0] = pair.mvL1;
      return DirectStatus::kOk;
    }
    for (size_t q = 0; q < 4; ++q) {
      if ((quadrants >> q & 1) == 0) continue;
      if (!scale(col[q], col_slice, &pair)) return DirectStatus::kLost;
      out->ref_idx[0][q] = static_cast<int8_t>(pair.refIdxL0);
      out->ref_idx[1][q] = 0;
      const size_t at = q / 2 * 8 + q % 2 * 2;
      for (const size_t i : {at, at + 1, at + 4, at + 5}) {
        out->mv[0][i] = pair.mvL0;
        out->mv[1][i] = pair.mvL1;
      }
    }
    return DirectStatus::kOk;
  }
  for (int i = 0; i < 16; ++i) {
    const int q = i / 8 * 2 + i % 4 / 2;
    if ((quadrants >> q & 1) == 0) continue;
    if (!scale(block(mb_x, mb_y, i % 4, i / 4), col_slice, &pair)) return DirectStatus::kLost;
    out->ref_idx[0][static_cast<size_t>(q)] = static_cast<int8_t>(pair.refIdxL0);
    out->ref_idx[1][static_cast<size_t>(q)] = 0;
    out->mv[0][static_cast<size_t>(i)] = pair.mvL0;
    out->mv[1][static_cast<size_t>(i)] = pair.mvL1;
  }
  return DirectStatus::kOk;
}

}  // namespace cvdecode::h264
