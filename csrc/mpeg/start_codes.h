// Start codes 00 00 01 xx of MPEG-1, MPEG-2 and MPEG-4 part 2.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>

namespace cvdecode::mpeg {

// Place of the next 00 00 01 with a byte behind it, at or after `from`; data.size() = none.
inline size_t find_start_code(std::span<const uint8_t> data, size_t from) {
  while (from + 3 < data.size()) {
    // The 01 is the rarest byte of the three.
    const auto* one =
        static_cast<const uint8_t*>(std::memchr(data.data() + from + 2, 1, data.size() - from - 3));
    if (one == nullptr) break;
    const auto at = static_cast<size_t>(one - data.data());
    if (data[at - 1] == 0 && data[at - 2] == 0) return at - 2;
    from = at - 1;
  }
  return data.size();
}

}  // namespace cvdecode::mpeg
