// Context variables of 9.3.1.1, laid out so that one block category lies in one cache line.
#pragma once

#include <array>
#include <cstdint>

#include "bitstream/cabac_engine.h"

namespace cvdecode::h264 {

#include "h264/cabac_tables.inc"

// All contexts of one ctxBlockCat that frame coding uses.
struct alignas(64) ResidualContexts {
  std::array<uint8_t, 16> significant_coeff_flag;
  std::array<uint8_t, 16> last_significant_coeff_flag;
  std::array<uint8_t, 16> coeff_abs_level_minus1;
  std::array<uint8_t, 16> coded_block_flag;  // four, none for ctxBlockCat 5
};
static_assert(sizeof(ResidualContexts) == 64);

// First ctxIdx of each syntax element outside residual_block_cabac() (Table 9-34).
enum CtxIdxOffset : int {
  kCtxMbTypeI = 3,
  kCtxMbSkipFlagP = 11,
  kCtxMbSkipFlagB = 24,
  kCtxMbTypeB = 27,
  kCtxMvdX = 40,
  kCtxMvdY = 47,
  kCtxRefIdx = 54,
  kCtxMbQpDelta = 60,
  kCtxIntraChromaPredMode = 64,
  kCtxPrevIntraPredModeFlag = 68,
  kCtxRemIntraPredMode = 69,
  kCtxCodedBlockPatternLuma = 73,
  kCtxCodedBlockPatternChroma = 77,
  kCtxTransformSize8x8Flag = 105,  // 399..401 are kept behind ctxIdx 104
};

struct CabacContexts {
  alignas(64) std::array<uint8_t, 128> syntax;  // by ctxIdx 0..104, then 399..401
  std::array<ResidualContexts, 6> block;        // by ctxBlockCat

  // column: 0 for I slices, else 1 + cabac_init_idc. qp: Clip3(0, 51, SliceQPY).
  void init(int column, int qp);
};

}  // namespace cvdecode::h264
