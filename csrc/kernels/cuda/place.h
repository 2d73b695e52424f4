// Where in a launch a thread stands, and how large its blocks are.
#pragma once

namespace cvdecode::kernels {

struct Place {
  int x = 0, y = 0, z = 0;
};

inline constexpr int kBlockX = 32;
inline constexpr int kBlockY = 8;

}  // namespace cvdecode::kernels
