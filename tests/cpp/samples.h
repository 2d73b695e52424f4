// A read-only picture plane whose reads are clamped to the coded area (8.4.2.2.1).
#pragma once

#include <algorithm>
#include <cstdint>

namespace oracle {

struct Samples {
  const uint8_t* data = nullptr;
  int width = 0;
  int height = 0;

  int at(int x, int y) const {  // inside the picture
    return data[static_cast<int64_t>(y) * width + x];
  }
  int clamped(int x, int y) const {
    return at(std::clamp(x, 0, width - 1), std::clamp(y, 0, height - 1));
  }
};

inline int clip1(int v) { return std::clamp(v, 0, 255); }
inline int clip3(int lo, int hi, int v) { return std::clamp(v, lo, hi); }

}  // namespace oracle
