// The per-pixel definition of a hop (docs/accumulation.md) for one lane: plain C++ and one CUDA
// thread. trace_lanes-inl.h holds the same arithmetic for many lanes.
#pragma once

#include <cstdint>

#ifdef __CUDACC__
#define CVDECODE_HD __host__ __device__
#else
#define CVDECODE_HD
#endif

namespace cvdecode::kernels {

CVDECODE_HD inline int clamp_to(int value, int size) {
  return value < 0 ? 0 : (value >= size ? size - 1 : value);
}

// pi(p, v) = clamp(p + ((v + 2) >> 2)): the one place where a vector is rounded.
CVDECODE_HD inline int luma_shift(int v) { return (v + 2) >> 2; }
CVDECODE_HD inline int chroma_shift(int v) { return (v + 4) >> 3; }
CVDECODE_HD inline int source_luma(int at, int v, int size) {
  return clamp_to(at + luma_shift(v), size);
}
CVDECODE_HD inline int source_chroma(int at, int v, int size) {
  return clamp_to(at + chroma_shift(v), size);
}
// grid=4: the block that holds pi(centre of block b, v); `size` in luma samples.
CVDECODE_HD inline int source_block(int b, int v, int size) {
  return clamp_to(4 * b + 2 + luma_shift(v), size) >> 2;
}

CVDECODE_HD inline int16_t saturate16(int value, int64_t& clipped) {
  const int bounded = value > 32767 ? 32767 : (value < -32768 ? -32768 : value);
  clipped += bounded != value;
  return static_cast<int16_t>(bounded);
}
// E_t(p) = -v + E_r(pi(p, v)).
CVDECODE_HD inline int16_t step_displacement(int e, int v, int64_t& clipped) {
  return saturate16(e - v, clipped);
}
// R_t(p) = res_t(p) + R_r(pi(p, v)).
CVDECODE_HD inline int16_t step_residual(int r, int res, int64_t& clipped) {
  return saturate16(r + res, clipped);
}
CVDECODE_HD inline uint16_t step_hops(uint16_t h) {
  return static_cast<uint16_t>(h == 65535 ? h : h + 1);
}
// Broken (2) and cut (3) traces carry nothing: displacement 0, residual 0, end -1.
CVDECODE_HD inline bool is_void(uint8_t mask) { return mask == 2 || mask == 3; }

}  // namespace cvdecode::kernels
