// residual_block_cavlc() (7.3.5.3.2, 9.2).
#pragma once

#include <array>
#include <bit>
#include <cstdint>

#include "h264/cavlc_lookup.h"
#include "h264/cavlc_reader.h"
#include "h264/slice_data_coverage.h"
#include "h264/slice_data_damage.h"

namespace cvdecode::h264 {

// One level after the trailing ones (9.2.2.1).
template <class Cover>
[[gnu::always_inline]] inline int cavlc_level(CavlcReader& reader, int& suffixLength, bool first,
                                              bool fewer_than_3_ones) {
  reader.refill();
  const int level_prefix = std::countl_zero(reader.cache());
  // 7.4.5.3.2 ends at 15 for the usual profiles; 25 is more than any level of 16 bits needs.
  if (level_prefix > 25) damage("level_prefix");
  reader.consume(level_prefix + 1);
  int levelCode = (level_prefix < 15 ? level_prefix : 15) << suffixLength;
  int size = suffixLength;
  if (level_prefix >= 14) [[unlikely]] {
    if (level_prefix >= 15) {
      size = level_prefix - 3;
      if (suffixLength == 0) levelCode += 15;
      if (level_prefix >= 16) levelCode += (1 << (level_prefix - 3)) - 4096;
      Cover::hit(false, Branch::kLevelCode, level_prefix == 15 ? 4 : 5);
    } else if (suffixLength == 0) {
      size = 4;
      Cover::hit(false, Branch::kLevelCode, 2);
    } else {
      Cover::hit(false, Branch::kLevelCode, 3);
    }
  } else {
    Cover::hit(false, Branch::kLevelCode, 1);
  }
  if (size > 0) {
    reader.refill();
    levelCode += static_cast<int>(reader.cache() >> (64 - size));
    reader.consume(size);
  }
  if (first && fewer_than_3_ones) levelCode += 2;
  const int magnitude = (levelCode + 2) >> 1;
  const int level = (levelCode & 1) == 0 ? magnitude : -((levelCode + 1) >> 1);
  if (levelCode > 65535) damage("level_suffix");
  Cover::hit(false, Branch::kSuffixLength, suffixLength);
  if (suffixLength == 0) suffixLength = 1;
  const int absolute = level < 0 ? -level : level;
  if (absolute > 3 << (suffixLength - 1) && suffixLength < 6) ++suffixLength;
  return level;
}

// Reads one block of at most kMaxNumCoeff levels and gives (idx, level) pairs to the sink, idx
// counting from 0. Returns total_coeff.
template <int kMaxNumCoeff, class Cover, class Sink>
[[gnu::always_inline]] inline int residual_block_cavlc(CavlcReader& reader, int token_class,
                                                       Sink&& sink) {
  reader.refill();
  const CoeffToken token =
      cavlc::coeff_token(token_class, static_cast<uint32_t>(reader.cache() >> 48));
  if (token.length == 0) damage("coeff_token");
  reader.consume(token.length);
  Cover::hit(false, Branch::kCoeffToken, token_class);
  Cover::hit(false, Branch::kTotalCoeff4x4, token.total_coeff);
  const int total = token.total_coeff;
  if (total == 0) return 0;
  if (total > kMaxNumCoeff) damage("coeff_token");

  std::array<int, 16> level;
  reader.refill();
  for (int i = 0; i < token.trailing_ones; ++i) {
    level[static_cast<size_t>(i)] = 1 - 2 * static_cast<int>(reader.cache() >> 63);
    reader.consume(1);
    Cover::hit(false, Branch::kLevelCode, 0);
  }
  if (total > token.trailing_ones) {
    int suffixLength = total > 10 && token.trailing_ones < 3 ? 1 : 0;
    for (int i = token.trailing_ones; i < total; ++i) {
      level[static_cast<size_t>(i)] = cavlc_level<Cover>(
          reader, suffixLength, i == token.trailing_ones, token.trailing_ones < 3);
    }
  }

  int zerosLeft = 0;
  reader.refill();
  if (total < kMaxNumCoeff) {
    const auto bits = static_cast<uint32_t>(reader.cache() >> 48);
    const Vlc code = kMaxNumCoeff == 4 ? cavlc::total_zeros_chroma_dc(total, bits)
                                       : cavlc::total_zeros(total, bits);
    if (code.length == 0) damage("total_zeros");
    reader.consume(code.length);
    zerosLeft = code.value;
    if (zerosLeft + total > kMaxNumCoeff) damage("total_zeros");
  }
  Cover::hit(false, kMaxNumCoeff == 4 ? Branch::kTotalZerosChromaDc : Branch::kTotalZeros,
             total < kMaxNumCoeff ? total : 0);
  int idx = total + zerosLeft - 1;
  for (int i = 0; i < total; ++i) {
    sink(idx, level[static_cast<size_t>(i)]);
    --idx;
    if (zerosLeft > 0 && i + 1 < total) {
      reader.refill();
      const Vlc code = cavlc::run_before(zerosLeft, static_cast<uint32_t>(reader.cache() >> 48));
      if (code.length == 0 || code.value > zerosLeft) damage("run_before");
      reader.consume(code.length);
      Cover::hit(false, Branch::kRunBefore, zerosLeft > 6 ? 6 : zerosLeft - 1);
      idx -= code.value;
      zerosLeft -= code.value;
    }
  }
  return total;
}

}  // namespace cvdecode::h264
