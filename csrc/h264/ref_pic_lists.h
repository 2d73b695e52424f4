// Reference picture lists, 8.2.4.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <vector>

#include "h264/dpb.h"
#include "h264/native_index.h"
#include "h264/slice_header.h"

namespace cvdecode::h264 {

// Initialises and modifies the lists of a P or B slice of a frame or field. FrameNumWrap of the
// frames must be up to date. `order` is that of the current picture. Entries of fields name the
// frame that holds the field. Each list has num_ref_idx_active entries; entries beyond the initial
// list are kNoPicture. Returns false where a modification names a picture that is not there: its
// entry is kMissingPicture and all others stand where they belong.
bool build_ref_pic_lists(const SliceHeader& header, const Sps& sps,
                         std::span<const ReferenceFrame> frames, const FieldOrderCnt& order,
                         std::array<std::vector<RefEntry>, 2>& RefPicList);

}  // namespace cvdecode::h264
