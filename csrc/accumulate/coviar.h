// mode="coviar": the map that pytorch-coviar's loader makes, integer for integer.
#pragma once

#include <span>

#include "accumulate/accumulate.h"
#include "accumulate/group.h"
#include "accumulate/maps.h"

namespace cvdecode {

// Fills displacement (whole samples), anchor, mask and, where they are carried, positions and hops
// of the rows of `frames` (unique, ascending). Throws kInvalidArgument on a stream with B pictures.
void trace_coviar(MotionProvider& provider, const AccumulateOptions& options, int32_t segment,
                  std::span<const WantedFrame> frames, AccumulateResult& result,
                  const ResultRows& rows);

}  // namespace cvdecode
