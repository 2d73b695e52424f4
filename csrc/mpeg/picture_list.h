// What MPEG-1, MPEG-2 and MPEG-4 part 2 have in common: pictures in coded order become an index.
#pragma once

#include <cstdint>
#include <vector>

#include "frame/frame_index.h"
#include "frame/planes.h"

namespace cvdecode::mpeg {

struct CodedPicture {
  Picture picture;  // packets, pts, duration, type, all_intra, field_coded, damaged are set
  bool random_access = false;  // decoding may start here: an I picture (or an I/P field pair)
  bool closed = false;         // B-pictures that follow need nothing from before this picture
  bool group_start = false;    // a GOP, GOV or sequence header stands before it
  bool discard = false;        // by the container's edit list
  int64_t time = 0;  // display number inside the group: temporal_reference, or the VOP's time
  int32_t geometry = 0;
};

// Display order by the reordering rule (13818-2, 6.1.1.11; the same in 11172-2 and 14496-2): a
// B-picture is shown at once, any other when the next that is no B comes. The numbers in the
// headers must agree; where they do not, the rule holds, because it is what every decoder does, and
// a warning that names `time_element` says where. time_modulus: where the time wraps, 0 = nowhere.
FrameIndex make_frame_index(const std::vector<CodedPicture>& pictures,
                            const std::vector<Geometry>& geometries, const char* time_element,
                            int64_t time_modulus);

// Coded size: whole macroblocks (and whole macroblock pairs where a frame may hold fields).
Geometry geometry_of(int width, int height, int row_multiple, int chroma_format_idc);

// Appends `geometry` unless it is there already; returns its place.
int32_t intern(std::vector<Geometry>& geometries, const Geometry& geometry);

}  // namespace cvdecode::mpeg
