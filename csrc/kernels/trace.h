// One hop of the back-trace (docs/accumulation.md): from the maps of the references to the map of
// one picture. Raw pointers only; every build (scalar, SIMD, CUDA) fills the same table.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "base/motion_shape.h"
#include "kernels/trace_pixel.h"

namespace cvdecode::kernels {

// What Map::mask holds. The numbers are public.
enum Mask : uint8_t {
  kMaskAnchor = 0,      // the trace ended at an anchor
  kMaskIntraBlock = 1,  // ... in an intra block of a P or B picture
  kMaskBroken = 2,      // ... where nothing is known: a lost or missing picture
  kMaskCut = 3,         // ... where cross="mask" cut it
  kMaskPassed = 4,      // ... at the first picture at or before the wanted anchor's time
};

// Where the trace of a block goes. Values >= 0 index TraceJob::sources.
inline constexpr int32_t kSourceStop = -1;    // it ends here: intra block
inline constexpr int32_t kSourceBroken = -2;  // it ends in nothing: mask 2
inline constexpr int32_t kSourceCut = -3;     // it is cut: mask 3

// The mask of blocks whose trace does not leave the picture.
CVDECODE_HD inline uint8_t mask_of_source(int32_t source) {
  return source == kSourceStop ? kMaskIntraBlock : (source == kSourceCut ? kMaskCut : kMaskBroken);
}

// The one predictor of a 4x4 luma block that the selector took.
struct BlockMotion {
  int16_t x = 0;  // quarter luma samples, source = here + (x, y) / 4
  int16_t y = 0;
  int32_t source = kSourceStop;
};

// What all samples of a macroblock of a map have in common; kMany where they differ, or where it is
// not known. What is known need not be read sample by sample.
inline constexpr uint64_t kMany = ~uint64_t{0};
struct Shared {
  uint64_t end = kMany;   // in what their traces ended: shared_end()
  uint64_t move = kMany;  // their displacement: shared_move()
};
CVDECODE_HD inline uint64_t shared_end(int32_t end, uint8_t mask) {
  return static_cast<uint32_t>(end) | static_cast<uint64_t>(mask) << 32;
}
CVDECODE_HD inline uint64_t shared_move(int x, int y) {
  return static_cast<uint16_t>(x) | static_cast<uint64_t>(static_cast<uint16_t>(y)) << 16;
}

// The planes of one map, each width x height of its grid without padding; null = not carried.
// Chroma planes are (width / 2) x (height / 2).
struct Map {
  int16_t* x = nullptr;  // displacement, here minus source, quarter luma samples
  int16_t* y = nullptr;  //
  // Without `end` there is no mask, at_x, at_y, hops, mask_uv and shared either, and nothing is
  // void: neither in the map nor in those that it is made of.
  int32_t* end = nullptr;    // the picture in which the trace ended
  uint8_t* mask = nullptr;   // Mask
  int16_t* at_x = nullptr;   // the sample of that picture: pi applied hop by hop
  int16_t* at_y = nullptr;   //
  uint16_t* hops = nullptr;  // steps taken, saturating
  int16_t* residual_y = nullptr;
  int16_t* residual_u = nullptr;
  int16_t* residual_v = nullptr;
  uint8_t* mask_uv = nullptr;  // Mask on the chroma grid, whose traces differ from luma's
  Shared* shared = nullptr;    // of the luma grid, one per macroblock
  // grid=4: x, y, mask and end of a cell in one word (PackedCell), which is what `blocks` traces
  // through; the planes x, y, end, mask may then be null. Of a map that is written it may be null
  // where the planes are not: then no later picture can look at the map.
  uint64_t* packed = nullptr;
};

// A cell of grid=4 as four 16-bit lanes: x, y, mask | low bits of end, the rest of end.
struct PackedCell {
  static constexpr int32_t kMostEnd = (1 << 23) - 1;  // and no smaller than its negative
};

// A reference: a map computed before, or a picture in which every trace ends.
struct Source {
  Map map;              // valid where is_end is false
  bool is_end = false;  // displacement, residual, hops 0; position = the sample asked for
  int32_t end = 0;      // where is_end
  uint8_t mask = kMaskAnchor;
  // What is known of the map beforehand; a build may leave out what cannot happen.
  bool may_void = true;     // some cell may be broken or cut
  int32_t reach = 1 << 16;  // no displacement is larger than this
};

// A picture, or some rows of it.
struct TraceJob {
  int width = 0;   // coded luma samples, multiple of 16
  int height = 0;  // coded luma samples, multiple of 16
  // Rows of 4x4 blocks [top, bottom) are traced, multiples of 4; bottom 0 = to the last.
  int top = 0;
  int bottom = 0;
  const BlockMotion* blocks = nullptr;  // (bottom - top) x (width / 4)
  const uint8_t* shapes = nullptr;      // MotionShape of each macroblock of these rows, or null
  int32_t longest = 1 << 16;            // no component of a vector is larger
  // Not 0: the macroblock is wanted; of others anything may be written. Of the whole picture; null:
  // all are. Only maps without `end` look at it.
  const uint8_t* wanted = nullptr;
  const Source* sources = nullptr;
  int source_count = 0;
  int32_t here = 0;  // what `end` says of traces that end in this picture
  // What was added to the prediction in this picture, coded size; null = not carried.
  const int16_t* residual_y = nullptr;
  const int16_t* residual_u = nullptr;
  const int16_t* residual_v = nullptr;
  Map out;

