// Definitions for slice_data_run.h; included by the files that instantiate them.
#pragma once

#include "h264/slice_data.h"
#include "h264/slice_data_run.h"

namespace cvdecode::h264 {

template <SliceType kType, class Syntax, class Scratch, class Cover>
void run_slice(SliceJob& job, Scratch& scratch) {
  Syntax syntax(scratch, job.width);
  if (job.residual != nullptr) {
    SliceData<Syntax, kType, true, Cover>(job, syntax).parse();
  } else if constexpr (!Cover::kCounts) {  // the counted variant always has a residual
    SliceData<Syntax, kType, false, Cover>(job, syntax).parse();
  }
}

template <class Syntax, class Cover, class Scratch>
void run_slice_type(SliceJob& job, Scratch& scratch) {
  switch (job.header->slice_type) {
    case kSliceP: return run_slice<kSliceP, Syntax, Scratch, Cover>(job, scratch);
    case kSliceB: return run_slice<kSliceB, Syntax, Scratch, Cover>(job, scratch);
    default: return run_slice<kSliceI, Syntax, Scratch, Cover>(job, scratch);
  }
}

template <class Cover>
void run_cabac(SliceJob& job, CabacScratch& scratch) {
  run_slice_type<CabacSyntax<Cover>, Cover>(job, scratch);
}
template <class Cover>
void run_cavlc(SliceJob& job, CavlcScratch& scratch) {
  run_slice_type<CavlcSyntax<Cover>, Cover>(job, scratch);
}

}  // namespace cvdecode::h264
