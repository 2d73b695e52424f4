// Reads an RBSP bit by bit: u(n), ue(v), se(v), te(v) of 7.2 and 9.1 (H.264 and H.265 alike).
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>

namespace cvdecode {

// Big-endian load of eight bytes; the caller guarantees that they exist.
inline uint64_t load_be64(const uint8_t* p) {
  uint64_t value;
  std::memcpy(&value, p, sizeof(value));
  if constexpr (std::endian::native == std::endian::little) value = __builtin_bswap64(value);
  return value;
}

// The bytes must outlive the reader; nothing outside the span is ever touched. Reads past the end
// give zeros and make overrun() true; codes that no standard allows make invalid() true. So a
// parser may read a whole header without a check and ask ok() once, as long as it bounds its loops.
class BitReader {
 public:
  BitReader() = default;
  explicit BitReader(std::span<const uint8_t> bytes)
      : begin_(bytes.data()), next_(begin_), end_(begin_ + bytes.size()) {}
  BitReader(std::span<const uint8_t> bytes, int64_t position) : BitReader(bytes) { seek(position); }

  // u(n), 0 <= n <= 32, most significant bit first.
  uint32_t u(int n) {
    if (n == 0) return 0;
    refill();
    const auto value = static_cast<uint32_t>(cache_ >> (64 - n));
    consume(n);
    return value;
  }
  bool flag() { return u(1) != 0; }

  // The next n bits without moving, 0 <= n <= 32.
  uint32_t peek(int n) {
    if (n == 0) return 0;
    refill();
    return static_cast<uint32_t>(cache_ >> (64 - n));
  }
  void skip(int64_t bits) {
    if (bits < avail_) {
      consume(static_cast<int>(bits));
    } else {
      seek(position() + bits);
    }
  }

  // ue(v), 0 .. 2^32 - 2. More than 31 leading zeros are no code: invalid() and 2^32 - 1.
  uint32_t ue() {
    refill();
    const int zeros = std::countl_zero(cache_);
    if (zeros <= 27) [[likely]] {  // 2 * 27 + 1 = 55 bits: one refill holds the whole code
      const int length = 2 * zeros + 1;
      const auto value = static_cast<uint32_t>(cache_ >> (64 - length)) - 1;
      consume(length);
      return value;
    }
    if (zeros > 31) {
      invalid_ = true;
      consume(32);
      return UINT32_MAX;
    }
    consume(zeros);
    return u(zeros + 1) - 1;
  }
  // se(v) by Table 9-3: 0, 1, -1, 2, -2, ...
  int32_t se() {
    const uint32_t code = ue();
    const auto magnitude = static_cast<int32_t>((code >> 1) + (code & 1));
    return (code & 1) != 0 ? magnitude : -magnitude;
  }
  // te(v) of 9.1 for a syntax element in the range 0 .. max.
  uint32_t te(uint32_t max) { return max > 1 ? ue() : (flag() ? 0u : 1u); }

  // Hot loops: after refill() at least 56 bits lie left-justified in cache(), real or zeros.
  void refill() {
    if (avail_ >= 56) return;
    if (end_ - next_ >= 8) [[likely]] {
      cache_ |= load_be64(next_) >> avail_;
      next_ += (63 - avail_) >> 3;
      avail_ |= 56;
    } else {
      refill_at_end();
    }
  }
  uint64_t cache() const { return cache_; }
  // Drops 0 <= n <= 56 bits that a refill() has brought in.
  void consume(int n) {
    cache_ <<= n;
    avail_ -= n;
  }

  // Bits read so far.
  int64_t position() const { return (next_ - begin_) * 8 + padding_ - avail_; }
  int64_t size_bits() const { return (end_ - begin_) * 8; }
  int64_t bits_left() const { return size_bits() - position(); }
  bool overrun() const { return position() > size_bits(); }
  bool invalid() const { return invalid_; }
  bool ok() const { return !invalid_ && !overrun(); }

  bool byte_aligned() const { return (position() & 7) == 0; }
  void align_to_byte() { skip(-position() & 7); }
  // Any position >= 0; beyond the end it reads zeros and overrun() is true.
  void seek(int64_t position) {
    const int64_t whole = position >> 3;
    const int64_t inside = whole < end_ - begin_ ? whole : end_ - begin_;
    next_ = begin_ + inside;
    padding_ = (whole - inside) * 8;
    cache_ = 0;
    avail_ = 0;
    if ((position & 7) != 0) {
      refill();
      consume(static_cast<int>(position & 7));
    }
  }
  std::span<const uint8_t> bytes() const { return {begin_, end_}; }

  // 7.2: false where only rbsp_trailing_bits (and cabac_zero_words) are left.
  bool more_rbsp_data() const { return position() < stop_bit(bytes()); }

  // Place of rbsp_stop_one_bit, the last 1 of the bytes; -1 where there is none.
  static int64_t stop_bit(std::span<const uint8_t> rbsp) {
    size_t size = rbsp.size();
    while (size > 0 && rbsp[size - 1] == 0) --size;
    if (size == 0) return -1;
    return static_cast<int64_t>(size) * 8 - 1 - std::countr_zero(rbsp[size - 1]);
  }

 private:
  // Fewer than eight bytes are left: byte by byte, then zeros.
  void refill_at_end() {
    while (avail_ < 56) {
      if (next_ < end_) {
        cache_ |= static_cast<uint64_t>(*next_++) << (56 - avail_);
      } else {
        padding_ += 8;
      }
      avail_ += 8;
    }
  }

  const uint8_t* begin_ = nullptr;
  const uint8_t* next_ = nullptr;  // first byte that is not counted in avail_
  const uint8_t* end_ = nullptr;
  uint64_t cache_ = 0;   // next bits, left-justified; bits below avail_ may be early bits of *next_
  int avail_ = 0;        // valid bits in cache_
  int64_t padding_ = 0;  // zero bits handed out beyond the end
  bool invalid_ = false;
};

}  // namespace cvdecode
