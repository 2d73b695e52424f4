// Parses the macroblocks of I- and P-VOPs (14496-2, 6.2.6 and 6.2.7) for what codes motion:
// vectors, macroblock kinds and quantisers. Coefficients are read over; no sample is made.
//
// The scope is the syntax that encoders of I and P pictures write: rectangular, progressive, no
// sprites, no data partitioning. Whatever lies outside, and every irregularity of a stream, is
// answered by false, never by a guess: libavcodec then has the word.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "bitstream/bit_reader.h"
#include "mpeg/mpeg4_headers.h"

namespace cvdecode::mpeg {

struct MotionVector {
  int16_t x = 0;  // in half samples, or quarter samples where the VOL says quarter_sample
  int16_t y = 0;
  bool operator==(const MotionVector&) const = default;
};

enum class MacroblockKind : uint8_t { kIntra, kInter16x16, kInter8x8 };

// What one VOP holds. Reused from VOP to VOP.
struct VopMotion {
  int width = 0;  // in macroblocks
  int height = 0;
  int to_quarter = 2;                 // vectors times this are in quarter samples
  std::vector<MacroblockKind> kinds;  // (height, width)
  std::vector<uint8_t> quantisers;    // (height, width), of skipped macroblocks too

  // Of the 8x8 block at (bx, by); a frame of zeros surrounds them.
  const MotionVector& vector(int bx, int by) const { return vectors[at(bx, by)]; }
  size_t at(int bx, int by) const {
    return static_cast<size_t>(by + 1) * stride() + static_cast<size_t>(bx + 1);
  }
  size_t stride() const { return static_cast<size_t>(2 * width + 2); }
  std::vector<MotionVector> vectors;
};

class VopParser {
 public:
  // VideoObjectLayer headers among `data` (extradata, or a packet) count from now on.
  void read_headers(std::span<const uint8_t> data);
  // The only VOP of a packet, and headers before it. False: outside the scope, or damaged.
  bool read_packet(std::span<const uint8_t> packet, VopMotion& out);

 private:
  bool read_vop(std::span<const uint8_t> payload, VopMotion& out);
  bool read_macroblocks(BitReader& bits, VopMotion& out);
  bool at_video_packet(BitReader& bits) const;
  bool read_video_packet(BitReader& bits, int number, int count);
  bool read_intra(BitReader& bits, int mcbpc);
  bool read_inter(BitReader& bits, int mcbpc, int number, VopMotion& out);
  bool read_vector(BitReader& bits, int number, int block, VopMotion& out);
  void change_quantiser(BitReader& bits);

  Vol vol_;
  bool has_vol_ = false;
  bool is_p_ = false;
  int intra_dc_below_ = 0;  // quantisers for which intra DC has codes of its own
  int quantiser_ = 1;
  int vop_fcode_forward_ = 1;
  int packet_start_ = 0;  // macroblock at which the video packet began
};

}  // namespace cvdecode::mpeg
