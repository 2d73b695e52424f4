// What changed between FFmpeg 4.4 (lavc 58.134) and 8 (lavc 62), behind one name each.
#pragma once

#include <cstdint>

#include "av/handles.h"

extern "C" {
#include <libavutil/version.h>
}

namespace cvdecode::av {

static_assert(LIBAVCODEC_VERSION_INT >= AV_VERSION_INT(58, 134, 100), "FFmpeg 4.4 or later");

// av_find_best_stream and friends take `const AVCodec*` from FFmpeg 5.0 (lavf 59) on.
#if LIBAVFORMAT_VERSION_MAJOR >= 59
using CodecConst = const AVCodec;
using InputFormatConst = const AVInputFormat;
#else
using CodecConst = AVCodec;
using InputFormatConst = AVInputFormat;
#endif

// AVFrame.duration came with FFmpeg 6.0 (lavu 57.30 in the 5.1 to 6.0 cycle); before: pkt_duration.
inline int64_t frame_duration(const AVFrame* frame) {
#if LIBAVUTIL_VERSION_INT >= AV_VERSION_INT(57, 30, 100)
  return frame->duration;
#else
  return frame->pkt_duration;
#endif
}

inline bool frame_is_key(const AVFrame* frame) {
#if LIBAVUTIL_VERSION_INT >= AV_VERSION_INT(58, 7, 100)
  return (frame->flags & AV_FRAME_FLAG_KEY) != 0;
#else
  return frame->key_frame != 0;
#endif
}

inline bool frame_is_interlaced(const AVFrame* frame) {
#if LIBAVUTIL_VERSION_INT >= AV_VERSION_INT(58, 7, 100)
  return (frame->flags & AV_FRAME_FLAG_INTERLACED) != 0;
#else
  return frame->interlaced_frame != 0;
#endif
}

// Damage of any kind that libavcodec admits to: such a frame's vectors are invented
// (docs/libavcodec.md).
inline bool frame_is_damaged(const AVFrame* frame) {
  return frame->decode_error_flags != 0 || (frame->flags & AV_FRAME_FLAG_CORRUPT) != 0;
}

}  // namespace cvdecode::av
