// What the container says of the chosen video stream.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace cvdecode {

struct StreamInfo {
  std::string path;       // for messages: the path, or "<bytes>", "<file object>"
  std::string container;  // libavformat's short name, e.g. "mov,mp4,m4a,3gp,3g2,mj2"
  std::string codec;      // libavcodec's name: "h264", "mpeg4", "mpeg2video", ...
  int codec_id = 0;       // AVCodecID
  std::string profile;    // as libavcodec names it, "" = unknown
  int stream_index = -1;
  int time_base_num = 1;
  int time_base_den = 1;
  int width = 0;  // as the container says; the coded size comes from the bitstream
  int height = 0;
  int frame_rate_num = 0;  // average frame rate, 0/1 = unknown
  int frame_rate_den = 1;
  int sar_num = 0;  // sample aspect ratio, 0/1 = unknown
  int sar_den = 1;
  double rotation = 0;  // display matrix, degrees counter-clockwise; reported, not applied
  int clean_aperture[4] = {0, 0, 0, 0};  // left, top, right, bottom; reported, not applied
  int64_t start_time = 0;                // in time_base; INT64_MIN = unknown
  int64_t duration = 0;                  // in time_base; 0 = unknown
  int64_t bit_rate = 0;                  // 0 = unknown
  int64_t container_frames = 0;          // what the container claims; 0 = no claim
  std::vector<uint8_t> extradata;
  bool raw = false;         // an elementary stream without container: pts and dts are all unknown
  int nal_length_size = 0;  // 1 to 4 for avcC/hvcC, 0 for Annex B and every other codec

  // The rest of AVCodecParameters, which decoders need to behave as in any other program: the tag
  // decides on work-arounds for MPEG-4 encoders, the colours on the matrix of `rgb`.
  uint32_t codec_tag = 0;
  int profile_id = -99;   // FF_PROFILE_UNKNOWN
  int level = -99;        // FF_LEVEL_UNKNOWN
  int pixel_format = -1;  // AVPixelFormat, -1 = unknown
  int bits_per_coded_sample = 0;
  int field_order = 0;      // AVFieldOrder
  int color_range = 0;      // AVColorRange, 0 = unspecified
  int color_primaries = 2;  // AVColorPrimaries, 2 = unspecified
  int color_trc = 2;        // AVColorTransferCharacteristic
  int color_space = 2;      // AVColorSpace
  int chroma_location = 0;  // AVChromaLocation
};

}  // namespace cvdecode
