// Where a vector points (docs/accumulation.md), and the arithmetic of a single lane: plain C++ and
// one CUDA thread.
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
// grid=4: pi of the centre of block b lies in block clamp(b + block_shift(v)), because the centre
// is sample 4 b + 2 and the picture is whole blocks.
CVDECODE_HD inline int block_shift(int v) { return (v + 10) >> 4; }  // = (2 + luma_shift(v)) >> 2

CVDECODE_HD inline int source_luma(int at, int v, int size) {
  return clamp_to(at + luma_shift(v), size);
}
CVDECODE_HD inline int source_chroma(int at, int v, int size) {
  return clamp_to(at + chroma_shift(v), size);
}
// Straight from the definition; `size` in luma samples.
CVDECODE_HD inline int source_block(int b, int v, int size) {
  return clamp_to(4 * b + 2 + luma_shift(v), size) >> 2;
}

// Broken (2) and cut (3) traces carry nothing: displacement 0, residual 0, end -1.
CVDECODE_HD inline bool is_void(uint8_t mask) { return mask == 2 || mask == 3; }

struct OneLane {
  CVDECODE_HD static int saturate(int value, bool dead, int64_t& clipped) {
    const int bounded = value > 32767 ? 32767 : (value < -32768 ? -32768 : value);
    if (bounded != value && !dead) ++clipped;
    return bounded;
  }
  CVDECODE_HD int sub_sat(int a, int b, bool dead, int64_t& clipped) const {
    return saturate(a - b, dead, clipped);
  }
  CVDECODE_HD int add_sat(int a, int b, bool dead, int64_t& clipped) const {
    return saturate(a + b, dead, clipped);
  }
  CVDECODE_HD int add_hop(int h) const { return h == 65535 ? h : h + 1; }
  CVDECODE_HD int zero_where(bool dead, int value) const { return dead ? 0 : value; }
};

// PackedCell: x, y, mask and end of a cell of grid=4.
CVDECODE_HD inline uint64_t pack_cell(int x, int y, int32_t end, uint8_t mask) {
  return static_cast<uint64_t>(static_cast<uint16_t>(x)) |
         static_cast<uint64_t>(static_cast<uint16_t>(y)) << 16 | static_cast<uint64_t>(mask) << 32 |
         static_cast<uint64_t>(static_cast<uint32_t>(end) & 0xFFFFFFU) << 40;
}
CVDECODE_HD inline int16_t cell_x(uint64_t cell) { return static_cast<int16_t>(cell); }
CVDECODE_HD inline int16_t cell_y(uint64_t cell) { return static_cast<int16_t>(cell >> 16); }
CVDECODE_HD inline uint8_t cell_mask(uint64_t cell) { return static_cast<uint8_t>(cell >> 32); }
CVDECODE_HD inline int32_t cell_end(uint64_t cell) {
  return static_cast<int32_t>(static_cast<int64_t>(cell) >> 40);
}

}  // namespace cvdecode::kernels
