// What vector derivation leaves of one picture: kept while a later B picture may look at it as its
// co-located picture, and the source of the mv and ref planes.
#pragma once

#include <array>
#include <cstdint>
#include <vector>

#include "h264/native_index.h"

namespace cvdecode::h264 {

struct alignas(4) Mv {  // quarter luma samples; arithmetic wraps to 16 bits
  int16_t x = 0, y = 0;
  friend bool operator==(const Mv&, const Mv&) = default;
};

inline constexpr uint16_t kNoSlice = 0xffff;  // the macroblock is lost

// What ref_idx means in one slice: the decode number, kNoPicture or kMissingPicture. References
// that are not sure after damage are kMissingPicture, never a shifted list.
struct SliceReferences {
  std::array<std::array<int32_t, 32>, 2> picture;
};

struct PictureMotion {
  int width_mbs = 0;
  int height_mbs = 0;
  bool has_list1 = false;             // some slice is B; else the arrays of list 1 are empty
  std::array<std::vector<Mv>, 2> mv;  // [list], h4 * w4 raster; 0 where not used
  std::array<std::vector<int8_t>, 2> ref_idx;  // [list], h8 * w8 raster, raw; -1 = not used
  std::vector<uint16_t> slice;                 // per macroblock, or kNoSlice
  std::vector<SliceReferences> slices;         // per slice of the picture

  int w4() const { return width_mbs * 4; }
  int w8() const { return width_mbs * 2; }
  size_t bytes() const;

  // Sizes the arrays for the picture (old memory is reused) and takes its lists. Every macroblock
  // is lost until derive_motion() has been there.
  void reset(const PictureEntry& entry);
  // Lost macroblocks: no vectors, no references, no slice.
  void set_lost(int first_mb, int count);
};

}  // namespace cvdecode::h264
