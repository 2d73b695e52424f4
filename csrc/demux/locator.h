// Finds out where in the source a packet's bytes stand, by looking at the bytes themselves. What it
// returns is proven: the pieces, read again, give the packet.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "demux/packet_table.h"
#include "demux/source.h"

namespace cvdecode {

class Locator {
 public:
  explicit Locator(ByteSourcePtr source);

  // `pos` is libavformat's hint, `read_until` how far it has read. An unknown place when the bytes
  // are not in the source as they are (compressed or encrypted tracks).
  Place locate(std::span<const uint8_t> data, int64_t pos, int64_t read_until);

 private:
  // Up to `count` bytes at `position`, as many as the source has.
  std::span<const uint8_t> window(int64_t position, size_t count);
  size_t match_length(int64_t position, std::span<const uint8_t> data);
  bool matches(int64_t position, std::span<const uint8_t> data);
  // First place of `needle` in [from, to), or -1.
  int64_t find(std::span<const uint8_t> needle, int64_t from, int64_t to);
  int64_t find_whole(std::span<const uint8_t> data, int64_t from, int64_t to);
  bool cut_up(std::span<const uint8_t> data, int64_t from, int64_t to, std::vector<Piece>& pieces);

  ByteSourcePtr source_;
  std::vector<uint8_t> buffer_;
  int64_t buffer_position_ = 0;
  size_t buffer_size_ = 0;
  int64_t end_of_last_ = -1;  // end of the packet located last
  int misses_ = 0;            // packets not found in a row: after many, the search is given up
};

}  // namespace cvdecode
