// A packet of the container and the interface by which backends ask for packets again.
#pragma once

#include <cstdint>
#include <limits>
#include <span>

namespace cvdecode {

inline constexpr int64_t kNoTimestamp = std::numeric_limits<int64_t>::min();  // == AV_NOPTS_VALUE

// One packet of the chosen stream, in file (decode) order. Packet borders are hints only
// (docs/planes.md, Frames): a packet may hold one field, several pictures, or none.
struct Packet {
  std::span<const uint8_t> data;           // valid until the next read() on the same source
  int64_t number = -1;                     // 0, 1, 2, ... in file order
  int64_t pts = kNoTimestamp;              // in StreamInfo::time_base
  int64_t dts = kNoTimestamp;              // in StreamInfo::time_base
  int64_t duration = 0;                    // in StreamInfo::time_base, 0 = unknown
  int64_t pos = -1;                        // byte offset in the file, -1 = unknown
  bool key = false;                        // the container's flag: a hint, never trusted
  bool discard = false;                    // the edit list says: decode, do not present
  bool corrupt = false;                    // the demuxer's own flag
  std::span<const uint8_t> new_extradata;  // parameter sets that change here; usually empty
};

// Random access to packets by number. Not thread-safe: one caller at a time.
class PacketSource {
 public:
  virtual ~PacketSource() = default;
  virtual int64_t packet_count() const = 0;
  // Throws Error(kIo) when the bytes can no longer be read.
  virtual Packet read_packet(int64_t number) = 0;
  // The last Packet::new_extradata at or before this packet: what a decoder that starts here must
  // be given instead of StreamInfo::extradata. Empty: StreamInfo::extradata is still in force.
  virtual std::span<const uint8_t> extradata_in_force(int64_t number) const {
    (void)number;
    return {};
  }
};

}  // namespace cvdecode
