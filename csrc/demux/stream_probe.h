// libavformat's account of the streams as a StreamInfo.
#pragma once

#include <string>

#include "av/handles.h"
#include "frame/stream_info.h"

namespace cvdecode {

// avformat_find_stream_info with bounds on what a hostile header can make decoders allocate.
void probe_streams(AVFormatContext& format, const std::string& name);

// `wanted` or, when -1, the best video stream. Cover pictures of audio files are none. Throws
// Error(kUnsupported) with what there is, Error(kInvalidArgument) when `wanted` is no video stream.
int choose_video_stream(AVFormatContext& format, int wanted, const std::string& name);

StreamInfo describe_stream(AVFormatContext& format, int index, const std::string& name);

}  // namespace cvdecode
