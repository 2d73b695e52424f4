// Whether a packet changes the state that later pictures are decoded with.
#pragma once

#include "backend/libav_traits.h"
#include "base/packet.h"

namespace cvdecode {

// True when the packet holds more than picture data: parameter sets (H.264), a video object layer
// (MPEG-4), a sequence header or quantiser matrices (MPEG-1/2). Such a packet must reach the
// decoder even when nobody wants its picture. True for codecs it does not know.
bool carries_parameters(CodecFamily family, int nal_length_size, const Packet& packet);

}  // namespace cvdecode
