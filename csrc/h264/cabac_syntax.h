// Syntax elements of slice data coded with CABAC (9.3): binarisation and context selection.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <vector>

#include "bitstream/bit_reader.h"
#include "bitstream/cabac_engine.h"
#include "h264/cabac_contexts.h"
#include "h264/macroblock.h"
#include "h264/neighbours.h"
#include "h264/residual_cabac.h"
#include "h264/slice_data_coverage.h"
#include "h264/slice_data_damage.h"
#include "h264/slice_header.h"

namespace cvdecode::h264 {

// Memory that outlives the slice.
struct CabacScratch {
  std::vector<CabacEdge> above;  // by macroblock column
  CabacContexts contexts;
};

template <class Cover>
class CabacSyntax {
 public:
  static constexpr bool kCabac = true;

  CabacSyntax(CabacScratch& scratch, int width_in_mbs) : scratch_(scratch), c_(scratch.contexts) {
    scratch_.above.assign(static_cast<size_t>(width_in_mbs), kCabacEdgeNotAvailable);
    left_ = kCabacEdgeNotAvailable;
  }

  void start_slice(const SliceHeader& header, std::span<const uint8_t> rbsp) {
    rbsp_ = rbsp;
    const int qp = header.SliceQPY < 0 ? 0 : header.SliceQPY > 51 ? 51 : header.SliceQPY;
    c_.init(header.slice_type == kSliceI ? 0 : 1 + header.cabac_init_idc, qp);
    engine_.start(rbsp, (header.header_bits + 7) >> 3);
  }
  int64_t position() const { return engine_.position(); }
  int64_t size_bits() const { return static_cast<int64_t>(rbsp_.size()) * 8; }

  void start_row() { left_ = kCabacEdgeNotAvailable; }
  void start_macroblock(int mb_x) {
    above_ = &scratch_.above[static_cast<size_t>(mb_x)];
    flags_ = kMbNotSkipped;
    coded_block_pattern_ = 0;
    dc_ = 0;
    board_ = 0;
  }

  bool mb_skip_flag(SliceType type) {
    const int inc = (left_.flags & kMbNotSkipped) + (above_->flags & kMbNotSkipped);
    return engine_.decision(syntax((type == kSliceB ? kCtxMbSkipFlagB : kCtxMbSkipFlagP) + inc)) !=
           0;
  }
  bool end_of_slice_flag() { return engine_.terminate() != 0; }

  // mb_type in the numbering of the slice type (Tables 7-11, 7-13, 7-14).
  template <SliceType kType>
  int mb_type() {
    const int inc = (left_.flags >> 1 & 1) + (above_->flags >> 1 & 1);  // kMbTypeCtx
    if constexpr (kType == kSliceI) {
      return walk(kMbTypeITree, inc);
    } else if constexpr (kType == kSliceP) {
      const int value = walk(kMbTypePTree, 0);
      return value == kIntraPrefix ? 5 + walk(kMbTypeIInPTree, 0) : value;
    } else {
      const int value = walk(kMbTypeBTree, inc);
      return value == kIntraPrefix ? 23 + walk(kMbTypeIInBTree, 0) : value;
    }
  }
  template <SliceType kType>
  int sub_mb_type() {
    return kType == kSliceB ? walk(kSubMbTypeBTree, 0) : walk(kSubMbTypePTree, 0);
  }

  bool transform_size_8x8_flag() {
    const int inc = (left_.flags >> 2 & 1) + (above_->flags >> 2 & 1);
    const bool flag = engine_.decision(syntax(kCtxTransformSize8x8Flag + inc)) != 0;
    if (flag) flags_ |= kMbTransform8x8;
    return flag;
  }

  // -1: prev_intra4x4_pred_mode_flag (or 8x8) is 1; else rem_intra4x4_pred_mode.
  int intra_pred_mode() {
    if (engine_.decision(syntax(kCtxPrevIntraPredModeFlag)) != 0) return -1;
    int rem = engine_.decision(syntax(kCtxRemIntraPredMode));
    rem += engine_.decision(syntax(kCtxRemIntraPredMode)) << 1;
    return rem + (engine_.decision(syntax(kCtxRemIntraPredMode)) << 2);
  }
  int intra_chroma_pred_mode() {
    const int inc = (left_.flags >> 3 & 1) + (above_->flags >> 3 & 1);
    if (engine_.decision(syntax(kCtxIntraChromaPredMode + inc)) == 0) return 0;
    flags_ |= kMbChromaMode;
    if (engine_.decision(syntax(kCtxIntraChromaPredMode + 3)) == 0) return 1;
    return 2 + engine_.decision(syntax(kCtxIntraChromaPredMode + 3));
  }

