// Headers of MPEG-4 part 2 (14496-2): VideoObjectLayer (6.2.3), Group_of_VideoObjectPlane (6.2.4),
// VideoObjectPlane (6.2.5). Syntax elements keep the standard's spelling.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace cvdecode::mpeg {

// Start code values (table 6-3).
inline constexpr int kVideoObjectLast = 0x1f;
inline constexpr int kVideoObjectLayer = 0x20;
inline constexpr int kVideoObjectLayerLast = 0x2f;
inline constexpr int kVisualObjectSequence = 0xb0;
inline constexpr int kVisualObjectSequenceEnd = 0xb1;
inline constexpr int kGroupOfVop = 0xb3;
inline constexpr int kVop = 0xb6;

struct Vol {
  int video_object_layer_verid = 1;
  bool low_delay = false;
  int video_object_layer_shape = 0;       // 0 rectangular
  int vop_time_increment_resolution = 1;  // ticks per second, 1..65535
  int video_object_layer_width = 0;
  int video_object_layer_height = 0;
  bool interlaced = false;
  int sprite_enable = 0;  // 0 none, 1 static, 2 GMC
  int quant_type = 0;     // 0 H.263 quantisation, 1 with matrices
  bool quarter_sample = false;
  bool resync_marker_disable = true;
  // Nothing else in it changes how macroblocks are coded: rectangular, progressive, 8 bit, no
  // sprites, data partitioning, overlapped motion, scalability or complexity estimation. What
  // follows quant_type is read for this alone and may be missing.
  bool plain = false;
  bool operator==(const Vol&) const = default;
  // Bits of vop_time_increment: enough for [0, vop_time_increment_resolution).
  int time_increment_bits() const;
};

enum class VopType : uint8_t { kI = 0, kP = 1, kB = 2, kS = 3 };

struct Vop {
  VopType vop_coding_type = VopType::kI;
  int modulo_time_base = 0;  // whole seconds
  int vop_time_increment = 0;
  bool vop_coded = true;
  int64_t bits_to_vop_coded = 0;  // of the payload, vop_coded included
};

struct Gov {
  int time_code_seconds = 0;
  bool closed_gov = false;
};

// `payload`: the bytes behind the start code. False when the header contradicts its own syntax or
// ends too early; the output is then untouched.
bool parse_vol(std::span<const uint8_t> payload, Vol& vol);
bool parse_gov(std::span<const uint8_t> payload, Gov& gov);
bool parse_vop(std::span<const uint8_t> payload, const Vol& vol, Vop& vop);

// macroblock_number of whatever in a packet looks like a video_packet_header (6.2.5.2) of a VOP of
// `macroblocks` macroblocks, whether the VOL admits such or not.
std::vector<int> video_packet_starts(std::span<const uint8_t> packet, int macroblocks);

}  // namespace cvdecode::mpeg