  int end_row() const { return bottom > 0 ? bottom : height / 4; }
};

// Blocks of a row that may share one selected predictor.
struct SelectJob {
  const int16_t* x = nullptr;     // vectors of the list that is selected; null: (0, 0)
  const int16_t* y = nullptr;     //
  const int32_t* ref0 = nullptr;  // references of both lists, as the planes hold them
  const int32_t* ref1 = nullptr;
  int count = 0;                 // blocks to the end of the row, at least 1
  int32_t source = kSourceStop;  // what the references of the first block come to
  BlockMotion* out = nullptr;
};

// Cells of a row of a map, to the end of the row.
struct EndRow {
  const int16_t* at_x = nullptr;
  const int16_t* at_y = nullptr;
  const int32_t* end = nullptr;
  const uint8_t* mask = nullptr;
  int count = 0;  // at least 1
};

// pixels, chroma and blocks return how many sums were clipped.
struct TraceKernels {
  // Writes the motion of the first block and of those after it whose references are the same;
  // returns how many these are. More of the row may be written, and is written again.
  // `longest` grows to the largest component of a vector met (absolute), or somewhat more.
  int (*select)(const SelectJob& job, int32_t& longest);
  int64_t (*pixels)(const TraceJob& job);  // luma grid: x, y, end, mask, at_*, hops, residual_y
  int64_t (*chroma)(const TraceJob& job);  // chroma grid: residual_u, residual_v, mask_uv
  // grid=4: a map has one cell per 4x4 block; packed, hops, and the planes where they are not null.
  int64_t (*blocks)(const TraceJob& job);
  // How many cells, from the first on, ended side by side in one picture, each one sample to the
  // right of the one before; or are void, like the first.
  int (*run_of_ends)(const EndRow& row);
  // to[i] -= from[i]
  void (*subtract)(const uint8_t* from, int count, int16_t* to);
  std::string name;
};

// The slow, plain definition.
const TraceKernels& trace_scalar();
// The fastest that this CPU runs.
const TraceKernels& trace_best();
// Every SIMD build that this CPU runs, for tests. Not to be called while others trace.
const std::vector<TraceKernels>& trace_targets();

// Writes the map of a picture in which every trace ends.
void fill_end(const Map& map, int width, int height, int32_t end, uint8_t mask);

}  // namespace cvdecode::kernels
