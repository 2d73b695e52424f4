// NAL units: found in packets of either framing, and freed of emulation prevention (7.3.1, Annex
// B).
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace cvdecode {

// A NAL unit inside a packet: header bytes included, start code or length and trailing zeros not.
struct NalSpan {
  uint32_t offset = 0;  // of the NAL unit header
  uint32_t size = 0;    // never 0
};

enum class NalFraming { kLengthPrefixed, kAnnexB };

// What split_packet() met.
struct NalSplit {
  NalFraming framing = NalFraming::kAnnexB;
  bool damaged = false;  // a length pointed beyond the packet: the last NAL is cut or missing
};

// Finds the NAL units of one packet and replaces the contents of `out`. nal_length_size 1 to 4 is
// the container's framing; 0 is Annex B. Annex B inside a length-prefixed container is recognised:
// by a start code at the front where the lengths do not add up.
NalSplit split_packet(std::span<const uint8_t> packet, int nal_length_size,
                      std::vector<NalSpan>& out);
void split_annex_b(std::span<const uint8_t> packet, std::vector<NalSpan>& out);
// False where the lengths do not add up to the packet; the NALs up to there are in `out`.
bool split_length_prefixed(std::span<const uint8_t> packet, int nal_length_size,
                           std::vector<NalSpan>& out);

// Zero bytes that always follow an unescaped RBSP, so that wide loads stay inside the buffer.
inline constexpr size_t kRbspPadding = 64;

// Copies `payload` to `buffer` without emulation_prevention_three_bytes, followed by kRbspPadding
// zeros, and returns the copy without the padding. At most `limit` bytes are copied, which is how
// headers are read without touching the whole slice. The buffer only grows: reuse it.
std::span<const uint8_t> unescape(std::span<const uint8_t> payload, std::vector<uint8_t>& buffer,
                                  size_t limit = SIZE_MAX);

// The RBSP of the NAL unit at `offset` of a packet, after its header of `header_bytes` (1 for
// H.264, 2 for H.265). Throws Error(kCorrupt) where the packet does not hold it. Bit positions in
// it are those of SliceHeader::header_bits.
std::span<const uint8_t> nal_rbsp(std::span<const uint8_t> packet, uint32_t offset, uint32_t size,
                                  std::vector<uint8_t>& buffer, int header_bytes = 1);

}  // namespace cvdecode
