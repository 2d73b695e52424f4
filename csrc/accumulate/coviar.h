// mode="coviar": the map that pytorch-coviar's loader makes, integer for integer.
#pragma once

#include <span>

#include "accumulate/accumulate.h"
#include "accumulate/group.h"
#include "accumulate/maps.h"

namespace cvdecode {

// Throws kInvalidArgument where the stream has a B picture: the original's map has none.
void refuse_b_pictures(const MotionProvider& provider);

// Fills displacement (whole samples), anchor, mask and, where they are carried, positions and hops
// of the rows of `frames` (unique, ascending). Refuses B pictures.
void trace_coviar(MotionProvider& provider, const AccumulateOptions& options, int32_t segment,
                  std::span<const WantedFrame> frames, AccumulateResult& result,
                  const ResultRows& rows);

}  // namespace cvdecode
