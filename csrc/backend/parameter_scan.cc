#include "backend/parameter_scan.h"

#include <cstring>

namespace cvdecode {
namespace {

bool h264_changes(uint8_t nal_header) {
  const int nal_unit_type = nal_header & 31;
  return nal_unit_type == 7 || nal_unit_type == 8;  // SPS, PPS
}

bool mpeg_changes(CodecFamily family, const uint8_t* code, const uint8_t* end) {
  if (family == CodecFamily::kMpeg4) return *code >= 0x20 && *code <= 0x2f;  // VOL
  if (*code == 0xb3) return true;                                            // sequence header
  // extension_start_code; ids 1 (sequence) and 3 (quant matrix) outlive the picture
  if (*code != 0xb5 || end - code < 2) return false;
  return (code[1] >> 4) == 1 || (code[1] >> 4) == 3;
}

}  // namespace

bool carries_parameters(CodecFamily family, int nal_length_size, const Packet& packet) {
  if (!packet.new_extradata.empty()) return true;
  if (family != CodecFamily::kH264 && family != CodecFamily::kMpeg4 &&
      family != CodecFamily::kMpeg12) {
    return true;
  }
  const uint8_t* p = packet.data.data();
  const uint8_t* const end = p + packet.data.size();
  if (family == CodecFamily::kH264 && nal_length_size > 0) {
    while (end - p > nal_length_size) {
      size_t size = 0;
      for (int i = 0; i < nal_length_size; ++i) size = size << 8 | *p++;
      if (size > static_cast<size_t>(end - p)) return true;  // damaged: let the decoder judge
      if (size > 0 && h264_changes(*p)) return true;
      p += size;
    }
    return false;
  }
  while (end - p > 3) {  // start codes 00 00 01
    const auto* one =
        static_cast<const uint8_t*>(std::memchr(p + 2, 1, static_cast<size_t>(end - p) - 3));
    if (one == nullptr) return false;
    if (one[-1] == 0 && one[-2] == 0) {
      const bool changes =
          family == CodecFamily::kH264 ? h264_changes(one[1]) : mpeg_changes(family, one + 1, end);
      if (changes) return true;
    }
    p = one - 1;
  }
  return false;
}

}  // namespace cvdecode
