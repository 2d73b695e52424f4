// Which of libavformat's demuxers fits the bytes. The name decides nothing unless the bytes say
// nothing: datasets hold raw MPEG-4 named .mp4 and raw H.264 under a dozen suffixes.
#pragma once

#include <string>

#include "av/compat.h"
#include "demux/source.h"

namespace cvdecode {

// Null when nothing fits.
av::InputFormatConst* probe_format(ByteSource& source);

}  // namespace cvdecode
