#include "h264/slice_data_run-inl.h"

namespace cvdecode::h264 {
template void run_cavlc<NoCoverage>(SliceJob&, CavlcScratch&);
}  // namespace cvdecode::h264
