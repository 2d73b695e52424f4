// Differences of decoded pictures: residual="recon_diff".
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "accumulate/accumulate.h"
#include "accumulate/group.h"
#include "accumulate/maps.h"

namespace cvdecode {

// residual = rgb_t(p) - rgb_end(at(p)) for every row of `frames`; 0 where the mask is 2 or 3.
// Positions outside the display area are moved to its nearest sample: only that part is decoded
// to pixels. `ends` (as end_of gives), `mask`, `positions` are rows of coded size.
void fill_recon_diff(MotionProvider& provider, std::span<const WantedFrame> frames,
                     const AccumulateResult& result, const BufferPtr& positions,
                     const kernels::TraceKernels& kernels, int64_t budget_bytes);

// hops=1: rgb_t(p) minus the motion-compensated reference, through both lists where a block has
// two: (a + b + 1) >> 1. Whole samples: pi rounds each vector.
struct OneStepMotion {
  WantedFrame frame;
  SelectedMotion motion;
};
void fill_one_step_diff(MotionProvider& provider, std::span<const OneStepMotion> frames,
                        const AccumulateResult& result, int64_t budget_bytes);

}  // namespace cvdecode
