#include "bitstream/nal.h"

#include <algorithm>
#include <cstring>
#include <string>

#include "base/error.h"

#if defined(__SSE2__)
#include <emmintrin.h>

#include <bit>
#endif

namespace cvdecode {
namespace {

// First p in [p, end - 1) with p[0] == 0 and p[1] == 0, or end. Compressed data holds such a pair
// once in some 60,000 bytes, so this is the loop that everything here spends its time in.
const uint8_t* find_zero_pair(const uint8_t* p, const uint8_t* end) {
#if defined(__SSE2__)
  const __m128i zero = _mm_setzero_si128();
  while (end - p >= 17) {
    const __m128i a = _mm_loadu_si128(reinterpret_cast<const __m128i*>(p));
    const __m128i b = _mm_loadu_si128(reinterpret_cast<const __m128i*>(p + 1));
    const auto mask =
        static_cast<unsigned>(_mm_movemask_epi8(_mm_cmpeq_epi8(_mm_or_si128(a, b), zero)));
    if (mask != 0) return p + std::countr_zero(mask);
    p += 16;
  }
#endif
  while (end - p >= 2) {
    if (p[1] != 0) {
      p += 2;
    } else if (p[0] != 0) {
      p += 1;
    } else {
      return p;
    }
  }
  return end;
}

// First start_code_prefix_one_3bytes (00 00 01) in [p, end), or end.
const uint8_t* find_start_code(const uint8_t* p, const uint8_t* end) {
  while ((p = find_zero_pair(p, end)) != end) {
    if (end - p < 3) return end;
    if (p[2] == 1) return p;
    p += p[2] == 0 ? 1 : 3;
  }
  return end;
}

void add_nal(const uint8_t* base, const uint8_t* begin, const uint8_t* end,
             std::vector<NalSpan>& out) {
  while (end > begin && end[-1] == 0) --end;  // trailing_zero_8bits; a NAL never ends in 00
  if (end == begin) return;
  out.push_back({static_cast<uint32_t>(begin - base), static_cast<uint32_t>(end - begin)});
}

// Adds the NAL unit [begin, end), or the several of which it consists: start codes cannot occur
// inside one, but some encoders put a whole Annex B access unit under one length.
void add_nals(const uint8_t* base, const uint8_t* begin, const uint8_t* end,
              std::vector<NalSpan>& out) {
  while (begin != end) {
    const uint8_t* p = find_start_code(begin, end);
    add_nal(base, begin, p, out);
    begin = p == end ? end : p + 3;
  }
}

}  // namespace

void split_annex_b(std::span<const uint8_t> packet, std::vector<NalSpan>& out) {
  out.clear();
  const uint8_t* base = packet.data();
  const uint8_t* end = base + packet.size();
  const uint8_t* p = find_start_code(base, end);
  if (p != end) add_nals(base, p + 3, end, out);
}

bool split_length_prefixed(std::span<const uint8_t> packet, int nal_length_size,
                           std::vector<NalSpan>& out) {
  out.clear();
  const uint8_t* base = packet.data();
  size_t at = 0;
  while (at < packet.size()) {
    if (packet.size() - at < static_cast<size_t>(nal_length_size)) return false;
    size_t length = 0;
    for (int i = 0; i < nal_length_size; ++i) length = length << 8 | packet[at++];
    const size_t left = packet.size() - at;
    add_nals(base, base + at, base + at + std::min(length, left), out);
    if (length > left) return false;
    at += length;
  }
  return true;
}

NalSplit split_packet(std::span<const uint8_t> packet, int nal_length_size,
                      std::vector<NalSpan>& out) {
  if (packet.size() > UINT32_MAX) packet = packet.first(UINT32_MAX);
  if (nal_length_size < 1 || nal_length_size > 4) {
    split_annex_b(packet, out);
    return {NalFraming::kAnnexB, false};
  }
  const bool whole = split_length_prefixed(packet, nal_length_size, out);
  if (!whole && packet.size() >= 4 && packet[0] == 0 && packet[1] == 0 &&
      (packet[2] == 1 || (packet[2] == 0 && packet[3] == 1))) {
    split_annex_b(packet, out);
    return {NalFraming::kAnnexB, false};
  }
  return {NalFraming::kLengthPrefixed, !whole};
}

std::span<const uint8_t> unescape(std::span<const uint8_t> payload, std::vector<uint8_t>& buffer,
                                  size_t limit) {
  // Copying stops at `limit`: no more input is looked at than could be needed for it.
  const size_t wanted = std::min(limit, payload.size());
  if (buffer.size() < wanted + kRbspPadding) buffer.resize(wanted + kRbspPadding);
  uint8_t* out = buffer.data();
  uint8_t* const out_end = out + wanted;
  const uint8_t* from = payload.data();
  const uint8_t* const end = from + payload.size();
  while (from < end && out < out_end) {
    const auto room = static_cast<size_t>(out_end - out);
    const uint8_t* const stop = static_cast<size_t>(end - from) > room ? from + room : end;
    // A pair that straddles `stop` matters only where the third byte is copied: look one further.
    const uint8_t* const look = end - stop > 2 ? stop + 2 : end;
    const uint8_t* p = from;
    while ((p = find_zero_pair(p, look)) != look) {
      if (look - p < 3) {
        p = look;
        break;
      }
      if (p[2] == 3) break;
      p += p[2] == 0 ? 1 : 3;
    }
    const uint8_t* const copy_end = p == look ? stop : std::min(p + 2, stop);
    const auto count = static_cast<size_t>(copy_end - from);
    if (count > 0) std::memcpy(out, from, count);
    out += count;
    from = p != look && copy_end == p + 2 ? p + 3 : copy_end;
  }
  std::memset(out, 0, kRbspPadding);
  return {buffer.data(), static_cast<size_t>(out - buffer.data())};
}

std::span<const uint8_t> nal_rbsp(std::span<const uint8_t> packet, uint32_t offset, uint32_t size,
                                  std::vector<uint8_t>& buffer, int header_bytes) {
  const auto header = static_cast<uint32_t>(header_bytes);
  if (offset > packet.size() || size > packet.size() - offset || size < header) {
    throw Error(ErrorKind::kCorrupt, "the packet of " + std::to_string(packet.size()) +
                                         " bytes does not hold the NAL unit of " +
                                         std::to_string(size) + " bytes at byte " +
                                         std::to_string(offset) +
                                         "; the file changed since it was indexed: open it again");
  }
  return unescape(packet.subspan(offset + header, size - header), buffer);
}

}  // namespace cvdecode
