// What libavcodec can tell about each codec (docs/libavcodec.md), and what it cannot, in words.
#pragma once

#include "backend/backend.h"
#include "frame/stream_info.h"

namespace cvdecode {

enum class CodecFamily : uint8_t {
  kH264,    // vectors without references, QP
  kMpeg4,   // MPEG-4 part 2: exact references in I- and P-VOPs without sprites
  kMpeg12,  // exact references in progressive frame pictures
  kH263,    // H.263 and relatives: vectors and QP only
  kOther,   // pixels only
};

struct CodecTraits {
  CodecFamily family = CodecFamily::kOther;
  // Frames leave the decoder in output order, later than they went in: a picture that a later one
  // overtakes was withheld.
  bool reorders = false;
  // Picture::is_reference is known, so pictures that nothing refers to need not be decoded.
  bool can_skip = false;

  bool has_vectors() const { return family != CodecFamily::kOther; }
  bool is_mpegvideo() const { return has_vectors() && family != CodecFamily::kH264; }
};

CodecTraits codec_traits(const StreamInfo& info);

// Planes that the linked libavcodec fills for this stream; no decoder is opened.
Capabilities libav_capabilities(const StreamInfo& info);

}  // namespace cvdecode
