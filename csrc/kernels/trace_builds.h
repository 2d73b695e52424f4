// The kernels of the target that Highway has chosen just now (hwy::GetChosenTarget): for the tables
// of trace_builds.cc alone.
#pragma once

#include <cstdint>

#include "kernels/trace.h"

namespace cvdecode::kernels {

using TraceKernel = int64_t (*)(const TraceJob& job);
using SelectKernel = int (*)(const SelectJob& job, int32_t& longest);
using EndsKernel = int (*)(const EndRow& row);
using SubtractKernel = void (*)(const uint8_t* from, int count, int16_t* to);

SelectKernel chosen_select();
TraceKernel chosen_pixels();
TraceKernel chosen_chroma();
TraceKernel chosen_blocks();
EndsKernel chosen_run_of_ends();
SubtractKernel chosen_subtract();

}  // namespace cvdecode::kernels
