// Picture headers of H.263 and its relatives, as far as the index needs them: type and size.
#pragma once

#include <cstdint>
#include <span>

#include "frame/frame_index.h"

namespace cvdecode::mpeg {

struct H263Picture {
  FrameType type = FrameType::kUnknown;
  int width = 0;  // 0 = this header does not say
  int height = 0;
};

// False when the bytes are no such header. H.263 5.1 (baseline and PLUSPTYPE).
bool parse_h263_picture(std::span<const uint8_t> data, H263Picture& out);
// Sorenson Spark, the H.263 of FLV files (Adobe's FLV specification, annex E.4.3.1
// "H263VIDEOPACKET").
bool parse_flv1_picture(std::span<const uint8_t> data, H263Picture& out);

}  // namespace cvdecode::mpeg
