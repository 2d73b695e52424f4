// The work of an accumulation, written down instead of done: what a device needs to do it. Choosing
// predictors and following references stays on the CPU; of each picture only the compact 4x4 grid
// goes on, and of pixels and residuals what the options ask for.
#pragma once

#include <cstdint>
#include <limits>
#include <span>
#include <utility>
#include <vector>

#include "accumulate/accumulate.h"
#include "accumulate/maps.h"
#include "frame/planes.h"
#include "kernels/trace.h"

namespace cvdecode {

struct WantedFrame;
struct SelectedMotion;

struct PlanSource {
  int32_t step = -1;  // the map that the trace goes through; -1: it ends in `end`
  int32_t end = 0;
  uint8_t mask = kernels::kMaskAnchor;
};

// One map. Steps stand after those that they look at.
struct PlanStep {
  int64_t row = -1;               // of the result, -1 = nobody asked for it
  int32_t here = 0;               // what `end` says of traces that end in this picture
  int32_t level = 0;              // above that of every source
  bool is_end = false;            // every trace ends here: no blocks
  std::vector<uint32_t> vectors;  // x | y << 16 (kernels/cuda/grid.h)
  std::vector<uint8_t> codes;
  std::vector<PlanSource> sources;
  std::vector<int16_t> residual_y, residual_uv;
};

// Pixels of a picture, (3, H, W).
struct PlanPixels {
  int32_t end = 0;  // how a map names it
  std::vector<uint8_t> rgb;
};

struct TracePlan {
  Geometry geometry;
  int grid = 1;
  int64_t frames = 0;
  MapLayout layout;
  std::vector<PlanStep> steps;
  std::vector<std::pair<int64_t, int64_t>> repeats;  // from row, to row
  bool hidden_ends = false;
  // residual="recon_diff": every picture in which a trace may end, ascending, and those asked for.
  std::vector<PlanPixels> pixels;
  std::vector<std::pair<int64_t, int32_t>> wanted;  // row, its place in `pixels`
  AccumulateStats stats;
  int64_t bytes = 0;  // of motion, residuals and pixels, counted before they are there
  int64_t most_bytes = std::numeric_limits<int64_t>::max();

  // Counts what pictures will take. Throws kMemory when that is more than most_bytes.
  void expect(size_t pictures, int64_t bytes_each);
  // Adds a map; gives its number. Throws kUnsupported when it has too many sources.
  int32_t add(const kernels::TraceJob& job, int64_t row, std::vector<PlanSource> sources);
  int32_t add_end(int64_t row, int32_t end);
};

// As accumulate() would do it. Throws what that throws, and kInvalidArgument for what is not done
// on a device: mode="coviar", per_frame, the residual of hops=1. A plan holds all that goes over:
// where that is more than `most_bytes`, throws kMemory before it reads the pictures in question.
TracePlan plan_accumulation(MotionProvider& provider, const AccumulateOptions& options,
                            int64_t most_bytes = std::numeric_limits<int64_t>::max());

// Reads the pixels of `frames` and of every picture in which a trace of the plan may end.
void plan_pixels(MotionProvider& provider, std::span<const WantedFrame> frames, TracePlan& plan);

}  // namespace cvdecode
