// The index of a stream: which pictures there are, in what order, and where decoding may start.
// Made from headers alone, without decoding (docs/planes.md, Frames).
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/packet.h"
#include "frame/planes.h"

namespace cvdecode {

enum class FrameType : uint8_t { kUnknown = 0, kI = 1, kP = 2, kB = 3 };

// One coded frame (or complementary field pair). Its "decode number" is its place in
// FrameIndex::pictures.
struct Picture {
  int64_t first_packet = 0;    // the packet in which its first byte lies
  int64_t last_packet = 0;     // the packet in which its last byte lies
  int64_t pts = kNoTimestamp;  // in StreamInfo::time_base
  int64_t duration = 0;        // in StreamInfo::time_base, 0 = unknown
  int32_t sequence = 0;  // coded video sequence; output order is (sequence, order, decode number)
  int32_t order = 0;     // picture order count, display number or the like, inside the sequence
  int32_t presentation = -1;  // presentation index, -1 = not presented (discarded by an edit list)
  int32_t segment = 0;        // index into FrameIndex::segments
  int32_t decode_start = 0;   // decode number of the picture at which a decoder must start so that
                              // this picture and what it refers to come out exactly
  FrameType type = FrameType::kUnknown;
  bool is_key = false;        // IDR, or all-I with recovery_frame_cnt 0 or none
  bool is_idr = false;        // nothing after it refers to anything before it
  bool all_intra = false;     // every slice is I: the anchors of accumulation
  bool is_reference = false;  // some later picture may refer to it (nal_ref_idc != 0, not a B-VOP)
  bool field_coded = false;   // PAFF field pair, MBAFF or other interlaced coding tools in use
  bool damaged = false;       // its headers could not be read; a decoder will say what can be had
};

// A run of constant coded size, crop and chroma format, in presentation order.
struct Segment {
  int64_t start = 0;  // presentation index
  int64_t stop = 0;   // one past the last
  Geometry geometry;
};

// Pictures from one all-I picture up to the next, in decode order.
struct Gop {
  int32_t decode_start = 0;  // decode number of the all-I picture
  int32_t decode_stop = 0;   // one past the last
  int32_t key_frame = -1;    // presentation index of the all-I picture, -1 = not presented
  bool closed = true;        // no picture of it refers to a picture before decode_start
};

struct FrameIndex {
  std::vector<Picture> pictures;      // decode order
  std::vector<int32_t> presentation;  // presentation index -> decode number
  std::vector<Segment> segments;      // presentation order, covering [0, size())
  std::vector<Gop> gops;              // decode order
  // Sample aspect ratio that the bitstream states; 0/1 = none. It counts where StreamInfo has none.
  int sar_num = 0;
  int sar_den = 1;
  // Packets whose in-band parameter sets (H.264) or VideoObjectLayer header (MPEG-4) differ from
  // those before (repetitions left out), rising. A decoder that starts in the middle must have been
  // given them.
  std::vector<int64_t> parameter_packets;
  bool pts_contradict_order = false;  // the container's pts do not rise in output order
  std::vector<std::string> warnings;  // what was odd, with its place; shown in video.stats

  int64_t size() const { return static_cast<int64_t>(presentation.size()); }
};

// Fills presentation, Picture::presentation, segments and gops from pictures (whose sequence,
// order, type, all_intra and `segment` are set; discarded[i] keeps picture i out of the
// presentation) and the geometry of each entry of `geometries`, to which Picture::segment points on
// entry.
void finish_index(FrameIndex& index, const std::vector<uint8_t>& discarded,
                  const std::vector<Geometry>& geometries);

// Gives a pts to pictures without one where the container stores decode times only (AVI), or leaves
// some out: the packets' dts, sorted, are the times of the pictures in output order, but for a
// constant delay that the known pts show (a packed packet's second picture takes the time of the
// placeholder packet that follows). Does nothing when the file has no times at all, or when times
// and pictures cannot be matched one to one. Call after finish_index(); packet_dts[number] as in
// Packet::dts.
void fill_missing_pts(FrameIndex& index, const std::vector<int64_t>& packet_dts);

}  // namespace cvdecode
