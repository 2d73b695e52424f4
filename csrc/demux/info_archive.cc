#include "demux/info_archive.h"

#include <cmath>

#include "av/compat.h"
#include "base/error.h"

extern "C" {
#include <libavcodec/avcodec.h>
#include <libavutil/pixdesc.h>
}

namespace cvdecode {
namespace {

template <class A>
void fields(A& a, StreamInfo& i) {
  a(i.container), a(i.codec), a(i.codec_id), a(i.profile), a(i.stream_index);
  a(i.time_base_num), a(i.time_base_den), a(i.width), a(i.height);
  a(i.frame_rate_num), a(i.frame_rate_den), a(i.sar_num), a(i.sar_den), a(i.rotation);
  a(i.start_time), a(i.duration), a(i.bit_rate), a(i.container_frames);
  a(i.extradata), a(i.nal_length_size), a(i.codec_tag), a(i.profile_id), a(i.level);
  a(i.pixel_format), a(i.bits_per_coded_sample), a(i.field_order), a(i.color_range);
  a(i.color_primaries), a(i.color_trc), a(i.color_space), a(i.chroma_location);
  for (int& side : i.clean_aperture) a(side);
}

bool within(int64_t value, int64_t least, int64_t most) { return value >= least && value <= most; }

// No file says that its samples lie in some device.
bool is_pixel_format(int format) {
  if (format == AV_PIX_FMT_NONE) return true;
  const auto* descriptor = av_pix_fmt_desc_get(static_cast<AVPixelFormat>(format));
  return descriptor != nullptr && (descriptor->flags & AV_PIX_FMT_FLAG_HWACCEL) == 0;
}

// Colours and the like are what any file may say, true or not: decoders bear them.
bool is_plausible(const StreamInfo& i) {
  const auto id = static_cast<AVCodecID>(i.codec_id);
  return i.codec == avcodec_get_name(id) && avcodec_get_type(id) == AVMEDIA_TYPE_VIDEO &&
         i.stream_index >= 0 && i.time_base_num > 0 && i.time_base_den > 0 &&
         within(i.width, 0, 1 << 20) && within(i.height, 0, 1 << 20) && i.frame_rate_num >= 0 &&
         i.frame_rate_den > 0 && i.sar_num >= 0 && i.sar_den > 0 && std::isfinite(i.rotation) &&
         i.duration >= 0 && i.bit_rate >= 0 && i.container_frames >= 0 &&
         within(i.nal_length_size, 0, 4) && is_pixel_format(i.pixel_format);
}

}  // namespace

void archive_info(ArchiveWriter& out, const StreamInfo& info) {
  StreamInfo copy = info;
  fields(out, copy);
  uint8_t raw = info.raw ? 1 : 0;
  out(raw);
}

void archive_info(ArchiveReader& in, StreamInfo& info) {
  fields(in, info);
  uint8_t raw = 0;
  in(raw);
  info.raw = raw != 0;
  if (!is_plausible(info)) throw Error(ErrorKind::kCorrupt, "the saved index is damaged");
}

}  // namespace cvdecode
