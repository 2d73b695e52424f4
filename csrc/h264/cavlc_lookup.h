// CAVLC codes (9.2) as small lookup tables, made at compile time from the lists of codewords.
#pragma once

#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>

namespace cvdecode::h264 {

#include "h264/cavlc_tables.inc"

struct CoeffToken {
  uint8_t length = 0;  // 0: no codeword begins like this
  uint8_t total_coeff = 0;
  uint8_t trailing_ones = 0;
};

struct Vlc {
  uint8_t length = 0;  // 0: no codeword begins like this
  uint8_t value = 0;
};

namespace cavlc {

// Every coeff_token codeword outside the fixed-length table is a run of zeros, a one, and at most
// three bits more, so (number of leading zeros, next three bits) finds it in 16 x 8 entries.
using TokenTable = std::array<CoeffToken, 16 * 8>;

template <size_t kCount>
constexpr TokenTable make_token_table(const CoeffTokenCode (&codes)[kCount]) {
  TokenTable table{};
  for (const CoeffTokenCode& c : codes) {
    if (c.code == 0) {  // nothing but zeros: whatever follows
      for (size_t i = c.length * size_t{8}; i < table.size(); ++i) {
        table[i] = {c.length, c.total_coeff, c.trailing_ones};
      }
      continue;
    }
    const int after = std::bit_width(c.code) - 1;  // bits after the first one
    const int zeros = c.length - 1 - after;
    const int rest = (c.code & ((1 << after) - 1)) << (3 - after);
    for (int i = 0; i < 1 << (3 - after); ++i) {
      table[static_cast<size_t>(zeros * 8 + rest + i)] = {c.length, c.total_coeff, c.trailing_ones};
    }
  }
  return table;
}

// nC 0..1, 2..3, 4..7, and chroma DC.
inline constexpr std::array<TokenTable, 4> kTokens = {
    make_token_table(kCoeffToken0Codes), make_token_table(kCoeffToken2Codes),
    make_token_table(kCoeffToken4Codes), make_token_table(kCoeffTokenChromaDcCodes)};

// nC >= 8: six bits, all of one length.
inline constexpr auto kTokens8 = [] {
  std::array<CoeffToken, 64> table{};
  for (const CoeffTokenCode& c : kCoeffToken8Codes) {
    table[c.code] = {c.length, c.total_coeff, c.trailing_ones};
  }
  return table;
}();

enum TokenClass : uint8_t {
  kToken0 = 0,
  kToken2 = 1,
  kToken4 = 2,
  kTokenChromaDc = 3,
  kToken8 = 4
};

// A neighbour that is not available counts as kNoBlock, so the sum of both tells nC (9.2.1) and
// with it the table, without a branch.
inline constexpr uint8_t kNoBlock = 64;
inline constexpr auto kTokenClass = [] {
  std::array<uint8_t, 2 * kNoBlock + 1> table{};
  for (size_t sum = 0; sum < table.size(); ++sum) {
    const size_t nC = sum < kNoBlock ? (sum + 1) / 2 : sum % kNoBlock;
    table[sum] = nC < 2 ? kToken0 : nC < 4 ? kToken2 : nC < 8 ? kToken4 : kToken8;
  }
  return table;
}();

// `bits`: the next 16 bits of the stream.
inline CoeffToken coeff_token(int token_class, uint32_t bits) {
  if (token_class == kToken8) return kTokens8[bits >> 10];
  const int zeros = std::countl_zero(static_cast<uint16_t>(bits | 1));
  const uint32_t rest = (bits << (zeros + 1) & 0xffff) >> 13;
  return kTokens[static_cast<size_t>(token_class)][static_cast<size_t>(zeros) * 8 + rest];
}

template <size_t kBits, size_t kWidth>
constexpr std::array<Vlc, size_t{1} << kBits> make_table(const VlcCode (&codes)[kWidth]) {
  std::array<Vlc, size_t{1} << kBits> table{};
  for (size_t value = 0; value < kWidth; ++value) {
    const VlcCode& c = codes[value];
    if (c.length == 0 || c.length > kBits) continue;
    const size_t first = static_cast<size_t>(c.code) << (kBits - c.length);
    for (size_t i = 0; i < size_t{1} << (kBits - c.length); ++i) {
      table[first + i] = {c.length, static_cast<uint8_t>(value)};
    }
  }
  return table;
}

// total_zeros by tzVlcIndex - 1 and the next nine bits.
inline constexpr auto kTotalZeros1 = make_table<9>(kTotalZerosCodes[0]);
inline constexpr auto kTotalZeros = [] {  // tzVlcIndex 2..15, six bits
  std::array<std::array<Vlc, 64>, 14> tables{};
  for (size_t i = 0; i < tables.size(); ++i) tables[i] = make_table<6>(kTotalZerosCodes[i + 1]);
  return tables;
}();
inline constexpr auto kTotalZerosChromaDc = [] {  // tzVlcIndex 1..3, three bits
  std::array<std::array<Vlc, 8>, 3> tables{};
  for (size_t i = 0; i < tables.size(); ++i) {
    tables[i] = make_table<3>(kTotalZerosChromaDcCodes[i]);
  }
  return tables;
}();
inline constexpr auto kRunBefore = [] {  // zerosLeft 1..6, three bits
  std::array<std::array<Vlc, 8>, 6> tables{};
  for (size_t i = 0; i < tables.size(); ++i) tables[i] = make_table<3>(kRunBeforeCodes[i]);
  return tables;
}();
inline constexpr auto kRunBeforeLong = make_table<11>(kRunBeforeCodes[6]);  // zerosLeft > 6

// bits: the next 16 bits of the stream.
inline Vlc total_zeros(int tzVlcIndex, uint32_t bits) {
  if (tzVlcIndex == 1) return kTotalZeros1[bits >> 7];
  return kTotalZeros[static_cast<size_t>(tzVlcIndex - 2)][bits >> 10];
}
inline Vlc total_zeros_chroma_dc(int tzVlcIndex, uint32_t bits) {
  return kTotalZerosChromaDc[static_cast<size_t>(tzVlcIndex - 1)][bits >> 13];
}
inline Vlc run_before(int zerosLeft, uint32_t bits) {
  if (zerosLeft <= 6) return kRunBefore[static_cast<size_t>(zerosLeft - 1)][bits >> 13];
  return kRunBeforeLong[bits >> 5];
}

}  // namespace cavlc
}  // namespace cvdecode::h264
