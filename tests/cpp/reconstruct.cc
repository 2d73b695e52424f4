#include "reconstruct.h"

#include "intra_pred.h"

namespace oracle {
namespace {

enum MbType { kI4x4 = 0, kI8x8 = 1, kI16x16 = 2, kIPcm = 3, kLost = 255 };

class MacroblockReconstructor {
 public:
  MacroblockReconstructor(const Picture& pic, std::array<uint8_t*, 3> out, int mb)
      : pic_(pic), out_(out), mb_(mb), mbx_(mb % pic.mb_width), mby_(mb / pic.mb_width) {}

  Verdict run() {
    const int type = pic_.mb_type[mb_];
    const int slice = pic_.slice[mb_];
    if (type == kLost || slice < 0 || slice >= static_cast<int>(pic_.slices.size())) {
      return kNotChecked;
    }
    slice_ = &pic_.slices[static_cast<size_t>(slice)];
    if (type == kIPcm) return pcm();
    if (type <= kI16x16) return intra(type);
    return inter();
  }

 private:
  int w4() const { return pic_.mb_width * 4; }

  int residual(int plane, int x, int y) const {
    const int width = pic_.decoded[static_cast<size_t>(plane)].width;
    const int64_t at = static_cast<int64_t>(y) * width + x;
    if (plane == 0) return pic_.residual_y[at];
    const int64_t size = static_cast<int64_t>(width) * pic_.decoded[1].height;
    return pic_.residual_uv[(plane - 1) * size + at];
  }

  void put(int plane, int x, int y, int n, const int* pred) {
    const auto& shape = pic_.decoded[static_cast<size_t>(plane)];
    for (int i = 0; i < n * n; ++i) {
      const int px = x + i % n;
      const int py = y + i / n;
      out_[static_cast<size_t>(plane)][static_cast<int64_t>(py) * shape.width + px] =
          static_cast<uint8_t>(clip1(pred[i] + residual(plane, px, py)));
    }
  }

  Verdict pcm() {
    int zero[256] = {};
    put(0, mbx_ * 16, mby_ * 16, 16, zero);
    for (int c = 1; c < pic_.planes; ++c) put(c, mbx_ * 8, mby_ * 8, 8, zero);
    return kReconstructed;
  }

  // 6.4.8 and 8.3.1.2: whether the macroblock at (x, y) may lend its samples to an intra block.
  bool usable(int x, int y) const {
    if (x < 0 || y < 0 || x >= pic_.mb_width) return false;
    const int other = y * pic_.mb_width + x;
    if (other > mb_ || pic_.slice[other] != pic_.slice[mb_]) return false;
    const int type = pic_.mb_type[other];
    return type <= kIPcm || !slice_->constrained_intra_pred;
  }

  // Neighbours of the block of n samples at (bx, by) inside a macroblock of `size` samples.
  // earlier: top-right inside this macroblock was decoded before this block.
  Neighbours neighbours(int plane, int size, int bx, int by, int n, bool earlier) const {
    const Samples& s = pic_.decoded[static_cast<size_t>(plane)];
    const int x0 = mbx_ * size + bx;
    const int y0 = mby_ * size + by;
    Neighbours out;
    out.has_left = bx > 0 || usable(mbx_ - 1, mby_);
    out.has_top = by > 0 || usable(mbx_, mby_ - 1);
    if (bx > 0 && by > 0)
      out.has_corner = true;
    else if (bx > 0)
      out.has_corner = usable(mbx_, mby_ - 1);
    else if (by > 0)
      out.has_corner = usable(mbx_ - 1, mby_);
    else
      out.has_corner = usable(mbx_ - 1, mby_ - 1);
    if (bx + n < size)
      out.has_top_right = by > 0 ? earlier : usable(mbx_, mby_ - 1);
    else
      out.has_top_right = by == 0 && usable(mbx_ + 1, mby_ - 1);
    for (int i = 0; i < n && out.has_top; ++i) out.top[i] = s.at(x0 + i, y0 - 1);
    for (int i = n; i < 2 * n && out.has_top_right; ++i) out.top[i] = s.at(x0 + i, y0 - 1);
    for (int i = 0; i < n && out.has_left; ++i) out.left[i] = s.at(x0 - 1, y0 + i);
    if (out.has_corner) out.corner = s.at(x0 - 1, y0 - 1);
    return out;
  }

