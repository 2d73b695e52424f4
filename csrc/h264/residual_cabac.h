// residual_block_cabac() (7.3.5.3.3, 9.3.3.1.3) behind coded_block_flag.
#pragma once

#include <array>
#include <cstdint>

#include "bitstream/cabac_engine.h"
#include "h264/cabac_contexts.h"
#include "h264/slice_data_coverage.h"
#include "h264/slice_data_damage.h"

namespace cvdecode::h264 {

// ctxBlockCat of Table 9-42.
enum CtxBlockCat : int {
  kCatIntra16x16Dc = 0,
  kCatIntra16x16Ac = 1,
  kCatLuma4x4 = 2,
  kCatChromaDc = 3,
  kCatChromaAc = 4,
  kCatLuma8x8 = 5,
};
inline constexpr std::array<int, 6> kMaxNumCoeff = {16, 15, 16, 4, 15, 64};

// coeff_abs_level_minus1 from its 15th bin on: the Exp-Golomb suffix of UEG0.
[[gnu::noinline]] inline int cabac_level_suffix(CabacEngine& engine) {
  int value = 0;
  int k = 0;
  while (engine.bypass() != 0) {
    value += 1 << k;
    if (++k > 16) damage("coeff_abs_level_minus1");
  }
  while (k-- > 0) value += engine.bypass() << k;
  return value;
}

// Gives (idx, level) pairs to the sink, highest idx first, idx counting from 0 in each block.
template <int kCat, class Cover, class Sink>
[[gnu::always_inline]] inline int residual_block_cabac(CabacEngine& engine,
                                                       ResidualContexts& contexts, Sink&& sink) {
  constexpr int kLast = kMaxNumCoeff[kCat] - 1;
  std::array<uint8_t, kLast + 1> significant;  // idx of the coefficients found
  int count = 0;
  int i = 0;
  for (; i < kLast; ++i) {
    const auto at = static_cast<size_t>(i);
    const size_t sig_inc = kCat == kCatLuma8x8 ? kSignificant8x8CtxIdxInc[at] : at;
    if (engine.decision(contexts.significant_coeff_flag[sig_inc]) != 0) {
      significant[static_cast<size_t>(count++)] = static_cast<uint8_t>(i);
      const size_t last_inc = kCat == kCatLuma8x8 ? kLast8x8CtxIdxInc[at] : at;
      if (engine.decision(contexts.last_significant_coeff_flag[last_inc]) != 0) break;
    }
  }
  if (i == kLast) {
    significant[static_cast<size_t>(count++)] = kLast;
    Cover::hit(true, Branch::kLastInferred, kCat);
  }

  constexpr int kMaxGreater = kCat == kCatChromaDc ? 3 : 4;
  int ones = 1;     // 1 + numDecodAbsLevelEq1, at most 4
  int greater = 0;  // numDecodAbsLevelGt1
  for (int n = count - 1; n >= 0; --n) {
    const int first = greater != 0 ? 0 : ones;
    int magnitude = 1;
    Cover::hit(true, Branch::kAbsLevelCtx, first);
    if (engine.decision(contexts.coeff_abs_level_minus1[static_cast<size_t>(first)]) == 0) {
      if (ones < 4) ++ones;
    } else {
      const int inc = 5 + (greater < kMaxGreater ? greater : kMaxGreater);
      uint8_t& context = contexts.coeff_abs_level_minus1[static_cast<size_t>(inc)];
      Cover::hit(true, Branch::kAbsLevelCtx, inc);
      magnitude = 2;
      while (magnitude < 15 && engine.decision(context) != 0) ++magnitude;
      if (magnitude == 15) [[unlikely]] {
        CabacEngine copy = engine;
        magnitude += cabac_level_suffix(copy);
        engine = copy;
        if (magnitude > 32768) damage("coeff_abs_level_minus1");
        Cover::hit(true, Branch::kLevelEscape, kCat);
      }
      ++greater;
    }
    const int sign = -engine.bypass();
    sink(significant[static_cast<size_t>(n)], (magnitude ^ sign) - sign);
  }
  return count;
}

}  // namespace cvdecode::h264
