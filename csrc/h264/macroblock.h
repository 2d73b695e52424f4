// The record of one macroblock as the entropy decoder leaves it: phase A writes it, phase B
// (vector derivation), the planes and the test reconstructor read it.
#pragma once

#include <array>
#include <cstdint>
#include <vector>

#include "frame/planes.h"

namespace cvdecode::h264 {

// Which lists a partition uses, as in Tables 7-13, 7-14, 7-17 and 7-18.
enum PredFlags : uint8_t { kPredNone = 0, kPredL0 = 1, kPredL1 = 2, kPredBi = 3, kPredDirect = 4 };

inline constexpr int8_t kRefIdxNotUsed = -1;
inline constexpr int8_t kRefIdxDerived = -2;  // skip or direct: phase B fills it

// Shapes of sub-macroblock partitions (Tables 7-17, 7-18).
enum SubShape : uint8_t { kSub8x8 = 0, kSub8x4 = 1, kSub4x8 = 2, kSub4x4 = 3 };

struct Macroblock {
  MbType mb_type = MbType::kLost;
  uint8_t coded_block_pattern = 0;  // 0..47: luma in bits 0..3, chroma in bits 4..5
  bool transform_size_8x8_flag = false;
  int8_t QPY = 0;                 // QP_Y after mb_qp_delta; QP_Y,PRED where none was sent
  uint16_t slice = 0;             // which SliceEntry of the picture this belongs to
  std::array<uint8_t, 4> pred{};  // PredFlags per 8x8 quadrant; kPredDirect = whole quadrant direct
  std::array<uint8_t, 4> sub_shape{};  // SubShape per quadrant; only for kInter8x8 and not direct
  std::array<std::array<int8_t, 4>, 2>
      ref_idx{};           // [list][quadrant], raw as parsed, or the two values above
  uint32_t first_mvd = 0;  // where its vectors' differences start in SliceSyntax::mvd
};

struct Mvd {
  int16_t x = 0, y = 0;
};

// What phase A gives for one slice. Differences are stored in syntax order: for each list, for each
// partition (and sub-macroblock partition) that uses the list and is neither skip nor direct
// (7.3.5.1, 7.3.5.2): first all of list 0 of the macroblock, then all of list 1.
struct SliceSyntax {
  std::vector<Mvd> mvd;
  int first_mb = 0;
  int mb_count = 0;         // macroblocks decoded, skipped ones included
  int residual_lost = 0;    // macroblocks whose coefficients are out of range: residual 0
  bool damaged = false;     // stopped before its end; the macroblocks of the slice are lost
  bool ran_on = false;      // damaged because it went on where another begins
  const char* damage = "";  // which syntax element failed
};

}  // namespace cvdecode::h264
