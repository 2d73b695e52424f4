// The arithmetic decoding engine of 9.3.1.2 and 9.3.3.2 (H.264; the engine of H.265 is the same),
// without any context selection.
#pragma once

#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <span>

#include "bitstream/bit_reader.h"

namespace cvdecode {

namespace cabac {

// Tables 9-44 and 9-45, turned so that one aligned load gives all that a state decides.
struct alignas(8) StateRow {
  uint32_t range_lps = 0;  // rangeTabLPS for qCodIRangeIdx 0..3, one byte each, 0 lowest
  uint8_t next_mps = 0;
  uint8_t next_lps = 0;
};

// A context's state byte is 2 * pStateIdx + valMPS.
constexpr uint8_t pack_state(int pStateIdx, int valMPS) {
  return static_cast<uint8_t>(pStateIdx * 2 + valMPS);
}

#include "bitstream/cabac_engine_tables.inc"

constexpr std::array<StateRow, 128> make_state_rows() {
  std::array<StateRow, 128> rows{};
  for (int p = 0; p < 64; ++p) {
    for (int mps = 0; mps < 2; ++mps) {
      StateRow& row = rows[static_cast<size_t>(2 * p + mps)];
      for (int q = 3; q >= 0; --q) row.range_lps = row.range_lps << 8 | kRangeTabLPS[p][q];
      row.next_mps = pack_state(p < 62 ? p + 1 : p, mps);
      row.next_lps = pack_state(kTransIdxLPS[p], p == 0 ? 1 - mps : mps);
    }
  }
  return rows;
}
inline constexpr std::array<StateRow, 128> kStateRows = make_state_rows();

// 9.3.1.1: the state that m, n and the slice's QP give. preCtxState is 1..126.
constexpr uint8_t initial_state(int m, int n, int qp) {
  const int raw = ((m * qp) >> 4) + n;
  const int preCtxState = raw < 1 ? 1 : raw > 126 ? 126 : raw;
  return preCtxState <= 63 ? pack_state(63 - preCtxState, 0) : pack_state(preCtxState - 64, 1);
}

}  // namespace cabac

// codIOffset stands in the top nine bits of a 64-bit window and the bits that follow it in the
// stream stand below, so renormalisation is one shift and a refill comes about every 50 bits.
//
// The bytes must be followed by CabacEngine::kPadding bytes that may be read. Reads past the end
// repeat them and make position() larger than the data: the caller compares once in a while and
// bounds its own loops. Hot loops work on a copy of the engine, which then lives in registers:
// contexts are bytes, and a store to a byte may alias everything.
class CabacEngine {
 public:
  static constexpr size_t kPadding = 8;

  CabacEngine() = default;

  // 9.3.1.2: reads the first nine bits at the given byte of an RBSP.
  void start(std::span<const uint8_t> rbsp, int64_t first_byte) {
    begin_ = rbsp.data();
    size_ = static_cast<int64_t>(rbsp.size());
    next_ = first_byte;
    range_ = 510;
    value_ = 0;
    avail_ = -9;
    refill();
  }

  // DecodeDecision (9.3.3.2.1).
  [[gnu::always_inline]] int decision(uint8_t& state) {
    const uint32_t s = state;
    const cabac::StateRow& row = cabac::kStateRows[s];
    // qCodIRangeIdx = (codIRange >> 6) & 3 picks a byte of range_lps.
    const uint32_t range_lps = (row.range_lps >> ((range_ >> 3) & 24)) & 0xff;
    const uint32_t range_mps = range_ - range_lps;
    const uint64_t threshold = static_cast<uint64_t>(range_mps) << kWindowShift;
    if (value_ < threshold) [[likely]] {
      state = row.next_mps;
      const int shift = static_cast<int>((range_mps >> 8) ^ 1);
      range_ = range_mps << shift;
      shift_in(shift);
      return static_cast<int>(s & 1);
    }
    state = row.next_lps;
    value_ -= threshold;
    const int shift = std::countl_zero(range_lps) - 23;
    range_ = range_lps << shift;
    shift_in(shift);
    return static_cast<int>((s & 1) ^ 1);
  }

  // DecodeBypass (9.3.3.2.3).
  [[gnu::always_inline]] int bypass() {
    const uint64_t half = static_cast<uint64_t>(range_) << (kWindowShift - 1);
    const uint64_t take = value_ >= half ? ~uint64_t{0} : 0;
    value_ -= half & take;
    shift_in(1);
    return static_cast<int>(take & 1);
  }

  // DecodeTerminate (9.3.3.2). After a 1 the stream position is right behind the last bit that
  // belongs to the arithmetic code (rbsp_stop_one_bit at the end of a slice).
  int terminate() {
    range_ -= 2;
    if (value_ >= static_cast<uint64_t>(range_) << kWindowShift) return 1;
    const int shift = static_cast<int>((range_ >> 8) ^ 1);
    range_ <<= shift;
    shift_in(shift);
    return 0;
  }

  // Bits of the RBSP read so far: the nine of start() and one per read_bits(1) of 9.3.3.2.
  int64_t position() const { return next_ * 8 - avail_; }
  bool overrun() const { return position() > size_ * 8; }

 private:
  static constexpr int kWindowShift = 55;  // 64 - 9
  static constexpr int kMinimum = 8;       // more than any one step shifts in

  [[gnu::always_inline]] void shift_in(int shift) {
    value_ <<= shift;
    avail_ -= shift;
    if (avail_ < kMinimum) [[unlikely]]
      refill();
  }

  // Real bits in value_ are the top 9 + avail_; below them stand early bits of the next byte.
  [[gnu::always_inline]] void refill() {
    const int held = 9 + avail_;
    value_ |= load_be64(begin_ + (next_ < size_ ? next_ : size_)) >> held;
    const int bytes = (64 - held) >> 3;
    next_ += bytes;
    avail_ += 8 * bytes;
  }

  uint64_t value_ = 0;  // codIOffset << 55 | bits to come
  uint32_t range_ = 0;  // codIRange, 256..510 between bins
  int avail_ = 0;       // bits to come that are in value_ already
  int64_t next_ = 0;    // first byte not counted in avail_
  const uint8_t* begin_ = nullptr;
  int64_t size_ = 0;
};

}  // namespace cvdecode
