// The kernels of the target that Highway has chosen just now (hwy::GetChosenTarget): for the tables
// of trace_builds.cc alone.
#pragma once

#include <cstdint>

#include "kernels/trace.h"

namespace cvdecode::kernels {

using TraceKernel = int64_t (*)(const TraceJob& job);
using SelectKernel = int (*)(const SelectJob& job, int32_t& longest);

SelectKernel chosen_select();
TraceKernel chosen_pixels();
TraceKernel chosen_chroma();
TraceKernel chosen_blocks();

}  // namespace cvdecode::kernels