  // 9.3.3.1.1.4; `intra` matters to CAVLC only.
  int coded_block_pattern(bool /*intra*/, bool chroma) {
    const int a = left_.coded_block_pattern;
    const int b = above_->coded_block_pattern;
    const auto luma = [this](int not_a, int not_b) {
      return engine_.decision(syntax(kCtxCodedBlockPatternLuma + not_a + 2 * not_b));
    };
    // Block 0 sees 1 of A and 2 of B; 1 sees 0 and 3 of B; 2 sees 3 of A and 0; 3 sees 2 and 1.
    const int b0 = luma(~a >> 1 & 1, ~b >> 2 & 1);
    const int b1 = luma(b0 ^ 1, ~b >> 3 & 1);
    const int b2 = luma(~a >> 3 & 1, b0 ^ 1);
    const int b3 = luma(b2 ^ 1, b1 ^ 1);
    int cbp = b0 | b1 << 1 | b2 << 2 | b3 << 3;
    if (chroma) {
      const int base = kCtxCodedBlockPatternChroma;
      const int some = (a >> 4 != 0 ? 1 : 0) + (b >> 4 != 0 ? 2 : 0);
      if (engine_.decision(syntax(base + some)) != 0) {
        const int all = (a >> 4 == 2 ? 1 : 0) + (b >> 4 == 2 ? 2 : 0);
        cbp |= 16 << engine_.decision(syntax(base + 4 + all));
      }
    }
    return cbp;
  }
  void set_coded_block_pattern(int cbp) { coded_block_pattern_ = static_cast<uint8_t>(cbp); }
  void set_mb_type_ctx() { flags_ |= kMbTypeCtx; }

  // 9.3.2.7: mapped as se(v), then unary.
  int mb_qp_delta() {
    int inc = last_qp_delta_ ? 1 : 0;
    int mapped = 0;
    while (engine_.decision(syntax(kCtxMbQpDelta + inc)) != 0) {
      inc = mapped == 0 ? 2 : 3;
      if (++mapped > 52) damage("mb_qp_delta");
    }
    last_qp_delta_ = mapped != 0;
    return (mapped & 1) != 0 ? (mapped + 1) >> 1 : -(mapped >> 1);
  }
  void no_qp_delta() { last_qp_delta_ = false; }

