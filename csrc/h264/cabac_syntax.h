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
  // What reads bins. Its owner is the loop over the macroblocks, which keeps it in registers and
  // hands it to every function; put() and take() carry it across calls that are not inlined.
  using Reader = CabacEngine;

  CabacSyntax(CabacScratch& scratch, int width_in_mbs) : scratch_(scratch), c_(scratch.contexts) {
    scratch_.above.assign(static_cast<size_t>(width_in_mbs), kCabacEdgeNotAvailable);
    left_ = kCabacEdgeNotAvailable;
  }

  Reader start_slice(const SliceHeader& header, std::span<const uint8_t> rbsp) {
    rbsp_ = rbsp;
    const int qp = header.SliceQPY < 0 ? 0 : header.SliceQPY > 51 ? 51 : header.SliceQPY;
    c_.init(header.slice_type == kSliceI ? 0 : 1 + header.cabac_init_idc, qp);
    CabacEngine engine;
    engine.start(rbsp, (header.header_bits + 7) >> 3);
    return engine;
  }
  void put(const Reader& engine) { engine_ = engine; }
  Reader take() const { return engine_; }

  void start_row() { left_ = kCabacEdgeNotAvailable; }
  void start_macroblock(int mb_x) {
    above_ = &scratch_.above[static_cast<size_t>(mb_x)];
    flags_ = kMbNotSkipped;
    coded_block_pattern_ = 0;
    dc_ = 0;
    board_ = 0;
  }

  [[gnu::always_inline]] bool mb_skip_flag(Reader& engine, SliceType type) {
    const int inc = (left_.flags & kMbNotSkipped) + (above_->flags & kMbNotSkipped);
    return engine.decision(syntax((type == kSliceB ? kCtxMbSkipFlagB : kCtxMbSkipFlagP) + inc)) !=
           0;
  }
  [[gnu::always_inline]] bool end_of_slice_flag(Reader& engine) { return engine.terminate() != 0; }

  // mb_type in the numbering of the slice type (Tables 7-11, 7-13, 7-14).
  template <SliceType kType>
  [[gnu::always_inline]] int mb_type(Reader& engine) {
    const int inc = (left_.flags >> 1 & 1) + (above_->flags >> 1 & 1);  // kMbTypeCtx
    const auto bin = [ this, &engine ](int ctxIdx) __attribute__((always_inline)) {
      return engine.decision(syntax(ctxIdx));
    };
    if constexpr (kType == kSliceI) {
      return walk(engine, kMbTypeITree, inc);
    } else if constexpr (kType == kSliceP) {  // Table 9-37
      if (bin(14) != 0) return 5 + walk(engine, kMbTypeIInPTree, 0);
      if (bin(15) == 0) return bin(16) == 0 ? 0 : 3;
      return bin(17) == 0 ? 2 : 1;
    } else {
      if (bin(27 + inc) == 0) return 0;
      if (bin(30) == 0) return 1 + bin(32);
      const int b2 = bin(31);
      int bits = bin(32) << 2;
      bits |= bin(32) << 1;
      bits |= bin(32);
      if (b2 == 0) return 3 + bits;
      if (bits == 5) return 23 + walk(engine, kMbTypeIInBTree, 0);
      if (bits >= 6) return bits == 6 ? 11 : 22;
      return 12 + 2 * bits + bin(32);
    }
  }
  // Table 9-38.
  template <SliceType kType>
  [[gnu::always_inline]] int sub_mb_type(Reader& engine) {
    const auto bin = [ this, &engine ](int ctxIdx) __attribute__((always_inline)) {
      return engine.decision(syntax(ctxIdx));
    };
    if constexpr (kType == kSliceP) {
      if (bin(21) != 0) return 0;
      if (bin(22) == 0) return 1;
      return bin(23) != 0 ? 2 : 3;
    } else {
      if (bin(36) == 0) return 0;
      if (bin(37) == 0) return 1 + bin(39);
      int base = 3;
      if (bin(38) != 0) {
        if (bin(39) != 0) return 11 + bin(39);
        base = 7;
      }
      base += bin(39) << 1;
      return base + bin(39);
    }
  }

  [[gnu::always_inline]] bool transform_size_8x8_flag(Reader& engine) {
    const int inc = (left_.flags >> 2 & 1) + (above_->flags >> 2 & 1);
    const bool flag = engine.decision(syntax(kCtxTransformSize8x8Flag + inc)) != 0;
    if (flag) flags_ |= kMbTransform8x8;
    return flag;
  }

  // -1: prev_intra4x4_pred_mode_flag (or 8x8) is 1; else rem_intra4x4_pred_mode.
  [[gnu::always_inline]] int intra_pred_mode(Reader& engine) {
    if (engine.decision(syntax(kCtxPrevIntraPredModeFlag)) != 0) return -1;
    int rem = engine.decision(syntax(kCtxRemIntraPredMode));
    rem += engine.decision(syntax(kCtxRemIntraPredMode)) << 1;
    return rem + (engine.decision(syntax(kCtxRemIntraPredMode)) << 2);
  }
  [[gnu::always_inline]] int intra_chroma_pred_mode(Reader& engine) {
    const int inc = (left_.flags >> 3 & 1) + (above_->flags >> 3 & 1);
    if (engine.decision(syntax(kCtxIntraChromaPredMode + inc)) == 0) return 0;
    flags_ |= kMbChromaMode;
    if (engine.decision(syntax(kCtxIntraChromaPredMode + 3)) == 0) return 1;
    return 2 + engine.decision(syntax(kCtxIntraChromaPredMode + 3));
  }

  // 9.3.3.1.1.4; `intra` matters to CAVLC only.
  [[gnu::always_inline]] int coded_block_pattern(Reader& engine, bool /*intra*/, bool chroma) {
    const int a = left_.coded_block_pattern;
    const int b = above_->coded_block_pattern;
    const auto luma = [ this, &engine ](int not_a, int not_b) __attribute__((always_inline)) {
      return engine.decision(syntax(kCtxCodedBlockPatternLuma + not_a + 2 * not_b));
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
      if (engine.decision(syntax(base + some)) != 0) {
        const int all = (a >> 4 == 2 ? 1 : 0) + (b >> 4 == 2 ? 2 : 0);
        cbp |= 16 << engine.decision(syntax(base + 4 + all));
      }
    }
    return cbp;
  }
  void set_coded_block_pattern(int cbp) { coded_block_pattern_ = static_cast<uint8_t>(cbp); }
  void set_mb_type_ctx() { flags_ |= kMbTypeCtx; }

  // 9.3.2.7: mapped as se(v), then unary.
  [[gnu::always_inline]] int mb_qp_delta(Reader& engine) {
    int inc = last_qp_delta_ ? 1 : 0;
    int mapped = 0;
    while (engine.decision(syntax(kCtxMbQpDelta + inc)) != 0) {
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
    below_ = {};
    right_ = {};
    for (size_t list = 0; list < (kType == kSliceB ? 2 : 1); ++list) {
      ref_[list] = static_cast<RefBoard>(left_.ref[list] | above_->ref[list]);
    }
  }
  // 9.3.3.1.1.6. quadrant: the partition's first; max: num_ref_idx_active_minus1.
  [[gnu::always_inline]] int ref_idx(Reader& engine, int list, int quadrant, int max) {
    const RefBoard board = ref_[static_cast<size_t>(list)];
    const int place = quadrant_place(quadrant);
    int inc = (board >> (place - 1) & 1) + 2 * (board >> (place - 4) & 1);
    Cover::hit(true, Branch::kRefIdxCtx, inc);
    int value = 0;
    while (engine.decision(syntax(kCtxRefIdx + inc)) != 0) {
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
  // 9.3.3.1.1.7: partition `part` of 16x16 (shape 0), 16x8 (1) or 8x16 (2).
  [[gnu::always_inline]] Mvd mvd_part(Reader& engine, int list, int shape, int part) {
    const auto l = static_cast<size_t>(list);
    // The first partition of 16x8 lies above the second, that of 8x16 to its left.
    const int at = part == 0 ? 0 : 2;
    const AbsMvd a = part != 0 && shape == 2 ? mvd_of(below_[l], 0) : mvd_of(left_.mvd[l], at);
    const AbsMvd b = part != 0 && shape == 1 ? mvd_of(right_[l], 0) : mvd_of(above_->mvd[l], at);
    AbsMvd cell;
    const Mvd mvd = read_mvd(engine, list, a, b, cell);
    if (part == 0) {
      below_[l] = shape == 0 ? all_four(cell) : shape == 1 ? 0 : two_and_two(cell, 0);
      right_[l] = shape == 0 ? all_four(cell) : shape == 1 ? two_and_two(cell, 0) : 0;
    } else if (shape == 1) {
      below_[l] = all_four(cell);
      right_[l] |= two_and_two(0, cell);
    } else {
      right_[l] = all_four(cell);
      below_[l] |= two_and_two(0, cell);
    }
    return mvd;
  }

  // Sub-macroblock partitions see each other in a grid like that of the luma blocks.
  template <SliceType kType>
  void start_sub_mb() {
    for (size_t list = 0; list < (kType == kSliceB ? 2 : 1); ++list) {
      std::array<AbsMvd, 40>& grid = mvd_[list];
      std::memset(grid.data(), 0, sizeof(grid));
      for (int i = 0; i < 4; ++i) {
        grid[static_cast<size_t>(1 + i)] = mvd_of(above_->mvd[list], i);
        grid[static_cast<size_t>(8 + 8 * i)] = mvd_of(left_.mvd[list], i);
      }
    }
  }
  // x, y, width, height of the partition in 4x4 blocks.
  [[gnu::always_inline]] Mvd mvd_sub(Reader& engine, int list, int x, int y, int width,
                                     int height) {
    std::array<AbsMvd, 40>& grid = mvd_[static_cast<size_t>(list)];
    const auto place = static_cast<size_t>(luma_place(x, y));
    AbsMvd cell;
    const Mvd mvd = read_mvd(engine, list, grid[place - 1], grid[place - 8], cell);
    for (int row = 0; row < height; ++row) {
      AbsMvd* p = &grid[place] + row * 8;
      for (int column = 0; column < width; ++column) p[column] = cell;
    }
    return mvd;
  }
  template <SliceType kType>
  void finish_sub_mb() {
    for (size_t list = 0; list < (kType == kSliceB ? 2 : 1); ++list) {
      const std::array<AbsMvd, 40>& grid = mvd_[list];
      for (int i = 0; i < 4; ++i) {
        below_[list] |= static_cast<AbsMvd4>(grid[static_cast<size_t>(33 + i)]) << (16 * i);
        right_[list] |= static_cast<AbsMvd4>(grid[static_cast<size_t>(12 + 8 * i)]) << (16 * i);
      }
    }
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
  [[gnu::always_inline]] int dc_block(Reader& engine, int component, Sink&& sink) {
    const int inc = (dc_left_ >> component & 1) + 2 * (dc_above_ >> component & 1);
    if (!coded_block_flag<kCat>(engine, inc)) return 0;
    dc_ = static_cast<uint8_t>(dc_ | 1 << component);
    return residual_block_cabac<kCat, Cover>(engine, c_.block[kCat], sink);
  }
  template <int kCat, class Sink>
  [[gnu::always_inline]] int block(Reader& engine, int place, Sink&& sink) {
    const int inc = static_cast<int>((board_ >> (place - 1) & 1) + 2 * (board_ >> (place - 8) & 1));
    if (!coded_block_flag<kCat>(engine, inc)) return 0;
    board_ |= BlockBoard{1} << place;
    return residual_block_cabac<kCat, Cover>(engine, c_.block[kCat], sink);
  }
  // 8x8 luma: coded_block_flag is not sent (7.3.5.3.3) and counts as 1.
  template <class Sink>
  [[gnu::always_inline]] int block8x8(Reader& engine, int place, Sink&& sink) {
    board_ |= BlockBoard{0x303} << place;
    return residual_block_cabac<kCatLuma8x8, Cover>(engine, c_.block[kCatLuma8x8], sink);
  }

  // I_PCM: where the samples begin (9.3.1.2), after the terminate bin of mb_type.
  int64_t pcm_start(const Reader& engine) const { return engine.position(); }
  void pcm_end(Reader& engine, int64_t byte) {
    engine.start(rbsp_, byte);
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
    above.mvd = below_;
    left_.mvd = right_;
    for (size_t list = 0; list < kLists; ++list) {
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
  [[gnu::always_inline]] int walk(Reader& engine, const BinNode (&tree)[kNodes], int first_inc) {
    int inc = first_inc;
    int node = 0;
    do {
      const BinNode& n = tree[node];
      const int bin =
          n.ctxIdx == 255 ? engine.terminate() : engine.decision(syntax(n.ctxIdx + inc));
      inc = 0;
      node = n.next[bin];
    } while (node >= 0);
    return -1 - node;
  }

  // a, b: what the neighbours A and B have; cell: what this partition leaves.
  [[gnu::always_inline]] Mvd read_mvd(Reader& engine, int list, AbsMvd a, AbsMvd b, AbsMvd& cell) {
    const int sum = a + b;  // two bytes of at most 254
    const char* name = list == 0 ? "mvd_l0" : "mvd_l1";
    const int dx = mvd_component<0>(engine, sum & 0xff, name);
    const int dy = mvd_component<1>(engine, sum >> 8, name);
    const int ax = dx < 0 ? -dx : dx;
    const int ay = dy < 0 ? -dy : dy;
    cell = static_cast<AbsMvd>((ax > 127 ? 127 : ax) | (ay > 127 ? 127 : ay) << 8);
    return {static_cast<int16_t>(dx), static_cast<int16_t>(dy)};
  }

  // UEG3 with signedValFlag 1 and uCoff 9 (9.3.2.3).
  template <int kComponent>
  [[gnu::always_inline]] int mvd_component(Reader& engine, int sum, const char* name) {
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
  [[gnu::always_inline]] bool coded_block_flag(Reader& engine, int inc) {
    const bool flag =
        engine.decision(c_.block[kCat].coded_block_flag[static_cast<size_t>(inc)]) != 0;
    Cover::hit(true, flag ? Branch::kCodedBlockFlag1 : Branch::kCodedBlockFlag0, kCat);
    return flag;
  }

  CabacScratch& scratch_;
  CabacContexts& c_;
  CabacEngine engine_;  // between put() and take() only
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
  std::array<AbsMvd4, 2> below_{};  // what the last row and the last column of blocks leave
  std::array<AbsMvd4, 2> right_{};
  std::array<std::array<AbsMvd, 40>, 2> mvd_{};  // grids of sub-macroblocks: 5 rows of 8
};

}  // namespace cvdecode::h264
