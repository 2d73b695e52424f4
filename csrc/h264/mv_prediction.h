// Motion vectors and reference indices of one slice (8.4.1): the median and directional predictors,
// P_Skip, and direct prediction, from what the entropy decoder left.
#pragma once

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
  std::vector<int8_t> row_refs[2];
  DirectSlice direct;
};

// Fills the macroblocks of the slice in `motion`, which reset() has prepared. Slices of one picture
// may be derived by different threads at once. Adds to *lost the macroblocks that cannot be had
// because their direct prediction, or a neighbour's, looks at something that is lost.
MotionStatus derive_motion(const SliceMotionInput& input, MotionScratch& scratch,
                           PictureMotion& motion, int* lost);

}  // namespace cvdecode::h264