  // --- inter prediction ---
  template <SliceType kType>
  void start_inter() {
    constexpr size_t kLists = kType == kSliceB ? 2 : 1;
    for (size_t list = 0; list < kLists; ++list) {
      ref_[list] = static_cast<RefBoard>(left_.ref[list] | above_->ref[list]);
      std::array<AbsMvd, 40>& grid = mvd_[list];
      std::memset(&grid[0], 0, sizeof(grid));
      std::memcpy(&grid[1], above_->mvd[list].data(), sizeof(above_->mvd[list]));
      for (size_t y = 0; y < 4; ++y) grid[8 * (y + 1)] = left_.mvd[list][y];
    }
  }
  // 9.3.3.1.1.6. quadrant: the partition's first; max: num_ref_idx_active_minus1.
  int ref_idx(int list, int quadrant, int max) {
    const RefBoard board = ref_[static_cast<size_t>(list)];
    const int place = quadrant_place(quadrant);
    int inc = (board >> (place - 1) & 1) + 2 * (board >> (place - 4) & 1);
    Cover::hit(true, Branch::kRefIdxCtx, inc);
    int value = 0;
    while (engine_.decision(syntax(kCtxRefIdx + inc)) != 0) {
      inc = value == 0 ? 4 : 5;
      if (++value > max) damage(list == 0 ? "ref_idx_l0" : "ref_idx_l1");
    }
    return value;
  }
  // quadrants: bit q for each quadrant of the partition.
  void set_ref(int list, int quadrants, int ref_idx) {
    if (ref_idx <= 0) return;
    const int bits = (quadrants & 3) << 5 | (quadrants & 12) << 7;
    ref_[static_cast<size_t>(list)] = static_cast<RefBoard>(ref_[static_cast<size_t>(list)] | bits);
  }
  // 9.3.3.1.1.7. x, y, width, height of the partition in 4x4 blocks.
  Mvd mvd(int list, int x, int y, int width, int height) {
    std::array<AbsMvd, 40>& grid = mvd_[static_cast<size_t>(list)];
    const size_t place = static_cast<size_t>(luma_place(x, y));
    const int sum = grid[place - 1] + grid[place - 8];  // two bytes of at most 254
    CabacEngine engine = engine_;
    const char* name = list == 0 ? "mvd_l0" : "mvd_l1";
    const int dx = mvd_component<0>(engine, sum & 0xff, name);
    const int dy = mvd_component<1>(engine, sum >> 8, name);
    engine_ = engine;
    const int ax = dx < 0 ? -dx : dx;
    const int ay = dy < 0 ? -dy : dy;
    const AbsMvd cell = static_cast<AbsMvd>((ax > 127 ? 127 : ax) | (ay > 127 ? 127 : ay) << 8);
    for (int row = 0; row < height; ++row) {
      AbsMvd* p = &grid[place] + row * 8;
      for (int column = 0; column < width; ++column) p[column] = cell;
    }
    return {static_cast<int16_t>(dx), static_cast<int16_t>(dy)};
  }

  // --- residual ---
  void start_residual(bool intra) {
    const BlockBoard unknown = intra ? ~BlockBoard{0} : 0;
    dc_left_ = left_.dc;
    dc_above_ = above_->dc;
    BlockBoard left = left_.blocks;
    BlockBoard above = above_->blocks;
    if ((left_.flags & kMbNotAvailable) != 0) {
      left = unknown & kBoardLeft;
      dc_left_ = static_cast<uint8_t>(unknown);
    }
    if ((above_->flags & kMbNotAvailable) != 0) {
      above = unknown & kBoardTop;
      dc_above_ = static_cast<uint8_t>(unknown);
    }
    board_ = left | above;
  }
  // DC blocks: component 0 luma (Intra16x16), 1 Cb, 2 Cr. Each returns the number of coefficients.
  template <int kCat, class Sink>
  int dc_block(int component, Sink&& sink) {
    const int inc = (dc_left_ >> component & 1) + 2 * (dc_above_ >> component & 1);
    if (!coded_block_flag<kCat>(inc)) return 0;
    dc_ = static_cast<uint8_t>(dc_ | 1 << component);
    return residual_block_cabac<kCat, Cover>(engine_, c_.block[kCat], sink);
  }
  template <int kCat, class Sink>
  int block(int place, Sink&& sink) {
    const int inc = static_cast<int>((board_ >> (place - 1) & 1) + 2 * (board_ >> (place - 8) & 1));
    if (!coded_block_flag<kCat>(inc)) return 0;
    board_ |= BlockBoard{1} << place;
    return residual_block_cabac<kCat, Cover>(engine_, c_.block[kCat], sink);
  }
  // 8x8 luma: coded_block_flag is not sent (7.3.5.3.3) and counts as 1.
  template <class Sink>
  int block8x8(int place, Sink&& sink) {
    board_ |= BlockBoard{0x303} << place;
    return residual_block_cabac<kCatLuma8x8, Cover>(engine_, c_.block[kCatLuma8x8], sink);
  }

  // I_PCM: where the samples begin (9.3.1.2), after the terminate bin of mb_type.
  int64_t pcm_start() const { return engine_.position(); }
  void pcm_end(int64_t byte) {
    engine_.start(rbsp_, byte);
    board_ = ~BlockBoard{0};
    dc_ = 7;
    coded_block_pattern_ = 0x2f;
  }

