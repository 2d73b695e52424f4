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
  bool kept = false;                  // the arrays are there: some later picture may look at them
  bool has_list1 = false;             // some slice is B; else the arrays of list 1 are empty
  std::array<std::vector<Mv>, 2> mv;  // [list], h4 * w4 raster; 0 where not used
  std::array<std::vector<int8_t>, 2> ref_idx;  // [list], h8 * w8 raster, raw; -1 = not used
  std::vector<uint16_t> slice;                 // per macroblock, or kNoSlice
  std::vector<SliceReferences> slices;         // per slice of the picture

  int w4() const { return width_mbs * 4; }
  int w8() const { return width_mbs * 2; }
  size_t bytes() const;

  // Takes the picture's size and lists and, where it is to be kept, sizes the arrays (old memory is
  // reused). Every macroblock is lost until derive_motion() has been there.
  void reset(const PictureEntry& entry, bool keep);
  // Macroblocks without vectors and references: of an intra slice, or lost (kNoSlice).
  void set_still(int first_mb, int count, uint16_t slice_number);
};

// Vectors and references of one row of macroblocks: 4 rows of vectors, 2 rows of indices, from the
// left edge of the picture; null where the list is not used. Rows lie w4 and w8 apart.
struct MotionRows {
  std::array<const Mv*, 2> mv{};
  std::array<const int8_t*, 2> ref_idx{};
  // Per macroblock from the left edge: not 0 where a direct one certainly has one motion. Null: not
  // known.
  const uint8_t* one_motion = nullptr;
};

// Takes rows of macroblocks as they are derived, while they are hot.
class MotionSink {
 public:
  virtual ~MotionSink() = default;
  // Macroblocks [x0, x1) of row mb_y, all of one slice.
  virtual void row(int mb_y, int x0, int x1, const MotionRows& rows) = 0;
  // This macroblock, of a row that was given, is lost.
  virtual void lost(int mb) = 0;
};

}  // namespace cvdecode::h264
