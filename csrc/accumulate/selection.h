// From the planes of a picture to the one predictor per 4x4 block that the trace follows.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "accumulate/fate.h"
#include "accumulate/motion.h"
#include "accumulate/scratch.h"
#include "kernels/trace.h"

namespace cvdecode {

struct SelectedSource {
  int32_t picture = 0;  // decode number
  Verdict verdict;      // kTrace or kEnd
};

struct SelectedMotion {
  BlockArray blocks;  // (h4, w4); source indexes `sources`
  // The other predictor of bi-predicted blocks, only when asked for; source = kSourceStop: none.
  std::vector<kernels::BlockMotion> others;
  std::vector<SelectedSource> sources;
  bool untrusted = false;  // some block uses a reference that the backend does not know
  int32_t longest = 0;     // largest component of a vector, absolute
  bool broken = false;     // some block does not lead anywhere: kSourceBroken or kSourceCut
};

// `both` fills `others`, and a bi-predicted block with one broken reference is broken.
SelectedMotion select_motion(const MotionView& view, const MotionProvider& provider, int32_t t,
                             const Geometry& geometry, const AccumulateOptions& options,
                             Fates& fates, bool both, const std::shared_ptr<Scratch>& scratch);

}  // namespace cvdecode
