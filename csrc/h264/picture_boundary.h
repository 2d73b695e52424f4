// Where one primary coded picture ends and the next begins, 7.4.1.2.4.
#pragma once

#include "h264/slice_header.h"

namespace cvdecode::h264 {

enum class Boundary {
  kSamePicture,
  kNewPicture,
  // Only pic_parameter_set_id differs. By the clause that is a new picture; real streams switch
  // between the slices of one picture, so the place of the slice decides.
  kOtherParameterSet,
};

// Two slices with redundant_pic_cnt 0, one after the other in the stream.
Boundary compare_slices(const SliceHeader& previous, const Sps& previous_sps,
                        const SliceHeader& current, const Sps& current_sps);

}  // namespace cvdecode::h264
