// Where every packet of the stream lies and what the container says of it. Filled once by the scan.
#pragma once

#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "base/archive.h"
#include "base/packet.h"
#include "demux/source.h"

namespace cvdecode {

// Where a packet's bytes are: a few literal bytes (those that a header-stripped Matroska file keeps
// once for all packets), then pieces of the source in rising order. Most containers keep a packet
// in one piece; TS and PS cut it by their own headers.
struct Piece {
  int64_t offset = 0;
  uint32_t size = 0;
};
struct Place {
  std::vector<uint8_t> prefix;
  std::vector<Piece> pieces;
  bool known() const { return !prefix.empty() || !pieces.empty(); }
};

class PacketTable {
 public:
  struct Entry {
    int64_t pts = kNoTimestamp;
    int64_t dts = kNoTimestamp;
    int64_t pos = -1;     // as libavformat says: where to look, not a promise
    int64_t offset = -1;  // where the bytes stand in one piece, -1 = see place()
    uint32_t size = 0;
    uint32_t duration = 0;
    uint32_t checksum = 0;  // of the bytes: the same packet must come again from libavformat
    uint8_t flags = 0;      // Flag
    uint64_t place = 0;     // into places_, where kPieces is set
  };
  enum Flag : uint8_t { kKey = 1, kDiscard = 2, kCorrupt = 4, kPieces = 8, kExtradata = 16 };

  int64_t size() const { return static_cast<int64_t>(entries_.size()); }
  const Entry& entry(int64_t number) const { return entries_[static_cast<size_t>(number)]; }

  template <class A>
  void archive_fields(A& a) {
    a(entries_), a(places_), a(extradata_);
  }

  // Of a table that came from a file: that nothing in it leads out of its arrays, or to packets
  // that a source of this size (-1 = unknown) cannot hold.
  bool is_plausible(int64_t source_size) const;

  // An unknown place: the bytes can only be had from libavformat.
  void add(const Packet& packet, uint32_t checksum, const Place& place);
  Place place(int64_t number) const;
  // The packet's fields but for its bytes.
  Packet describe(int64_t number) const;
  // The least pts of the packets that are presented, kNoTimestamp where there is none.
  int64_t first_pts() const;
  // New extradata of the packet, else empty.
  std::span<const uint8_t> new_extradata(int64_t number) const;
  // The last new extradata at or before the packet, else empty.
  std::span<const uint8_t> extradata_in_force(int64_t number) const;

 private:
  void put_varint(uint64_t value);
  uint64_t get_varint(size_t& at) const;

  std::vector<Entry> entries_;
  // Per packet: size of the prefix, the prefix, count of pieces, then (gap to the end before, size)
  // of each, all as varints: about 3 bytes per TS packet.
  std::vector<uint8_t> places_;
  std::map<int64_t, std::vector<uint8_t>> extradata_;
};

// Mixes of all bytes, eight at a time; not cryptographic. The checksum is the upper half.
uint64_t hash_of(std::span<const uint8_t> data);
uint32_t checksum_of(std::span<const uint8_t> data);

}  // namespace cvdecode
