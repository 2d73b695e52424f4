// The instantiations of SliceData, so that each is compiled once.
#pragma once

#include "h264/cabac_syntax.h"
#include "h264/cavlc_syntax.h"
#include "h264/slice_data_coverage.h"
#include "h264/slice_data_job.h"

namespace cvdecode::h264 {

// Decode the slice of the job; throw SliceDamage. Residual is wanted where job.residual is set.
template <class Cover>
void run_cabac(SliceJob& job, CabacScratch& scratch);
template <class Cover>
void run_cavlc(SliceJob& job, CavlcScratch& scratch);

extern template void run_cabac<NoCoverage>(SliceJob&, CabacScratch&);
extern template void run_cavlc<NoCoverage>(SliceJob&, CavlcScratch&);
extern template void run_cabac<CountCoverage>(SliceJob&, CabacScratch&);
extern template void run_cavlc<CountCoverage>(SliceJob&, CavlcScratch&);

}  // namespace cvdecode::h264
