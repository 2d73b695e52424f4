// Look-up tables for the variable-length codes of 14496-2 that a macroblock is made of.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

namespace cvdecode::mpeg {

// One entry for each value of the next kBits bits.
struct Code {
  uint8_t length = 0;  // in bits; 0 where no code begins like this
  int8_t value = -1;
};

// A TCOEF event. `level` 0: the escape code, or (length 0) no code at all.
struct CoefficientCode {
  uint8_t length = 0;
  uint8_t last = 0;
  uint8_t run = 0;
  uint8_t level = 0;
};

inline constexpr int kLongestCode = 12;  // of every table; TCOEF without its sign

template <typename T>
using CodeTable = std::array<T, size_t{1} << kLongestCode>;

struct VopCodes {
  CodeTable<CoefficientCode> inter, intra;
  CodeTable<Code> mcbpc_i, mcbpc_p, cbpy, mvd, dc_luminance, dc_chrominance;
  // The largest run of an event with this last and level, for the second kind of escape.
  std::array<std::array<uint8_t, 32>, 2> inter_max_run, intra_max_run;
};

const VopCodes& vop_codes();

}  // namespace cvdecode::mpeg
