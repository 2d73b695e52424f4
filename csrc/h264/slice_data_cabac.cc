#include "h264/slice_data_run-inl.h"

namespace cvdecode::h264 {
template void run_cabac<NoCoverage>(SliceJob&, CabacScratch&);
}  // namespace cvdecode::h264
