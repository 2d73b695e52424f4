#include "demux/packet_table.h"

#include <algorithm>
#include <cstring>
#include <limits>

namespace cvdecode {

uint64_t hash_of(std::span<const uint8_t> data) {
  uint64_t hash = 0x9e3779b97f4a7c15ull ^ data.size();
  size_t i = 0;
  for (; i + 8 <= data.size(); i += 8) {
    uint64_t word;
    std::memcpy(&word, data.data() + i, 8);
    hash = (hash ^ word) * 0xff51afd7ed558ccdull;
    hash ^= hash >> 32;
  }
  uint64_t tail = 0;
  if (i < data.size()) std::memcpy(&tail, data.data() + i, data.size() - i);
  hash = (hash ^ tail) * 0xc4ceb9fe1a85ec53ull;
  return hash;
}

uint32_t checksum_of(std::span<const uint8_t> data) {
  return static_cast<uint32_t>(hash_of(data) >> 32);
}

void PacketTable::put_varint(uint64_t value) {
  while (value >= 0x80) {
    places_.push_back(static_cast<uint8_t>(value | 0x80));
    value >>= 7;
  }
  places_.push_back(static_cast<uint8_t>(value));
}

uint64_t PacketTable::get_varint(size_t& at) const {
  uint64_t value = 0;
  for (int shift = 0;; shift += 7) {
    const uint8_t byte = places_[at++];
    value |= static_cast<uint64_t>(byte & 0x7f) << shift;
    if ((byte & 0x80) == 0) return value;
  }
}

void PacketTable::add(const Packet& packet, uint32_t checksum, const Place& place) {
  Entry entry;
  entry.pts = packet.pts;
  entry.dts = packet.dts;
  entry.pos = packet.pos;
  entry.size = static_cast<uint32_t>(packet.data.size());
  entry.duration = static_cast<uint32_t>(
      std::clamp<int64_t>(packet.duration, 0, std::numeric_limits<uint32_t>::max()));
  entry.checksum = checksum;
  entry.flags = static_cast<uint8_t>((packet.key ? kKey : 0) | (packet.discard ? kDiscard : 0) |
                                     (packet.corrupt ? kCorrupt : 0));
  if (place.prefix.empty() && place.pieces.size() == 1) {
    entry.offset = place.pieces[0].offset;
  } else if (place.known()) {
    entry.flags |= kPieces;
    entry.place = places_.size();
    put_varint(place.prefix.size());
    places_.insert(places_.end(), place.prefix.begin(), place.prefix.end());
    put_varint(place.pieces.size());
    int64_t end = 0;
    for (const Piece& piece : place.pieces) {  // pieces rise, so gaps are not negative
      put_varint(static_cast<uint64_t>(piece.offset - end));
      put_varint(piece.size);
      end = piece.offset + piece.size;
    }
  }
  if (!packet.new_extradata.empty()) {
    entry.flags |= kExtradata;
    extradata_[size()].assign(packet.new_extradata.begin(), packet.new_extradata.end());
  }
  entries_.push_back(entry);
}

bool PacketTable::is_plausible(int64_t source_size) const {
  const auto largest = static_cast<uint64_t>(std::numeric_limits<int32_t>::max());
  const uint64_t most = source_size < 0 ? largest : static_cast<uint64_t>(source_size);
  for (size_t n = 0; n < entries_.size(); ++n) {
    const Entry& e = entries_[n];
    // Header-stripped tracks hold a few bytes that are in the source only once.
    if (e.size > most + 255 || e.offset > static_cast<int64_t>(most)) return false;
    if ((e.flags & kExtradata) != 0 && !extradata_.contains(static_cast<int64_t>(n))) return false;
    if (e.offset >= 0 || (e.flags & kPieces) == 0) continue;
    size_t at = e.place;
    const auto next = [&](uint64_t& value) {
      const auto end = std::find_if(places_.begin() + static_cast<ptrdiff_t>(at), places_.end(),
                                    [](uint8_t byte) { return (byte & 0x80) == 0; });
      if (end == places_.end() || end - places_.begin() >= static_cast<ptrdiff_t>(at) + 9) {
        return false;
      }
      value = get_varint(at);
      return true;
    };
    uint64_t size = 0;
    uint64_t count = 0;
    if (at > places_.size() || !next(size) || size > places_.size() - at) return false;
    at += size;
    if (!next(count) || count > places_.size()) return false;
    uint64_t position = 0;
    for (uint64_t i = 0; i < count; ++i) {
      uint64_t gap = 0;
      uint64_t piece = 0;
      if (!next(gap) || !next(piece) || piece > e.size || gap > most) return false;
      position += gap + piece;
      size += piece;
      if (position > most) return false;
    }
    if (size != e.size) return false;
  }
  return true;
}

Place PacketTable::place(int64_t number) const {
  const Entry& e = entry(number);
  Place place;
  if (e.offset >= 0) {
    place.pieces.push_back({e.offset, e.size});
  } else if ((e.flags & kPieces) != 0) {
    size_t at = e.place;
    const auto prefix = static_cast<ptrdiff_t>(get_varint(at));
    const auto begin = places_.begin() + static_cast<ptrdiff_t>(at);
    place.prefix.assign(begin, begin + prefix);
    at += static_cast<size_t>(prefix);
    place.pieces.resize(get_varint(at));
    int64_t end = 0;
    for (Piece& piece : place.pieces) {
      piece.offset = end + static_cast<int64_t>(get_varint(at));
      piece.size = static_cast<uint32_t>(get_varint(at));
      end = piece.offset + piece.size;
    }
  }
  return place;
}

Packet PacketTable::describe(int64_t number) const {
  const Entry& e = entry(number);
  Packet packet;
  packet.number = number;
  packet.pts = e.pts;
  packet.dts = e.dts;
  packet.duration = e.duration;
  packet.pos = e.pos;
  packet.key = (e.flags & kKey) != 0;
  packet.discard = (e.flags & kDiscard) != 0;
  packet.corrupt = (e.flags & kCorrupt) != 0;
  packet.new_extradata = new_extradata(number);
  return packet;
}

int64_t PacketTable::first_pts() const {
  int64_t first = kNoTimestamp;
  for (const Entry& e : entries_) {
    if ((e.flags & kDiscard) != 0 || e.pts == kNoTimestamp) continue;
    if (first == kNoTimestamp || e.pts < first) first = e.pts;
  }
  return first;
}

std::span<const uint8_t> PacketTable::new_extradata(int64_t number) const {
  if ((entry(number).flags & kExtradata) == 0) return {};
  return extradata_.at(number);
}

std::span<const uint8_t> PacketTable::extradata_in_force(int64_t number) const {
  auto it = extradata_.upper_bound(number);
  if (it == extradata_.begin()) return {};
  return std::prev(it)->second;
}

}  // namespace cvdecode
