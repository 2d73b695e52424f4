// The bit reader of slice data coded without CABAC. Like BitReader, but small enough to live in
// registers while a macroblock is parsed: no call, no address of it is ever taken.
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <span>

#include "bitstream/bit_reader.h"

namespace cvdecode::h264 {

// The bytes must be followed by kPadding readable bytes. Reads past the end repeat them and make
// position() larger than the data: the caller compares once in a while and bounds its own loops.
class CavlcReader {
 public:
  static constexpr size_t kPadding = 8;

  CavlcReader() = default;
  CavlcReader(std::span<const uint8_t> bytes, int64_t position)
      : begin_(bytes.data()), size_(static_cast<int64_t>(bytes.size())) {
    seek(position);
  }

  // After refill() the next 56 bits or more lie left-justified in cache().
  [[gnu::always_inline]] void refill() {
    cache_ |= load_be64(begin_ + (next_ < size_ ? next_ : size_)) >> avail_;
    next_ += (63 - avail_) >> 3;
    avail_ |= 56;
  }
  uint64_t cache() const { return cache_; }
  // Drops 0 <= n <= 56 bits that a refill() has brought in.
  [[gnu::always_inline]] void consume(int n) {
    cache_ <<= n;
    avail_ -= n;
  }

  // u(n), 1 <= n <= 32.
  [[gnu::always_inline]] uint32_t u(int n) {
    refill();
    const auto value = static_cast<uint32_t>(cache_ >> (64 - n));
    consume(n);
    return value;
  }
  [[gnu::always_inline]] bool flag() { return u(1) != 0; }
  // ue(v); more than 27 leading zeros are larger than any syntax element here: UINT32_MAX.
  [[gnu::always_inline]] uint32_t ue() {
    refill();
    const int zeros = std::countl_zero(cache_ | 1);
    if (zeros > 27) [[unlikely]]
      return UINT32_MAX;
    const int length = 2 * zeros + 1;
    const auto value = static_cast<uint32_t>(cache_ >> (64 - length)) - 1;
    consume(length);
    return value;
  }
  // se(v) by Table 9-3: 0, 1, -1, 2, -2, ... Out of range: INT32_MIN.
  [[gnu::always_inline]] int32_t se() {
    const uint32_t code = ue();
    if (code == UINT32_MAX) [[unlikely]]
      return INT32_MIN;
    const auto magnitude = static_cast<int32_t>((code + 1) >> 1);
    return (code & 1) != 0 ? magnitude : -magnitude;
  }
  // te(v) of 9.1 for a syntax element in the range 0 .. max.
  [[gnu::always_inline]] uint32_t te(uint32_t max) { return max > 1 ? ue() : u(1) ^ 1; }

  int64_t position() const { return next_ * 8 - avail_; }
  void seek(int64_t position) {
    next_ = position >> 3;
    cache_ = 0;
    avail_ = 0;
    refill();
    consume(static_cast<int>(position & 7));
  }

 private:
  uint64_t cache_ = 0;  // next bits; below avail_ may stand early bits of the next byte
  int avail_ = 0;       // valid bits in cache_
  int64_t next_ = 0;    // first byte that is not counted in avail_
  const uint8_t* begin_ = nullptr;
  int64_t size_ = 0;
};

}  // namespace cvdecode::h264
