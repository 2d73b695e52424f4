// What a macroblock leaves for the one to its right and the one below (6.4): records of its edges.
// Records of macroblocks that are not available (outside the picture or the slice, 6.4.8) stand in
// their places with the values that make every derivation come out right, so nothing asks for
// availability while parsing.
#pragma once

#include <array>
#include <cstdint>
#include <cstring>

#include "h264/cavlc_lookup.h"

namespace cvdecode::h264 {

// Blocks of a macroblock and its edges in one grid of eight columns:
//   columns 0..4, rows 0..4: luma, with the left neighbour in column 0 and the upper in row 0;
//   columns 5..7, rows 0..2: Cb likewise; columns 5..7, rows 3..5: Cr.
inline constexpr int kGridStride = 8;
inline constexpr int kGridSize = 48;
constexpr int luma_place(int x, int y) { return (y + 1) * kGridStride + x + 1; }
constexpr int chroma_place(int plane, int x, int y) {
  return (y + 1 + 3 * plane) * kGridStride + x + 6;
}
inline constexpr auto kLumaPlace = [] {  // by luma4x4BlkIdx (6.4.3)
  std::array<uint8_t, 16> place{};
  for (int b = 0; b < 16; ++b) {
    const int x = (b & 1) + (b >> 1 & 2);
    const int y = (b >> 1 & 1) + (b >> 2 & 2);
    place[static_cast<size_t>(b)] = static_cast<uint8_t>(luma_place(x, y));
  }
  return place;
}();

// --- CAVLC: total_coeff of the blocks at an edge ---
struct CoeffCountEdge {
  std::array<uint8_t, 4> luma;
  std::array<std::array<uint8_t, 2>, 2> chroma;

  static CoeffCountEdge all(uint8_t count) {
    CoeffCountEdge edge;
    edge.luma.fill(count);
    edge.chroma = {{{count, count}, {count, count}}};
    return edge;
  }
};

// --- CABAC ---
enum MbContextFlag : uint8_t {
  kMbNotSkipped = 1,     // available and not skipped
  kMbTypeCtx = 2,        // condTermFlag of mb_type: I slices not I_NxN; B not skip, not direct
  kMbTransform8x8 = 4,   // transform_size_8x8_flag
  kMbChromaMode = 8,     // intra_chroma_pred_mode != 0
  kMbNotAvailable = 16,  // coded_block_flag depends on the current macroblock then
};

// coded_block_flag of the grid's blocks as a bit board: bit luma_place(), chroma_place().
using BlockBoard = uint64_t;
inline constexpr BlockBoard kBoardTop = 0x1e | UINT64_C(0xc0) | UINT64_C(0xc0) << 24;
inline constexpr BlockBoard kBoardLeft =
    UINT64_C(0x0101010100) | UINT64_C(0x202000) | UINT64_C(0x202000) << 24;
// The last row of blocks, moved to where the macroblock below looks, and the last column.
constexpr BlockBoard board_below(BlockBoard b) {
  return (b >> 32 & 0x1e) | (b >> 16 & (UINT64_C(0xc0) | UINT64_C(0xc0) << 24));
}
constexpr BlockBoard board_right(BlockBoard b) {
  return (b >> 4 & UINT64_C(0x0101010100)) |
         (b >> 2 & (UINT64_C(0x202000) | UINT64_C(0x202000) << 24));
}

// ref_idx > 0 of the four quadrants as a bit board of four columns with the neighbours in row and
// column 0: bit (y + 1) * 4 + x + 1.
using RefBoard = uint16_t;
constexpr int quadrant_place(int quadrant) { return (quadrant / 2 + 1) * 4 + quadrant % 2 + 1; }
constexpr RefBoard ref_below(RefBoard b) { return static_cast<RefBoard>(b >> 8 & 0x006); }
constexpr RefBoard ref_right(RefBoard b) { return static_cast<RefBoard>(b >> 2 & 0x110); }

// Absolute vector differences of one 4x4 block, clipped to 127: x in the low byte, y in the high.
using AbsMvd = uint16_t;
// Those of the four blocks along an edge, the first in the lowest bits.
using AbsMvd4 = uint64_t;
constexpr AbsMvd4 all_four(AbsMvd mvd) { return mvd * UINT64_C(0x0001000100010001); }
constexpr AbsMvd4 two_and_two(AbsMvd a, AbsMvd b) {
  return a * UINT64_C(0x00010001) | b * UINT64_C(0x00010001) << 32;
}
constexpr AbsMvd mvd_of(AbsMvd4 edge, int block) {
  return static_cast<AbsMvd>(edge >> (16 * block));
}

struct CabacEdge {
  BlockBoard blocks;            // where the neighbour looks for them
  std::array<AbsMvd4, 2> mvd;   // [list]
  std::array<RefBoard, 2> ref;  // [list], where the neighbour looks for them
  uint8_t coded_block_pattern;  // 0x2f for I_PCM
  uint8_t dc;                   // coded_block_flag of the DC blocks: Y, Cb, Cr
  uint8_t flags;                // MbContextFlag
};

// 9.3.3.1.1.4: luma bits of an unavailable macroblock count as set, chroma as not.
inline constexpr CabacEdge kCabacEdgeNotAvailable = {.blocks = 0,
                                                     .mvd = {},
                                                     .ref = {},
                                                     .coded_block_pattern = 0x0f,
                                                     .dc = 0,
                                                     .flags = kMbNotAvailable};

// --- intra prediction modes, where somebody wants them ---
// -1: dcPredModePredictedFlag (not available, or inter with constrained_intra_pred_flag);
// 2: not I_4x4 nor I_8x8.
using IntraModeEdge = std::array<int8_t, 4>;

}  // namespace cvdecode::h264
