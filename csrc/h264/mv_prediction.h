// Motion vectors and reference indices of one slice (8.4.1): the median and directional predictors,
// P_Skip, and direct prediction, from what the entropy decoder left.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <vector>

#include "h264/direct.h"
#include "h264/macroblock.h"
#include "h264/picture_motion.h"

namespace cvdecode::h264 {

struct SliceMotionInput {
  const PictureEntry* entry = nullptr;
  int slice = 0;                            // index into entry->slices
  std::span<const PictureEntry> pictures;   // by decode number
  std::span<const Macroblock> macroblocks;  // of the whole picture
  std::span<const Mvd> mvd;                 // of the slice
  int first_mb = 0;
  int mb_count = 0;
  Colocated colocated;  // of B slices
};

enum class MotionStatus : uint8_t {
  kDone,
  kNeedsColocated,  // a block needs the co-located picture, whose state is kUnresolved: call again
};

// Memory of one thread, reused from slice to slice.
struct MotionScratch {
  std::array<std::vector<int8_t>, 2> above;    // reference indices of the row above
  std::array<std::vector<Mv>, 2> mv_rows;      // two rows of macroblocks, where nothing is kept
  std::array<std::vector<int8_t>, 2> ref_row;  // likewise
  std::vector<int> lost;                       // macroblocks of the row that are lost
  std::vector<uint8_t> one_motion;             // MotionRows::one_motion
  DirectSlice direct;
};

// Derives the macroblocks of a P or B slice, gives them to `sink` (may be null) row by row, and
// fills the arrays of `motion` where it is kept; reset() has prepared it. Slices of one picture may
// be derived by different threads at once. Adds to *lost the macroblocks that cannot be had because
// their direct prediction, or a neighbour's, looks at something that is lost.
MotionStatus derive_motion(const SliceMotionInput& input, MotionScratch& scratch,
                           PictureMotion& motion, MotionSink* sink, int* lost);

}  // namespace cvdecode::h264
