#include "demux/locator.h"

#include <algorithm>
#include <cstring>
#include <utility>

namespace cvdecode {
namespace {

constexpr size_t kWindow = 1 << 20;
constexpr int64_t kSearchStep = 1 << 16;
constexpr int64_t kHeaderReach = 512;      // a container's header before the bytes: AVI 8, FLV 16
constexpr int64_t kGapReach = 1 << 18;     // other streams between two pieces of one packet
constexpr int64_t kSearchReach = 1 << 20;  // from the hint to the first byte, in TS and PS
constexpr size_t kMaxPrefix = 32;          // Matroska's header stripping
constexpr int kMaxMisses = 64;

}  // namespace

Locator::Locator(ByteSourcePtr source) : source_(std::move(source)) {}

std::span<const uint8_t> Locator::window(int64_t position, size_t count) {
  if (position < 0 || position >= source_->size()) return {};
  count =
      std::min(count, static_cast<size_t>(std::min<int64_t>(source_->size() - position, kWindow)));
  if (const auto memory = source_->memory(); !memory.empty()) {
    return memory.subspan(static_cast<size_t>(position), count);
  }
  if (position < buffer_position_ || position + static_cast<int64_t>(count) >
                                         buffer_position_ + static_cast<int64_t>(buffer_size_)) {
    buffer_.resize(std::min(kWindow, static_cast<size_t>(source_->size())));
    buffer_position_ = position;
    buffer_size_ = source_->read_at(position, buffer_);
    count = std::min(count, buffer_size_);
  }
  return std::span<const uint8_t>(buffer_).subspan(static_cast<size_t>(position - buffer_position_),
                                                   count);
}

size_t Locator::match_length(int64_t position, std::span<const uint8_t> data) {
  size_t done = 0;
  while (done < data.size()) {
    const auto have = window(position + static_cast<int64_t>(done), data.size() - done);
    if (have.empty()) break;
    const auto part = data.subspan(done, have.size());
    if (std::memcmp(have.data(), part.data(), part.size()) == 0) {
      done += part.size();
      continue;
    }
    const auto [at, unused] = std::mismatch(have.begin(), have.end(), part.begin());
    return done + static_cast<size_t>(at - have.begin());
  }
  return done;
}

bool Locator::matches(int64_t position, std::span<const uint8_t> data) {
  return match_length(position, data) == data.size();
}

int64_t Locator::find(std::span<const uint8_t> needle, int64_t from, int64_t to) {
  to = std::min(to, source_->size());
  while (from < to) {
    const auto have = window(from, static_cast<size_t>(std::min<int64_t>(to - from, kSearchStep)));
    if (have.size() < needle.size()) return -1;
    const auto* hit = static_cast<const uint8_t*>(
        ::memmem(have.data(), have.size(), needle.data(), needle.size()));
    if (hit != nullptr) return from + (hit - have.data());
    from += static_cast<int64_t>(have.size() - needle.size() + 1);
  }
  return -1;
}

int64_t Locator::find_whole(std::span<const uint8_t> data, int64_t from, int64_t to) {
  const auto needle = data.first(std::min<size_t>(data.size(), 24));
  for (from = std::max<int64_t>(from, 0);; ++from) {
    from = find(needle, from, to);
    if (from < 0 || matches(from, data)) return from;
  }
}

bool Locator::cut_up(std::span<const uint8_t> data, int64_t from, int64_t to,
                     std::vector<Piece>& pieces) {
  pieces.clear();
  size_t done = 0;
  int64_t at = from;
  while (done < data.size()) {
    const auto rest = data.subspan(done);
    size_t length = match_length(at, rest);
    // Right after the last piece one byte may agree by chance, and that is as good as any: pieces
    // only have to give the bytes. Elsewhere a longer needle keeps the search from random hits.
    if (length == 0 || (pieces.empty() && length < std::min<size_t>(rest.size(), 4))) {
      int64_t hit = -1;
      const int64_t limit = std::min(to, at + (pieces.empty() ? kSearchReach : kGapReach));
      for (const size_t count : {16u, 8u, 4u}) {
        hit = find(rest.first(std::min<size_t>(rest.size(), count)), at, limit);
        if (hit >= 0) break;
      }
      if (hit < 0) return false;
      at = hit;
      length = match_length(at, rest);
    }
    if (pieces.size() > 64 + data.size() / 16)
      return false;  // crumbs: this is no cutting by headers
    if (!pieces.empty() && pieces.back().offset + pieces.back().size == at) {
      pieces.back().size += static_cast<uint32_t>(length);
    } else {
      pieces.push_back({at, static_cast<uint32_t>(length)});
    }
    done += length;
    at += static_cast<int64_t>(length);
  }
  return true;
}

Place Locator::locate(std::span<const uint8_t> data, int64_t pos, int64_t read_until) {
  Place place;
  if (data.empty()) return place;
  const auto found = [&](int64_t offset, size_t size) {
    place.pieces.push_back({offset, static_cast<uint32_t>(size)});
    end_of_last_ = offset + static_cast<int64_t>(size);
    misses_ = 0;
    return place;
  };
  // In one piece: at the hint, or a little later behind the container's own header.
  if (pos >= 0) {
    if (matches(pos, data)) return found(pos, data.size());
    const int64_t hit = find_whole(data, pos, pos + kHeaderReach);
    if (hit >= 0) return found(hit, data.size());
  }
  if (misses_ > kMaxMisses) return place;
  // Cut up by TS or PS headers. A packet that a parser cut starts where the one before it ends,
  // which may lie before the hint.
  for (const int64_t from : {end_of_last_, pos}) {
    if (from < 0 || !cut_up(data, from, read_until, place.pieces)) continue;
    end_of_last_ = place.pieces.back().offset + place.pieces.back().size;
    misses_ = 0;
    return place;
  }
  place.pieces.clear();
  // Without its first bytes, which the container keeps elsewhere.
  if (pos >= 0) {
    for (size_t cut = 1; cut <= kMaxPrefix && cut + 16 < data.size(); ++cut) {
      const int64_t hit = find_whole(data.subspan(cut), pos, pos + kHeaderReach);
      if (hit < 0) continue;
      place.prefix.assign(data.begin(), data.begin() + static_cast<ptrdiff_t>(cut));
      return found(hit, data.size() - cut);
    }
  }
  ++misses_;
  return place;
}

}  // namespace cvdecode