  // --- leaving the macroblock ---
  void finish_skipped() {
    left_ = kSkippedEdge;
    *above_ = kSkippedEdge;
    last_qp_delta_ = false;
  }
  template <SliceType kType>
  void finish_macroblock(bool has_vectors) {
    CabacEdge& above = *above_;
    above.blocks = board_below(board_);
    left_.blocks = board_right(board_);
    above.coded_block_pattern = left_.coded_block_pattern = coded_block_pattern_;
    above.dc = left_.dc = dc_;
    above.flags = left_.flags = flags_;
    if constexpr (kType == kSliceI) return;
    constexpr size_t kLists = kType == kSliceB ? 2 : 1;
    if (!has_vectors) {
      above.mvd = left_.mvd = {};
      above.ref = left_.ref = {};
      return;
    }
    for (size_t list = 0; list < kLists; ++list) {
      const std::array<AbsMvd, 40>& grid = mvd_[list];
      std::memcpy(above.mvd[list].data(), &grid[33], sizeof(above.mvd[list]));
      for (size_t y = 0; y < 4; ++y) left_.mvd[list][y] = grid[8 * (y + 1) + 4];
      above.ref[list] = ref_below(ref_[list]);
      left_.ref[list] = ref_right(ref_[list]);
    }
  }

 private:
  // A skipped macroblock is available, has no coefficients, no differences and refIdxZeroFlag.
  static constexpr CabacEdge kSkippedEdge = {
      .blocks = 0, .mvd = {}, .ref = {}, .coded_block_pattern = 0, .dc = 0, .flags = 0};

  uint8_t& syntax(int ctxIdx) { return c_.syntax[static_cast<size_t>(ctxIdx)]; }

  template <size_t kNodes>
  int walk(const BinNode (&tree)[kNodes], int first_inc) {
    int inc = first_inc;
    int node = 0;
    do {
      const BinNode& n = tree[node];
      const int bin =
          n.ctxIdx == 255 ? engine_.terminate() : engine_.decision(syntax(n.ctxIdx + inc));
      inc = 0;
      node = n.next[bin];
    } while (node >= 0);
    return -1 - node;
  }

  // UEG3 with signedValFlag 1 and uCoff 9 (9.3.2.3).
  template <int kComponent>
  int mvd_component(CabacEngine& engine, int sum, const char* name) {
    uint8_t* contexts = &c_.syntax[kComponent == 0 ? kCtxMvdX : kCtxMvdY];
    const int first = sum < 3 ? 0 : sum > 32 ? 2 : 1;
    Cover::hit(true, Branch::kMvdCtx, 3 * kComponent + first);
    if (engine.decision(contexts[first]) == 0) {
      Cover::hit(true, Branch::kMvdPrefix, 0);
      return 0;
    }
    int value = 1;
    while (value < 9 && engine.decision(contexts[value < 4 ? value + 2 : 6]) != 0) ++value;
    Cover::hit(true, Branch::kMvdPrefix, value);
    if (value == 9) {
      int k = 3;
      while (engine.bypass() != 0) {
        value += 1 << k;
        if (++k > 15) damage(name);
      }
      Cover::hit(true, Branch::kMvdSuffixBits, k < 8 ? k - 3 : 5);
      while (k-- > 0) value += engine.bypass() << k;
      if (value > 32767) damage(name);
    }
    return engine.bypass() != 0 ? -value : value;
  }

  template <int kCat>
  bool coded_block_flag(int inc) {
    const bool flag =
        engine_.decision(c_.block[kCat].coded_block_flag[static_cast<size_t>(inc)]) != 0;
    Cover::hit(true, flag ? Branch::kCodedBlockFlag1 : Branch::kCodedBlockFlag0, kCat);
    return flag;
  }

  CabacScratch& scratch_;
  CabacContexts& c_;
  CabacEngine engine_;
  std::span<const uint8_t> rbsp_;
  CabacEdge* above_ = nullptr;
  CabacEdge left_;
  bool last_qp_delta_ = false;
  // of the current macroblock
  BlockBoard board_ = 0;
  uint8_t flags_ = 0;
  uint8_t coded_block_pattern_ = 0;
  uint8_t dc_ = 0;
  uint8_t dc_left_ = 0;
  uint8_t dc_above_ = 0;
  std::array<RefBoard, 2> ref_{};
  std::array<std::array<AbsMvd, 40>, 2> mvd_{};  // grids like that of luma: 5 rows of 8
};

}  // namespace cvdecode::h264