  Verdict intra(int type) {
    int pred[256];
    bool legal = true;
    if (type == kI16x16) {
      legal = intra_16x16(pic_.intra_16x16_mode[mb_], neighbours(0, 16, 0, 0, 16, false), pred);
      if (legal) put(0, mbx_ * 16, mby_ * 16, 16, pred);
    } else {
      const int n = type == kI4x4 ? 4 : 8;
      for (int by = 0; by < 16; by += n)
        for (int bx = 0; bx < 16; bx += n) {
          const int mode = pic_.intra_nxn_mode[(mby_ * 4 + by / 4) * w4() + mbx_ * 4 + bx / 4];
          // Inside the macroblock the block to the upper right comes later for the last block of
          // each quad (and for the last 8x8 block): 6.4.3, 6.4.5.
          const bool later = n == 4 ? (bx & 4) && (by & 4) : bx == 8;
          const Neighbours around = neighbours(0, 16, bx, by, n, !later);
          const bool ok = n == 4 ? intra_4x4(mode, around, pred) : intra_8x8(mode, around, pred);
          if (ok) put(0, mbx_ * 16 + bx, mby_ * 16 + by, n, pred);
          legal = legal && ok;
        }
    }
    for (int c = 1; c < pic_.planes; ++c) {
      const bool ok =
          intra_chroma_8x8(pic_.intra_chroma_mode[mb_], neighbours(c, 8, 0, 0, 8, false), pred);
      if (ok) put(c, mbx_ * 8, mby_ * 8, 8, pred);
      legal = legal && ok;
    }
    return legal ? kReconstructed : kIllegalMode;
  }

  Weighting weighting(const std::array<int, 2>& idx, int plane) const {
    Weighting wt;
    if (slice_->weighted == 2 && idx[0] >= 0 && idx[1] >= 0) {
      const auto i0 = static_cast<size_t>(idx[0]);
      const auto i1 = static_cast<size_t>(idx[1]);
      return implicit_weights(pic_.poc, slice_->poc[0][i0], slice_->poc[1][i1],
                              slice_->long_term[0][i0] || slice_->long_term[1][i1]);
    }
    if (slice_->weighted != 1) return wt;
    wt.weighted = true;
    wt.logWD = slice_->log2_denom[plane > 0];
    for (int l = 0; l < 2; ++l) {
      if (idx[static_cast<size_t>(l)] < 0) continue;
      const auto at = static_cast<size_t>(((l * 32 + idx[static_cast<size_t>(l)]) * 3 + plane) * 2);
      wt.w[l] = slice_->weights[at];
      wt.o[l] = slice_->weights[at + 1];
    }
    return wt;
  }

  Verdict inter() {
    const int64_t cells = static_cast<int64_t>(w4()) * pic_.mb_height * 4;
    const int w8 = pic_.mb_width * 2;
    const int64_t quads = static_cast<int64_t>(w8) * pic_.mb_height * 2;
    for (int b = 0; b < 16; ++b) {
      const int x4 = mbx_ * 4 + b % 4;
      const int y4 = mby_ * 4 + b / 4;
      std::array<int, 2> idx;
      int pred[2][3][16];
      for (int l = 0; l < 2; ++l) {
        const auto list = static_cast<size_t>(l);
        idx[list] = pic_.ref_idx[l * quads + (y4 / 2) * w8 + x4 / 2];
        if (idx[list] < 0) continue;
        if (idx[list] >= static_cast<int>(slice_->list[list].size())) return kNoReference;
        const int ref = slice_->list[list][static_cast<size_t>(idx[list])];
        if (ref < 0) return kNoReference;
        const auto& planes = pic_.refs[static_cast<size_t>(ref)];
        const int mvx = pic_.mv[(l * 2 + 0) * cells + y4 * w4() + x4];
        const int mvy = pic_.mv[(l * 2 + 1) * cells + y4 * w4() + x4];
        luma_4x4(planes[0], x4 * 4, y4 * 4, mvx, mvy, pred[l][0]);
        for (int c = 1; c < pic_.planes; ++c) {
          chroma_2x2(planes[static_cast<size_t>(c)], x4 * 2, y4 * 2, mvx, mvy, pred[l][c]);
        }
      }
      if (idx[0] < 0 && idx[1] < 0) return kNoReference;
      for (int c = 0; c < pic_.planes; ++c) {
        int out[16];
        weigh(idx[0] >= 0 ? pred[0][c] : nullptr, idx[1] >= 0 ? pred[1][c] : nullptr,
              weighting(idx, c), c == 0 ? 16 : 4, out);
        if (c == 0)
          put(0, x4 * 4, y4 * 4, 4, out);
        else
          put(c, x4 * 2, y4 * 2, 2, out);
      }
    }
    return kReconstructed;
  }

  const Picture& pic_;
  std::array<uint8_t*, 3> out_;
  int mb_;
  int mbx_;
  int mby_;
  const SliceData* slice_ = nullptr;
};

}  // namespace

void reconstruct(const Picture& picture, std::array<uint8_t*, 3> out, uint8_t* verdict) {
  const int count = picture.mb_width * picture.mb_height;
  for (int mb = 0; mb < count; ++mb) {
    verdict[mb] = MacroblockReconstructor(picture, out, mb).run();
  }
}

}  // namespace oracle
