// What a launch on a device works on, and what each of its threads does. The functions are plain
// C++: launch.cu calls them from CUDA threads, emulate.cc from loops over the same grid.
//
// The pictures of all clips of a batch whose sources are complete form one launch: z picks the
// picture, (x, y) the place in it. A thread of the luma grid does four samples of a row: they lie
// in one 4x4 block, so they have one vector, their sources are neighbours too, and each plane is
// written by one aligned store (8 bytes of int16, 16 of int32); 32 of them write whole lines.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <stdexcept>
#include <string>

#include "kernels/cuda/place.h"
#include "kernels/trace_step.h"

namespace cvdecode::kernels {

// The motion of a 4x4 block in 5 bytes: a vector, and its source or one of these.
inline constexpr int kCodeStop = 255;
inline constexpr int kCodeBroken = 254;
inline constexpr int kCodeCut = 253;
inline constexpr int kMostSources = 253;

// One picture of one clip. Every pointer is one of the device.
struct GridStep {
  TraceJob job;                       // job.blocks is null
  const uint32_t* vectors = nullptr;  // (h / 4, w / 4): x | y << 16; null: every trace ends here
  const uint8_t* codes = nullptr;     // (h / 4, w / 4)
  uint64_t* clipped = nullptr;        // sums clipped to int16, of the clip
};

// Pixels of a picture in which traces end.
struct EndPixels {
  int32_t end = 0;               // how Map::end names it
  const uint8_t* rgb = nullptr;  // (3, H, W)
};

// residual="recon_diff" of one frame.
struct DiffStep {
  Map map;  // end, mask, at_x, at_y; coded size
  int coded_width = 0;
  int crop_left = 0, crop_top = 0;
  int width = 0, height = 0;        // display size, as rgb and out
  const uint8_t* here = nullptr;    // (3, H, W)
  const EndPixels* ends = nullptr;  // ascending by `end`
  int32_t end_count = 0;
  int16_t* out = nullptr;  // (3, H, W)
};

// Pictures that are not presented have no index to tell.
struct HideStep {
  int32_t* end = nullptr;
  int64_t count = 0;
};

// Adds to a counter that many threads share.
CVDECODE_HD inline void count_up(uint64_t* counter, int64_t n) {
  if (n == 0) return;
#ifdef __CUDA_ARCH__
  atomicAdd(reinterpret_cast<unsigned long long*>(counter), static_cast<unsigned long long>(n));
#else
  *counter += static_cast<uint64_t>(n);
#endif
}

CVDECODE_HD inline BlockMotion unpack_block(const GridStep& step, size_t at) {
  BlockMotion block;
  const int code = step.codes[at];
  if (code >= kMostSources) {
    block.source =
        code == kCodeStop ? kSourceStop : (code == kCodeCut ? kSourceCut : kSourceBroken);
    return block;
  }
  const uint32_t vector = step.vectors[at];
  block.x = static_cast<int16_t>(vector & 0xFFFFU);
  block.y = static_cast<int16_t>(vector >> 16);
  block.source = code;
  return block;
}

// A GPU faults on a word that does not lie on its boundary, a CPU does not: the emulation must.
CVDECODE_HD inline void check_boundary(const void* at, size_t bytes) {
#ifndef __CUDA_ARCH__
  if (reinterpret_cast<uintptr_t>(at) % bytes != 0) {
    throw std::logic_error("a thread reads or writes " + std::to_string(bytes) +
                           " bytes that do not lie on their boundary");
  }
#else
  static_cast<void>(at);
  static_cast<void>(bytes);
#endif
}

// Four neighbours of a plane in one word, and in one load where they lie on its boundary.
struct Words {
  static CVDECODE_HD uint64_t load8(const void* at) {
    check_boundary(at, 8);
#ifdef __CUDA_ARCH__
    return *static_cast<const uint64_t*>(at);
#else
    uint64_t word;
    std::memcpy(&word, at, sizeof(word));
    return word;
#endif
  }
  static CVDECODE_HD uint32_t load4(const void* at) {
    check_boundary(at, 4);
#ifdef __CUDA_ARCH__
    return *static_cast<const uint32_t*>(at);
#else
    uint32_t word;
    std::memcpy(&word, at, sizeof(word));
    return word;
#endif
  }
  static CVDECODE_HD void store8(void* at, uint64_t word) {
    check_boundary(at, 8);
#ifdef __CUDA_ARCH__
    *static_cast<uint64_t*>(at) = word;
#else
    std::memcpy(at, &word, sizeof(word));
#endif
  }
  static CVDECODE_HD void store4(void* at, uint32_t word) {
    check_boundary(at, 4);
#ifdef __CUDA_ARCH__
    *static_cast<uint32_t*>(at) = word;
#else
    std::memcpy(at, &word, sizeof(word));
#endif
  }

  // Elements x .. x + 3 of a row that starts on a boundary of four; all inside the row. Two
  // aligned loads and a shift where x is no multiple of four.
  static CVDECODE_HD uint64_t run16(const void* row, int x) {
    const auto* base = static_cast<const char*>(row) + (x & ~3) * 2;
    const int shift = 16 * (x & 3);
    const uint64_t low = load8(base);
    return shift == 0 ? low : low >> shift | load8(base + 8) << (64 - shift);
  }
  static CVDECODE_HD uint32_t run8(const uint8_t* row, int x) {
    const uint8_t* base = row + (x & ~3);
    const int shift = 8 * (x & 3);
    const uint32_t low = load4(base);
    return shift == 0 ? low : low >> shift | load4(base + 4) << (32 - shift);
  }
  static CVDECODE_HD int16_t lane16(uint64_t word, int i) {
    return static_cast<int16_t>(word >> (16 * i) & 0xFFFFU);
  }
  static CVDECODE_HD uint64_t place16(int value, int i) {
    return static_cast<uint64_t>(static_cast<uint16_t>(value)) << (16 * i);
  }
};

// Samples x .. x + 3 of row y of a map, all inside the picture.
CVDECODE_HD inline void load_cells(const Map& map, int x, int y, int stride, Cell cells[4]) {
  const size_t row = cell_index(0, y, stride);
  const uint64_t xs = Words::run16(map.x + row, x);
  const uint64_t ys = Words::run16(map.y + row, x);
  const uint32_t masks = Words::run8(map.mask + row, x);
  const uint64_t at_x = map.at_x == nullptr ? 0 : Words::run16(map.at_x + row, x);
  const uint64_t at_y = map.at_y == nullptr ? 0 : Words::run16(map.at_y + row, x);
  const uint64_t hops = map.hops == nullptr ? 0 : Words::run16(map.hops + row, x);
  const uint64_t residual = map.residual_y == nullptr ? 0 : Words::run16(map.residual_y + row, x);
  const int32_t* ends = map.end + row + x;
  for (int i = 0; i < 4; ++i) {
    Cell& cell = cells[i];
    cell.x = Words::lane16(xs, i);
    cell.y = Words::lane16(ys, i);
    cell.end = ends[i];
    cell.mask = static_cast<uint8_t>(masks >> (8 * i) & 0xFFU);
    cell.at_x = Words::lane16(at_x, i);
    cell.at_y = Words::lane16(at_y, i);
    cell.hops = static_cast<uint16_t>(Words::lane16(hops, i));
    cell.residual = Words::lane16(residual, i);
  }
}

CVDECODE_HD inline void store_cells(const Map& out, size_t at, const Cell cells[4]) {
  uint64_t xs = 0, ys = 0, at_x = 0, at_y = 0, hops = 0, residual = 0;
  uint32_t masks = 0;
  for (int i = 0; i < 4; ++i) {
    const Cell& cell = cells[i];
    xs |= Words::place16(cell.x, i);
    ys |= Words::place16(cell.y, i);
    at_x |= Words::place16(cell.at_x, i);
    at_y |= Words::place16(cell.at_y, i);
    hops |= Words::place16(cell.hops, i);
    residual |= Words::place16(cell.residual, i);
    masks |= static_cast<uint32_t>(cell.mask) << (8 * i);
  }
  Words::store8(out.x + at, xs);
  Words::store8(out.y + at, ys);
  Words::store4(out.mask + at, masks);
  check_boundary(out.end + at, 16);
#ifdef __CUDA_ARCH__
  *reinterpret_cast<int4*>(out.end + at) =
      make_int4(cells[0].end, cells[1].end, cells[2].end, cells[3].end);
#else
  for (int i = 0; i < 4; ++i) out.end[at + static_cast<size_t>(i)] = cells[i].end;
#endif
  if (out.at_x != nullptr) {
    Words::store8(out.at_x + at, at_x);
    Words::store8(out.at_y + at, at_y);
  }
  if (out.hops != nullptr) Words::store8(out.hops + at, hops);
  if (out.residual_y != nullptr) Words::store8(out.residual_y + at, residual);
}

// Luma grid: x counts blocks, y rows of samples.
CVDECODE_HD inline void trace_luma(const GridStep* steps, Place at) {
  const GridStep& step = steps[at.z];
  const TraceJob& job = step.job;
  const int w4 = job.width / 4;
  if (at.x >= w4 || at.y >= job.height) return;
  const int x = 4 * at.x;
  const size_t to = cell_index(x, at.y, job.width);
  Cell cells[4];
  if (step.vectors == nullptr) {
    for (int i = 0; i < 4; ++i) cells[i] = end_cell(job.here, kMaskAnchor, x + i, at.y);
    store_cells(job.out, to, cells);
    return;
  }
  const BlockMotion block = unpack_block(step, cell_index(at.x, at.y / 4, w4));
  int64_t clipped = 0;
  const int from = x + luma_shift(block.x);
  if (block.source >= 0 && !job.sources[block.source].is_end && from >= 0 &&
      from + 4 <= job.width) {
    load_cells(job.sources[block.source].map, from, source_luma(at.y, block.y, job.height),
               job.width, cells);
    const uint64_t residual = job.residual_y == nullptr ? 0 : Words::load8(job.residual_y + to);
    for (int i = 0; i < 4; ++i) {
      cells[i] = next_cell(cells[i], block, Words::lane16(residual, i), clipped);
    }
  } else {
    for (int i = 0; i < 4; ++i) cells[i] = luma_cell(job, block, x + i, at.y, clipped);
  }
  store_cells(job.out, to, cells);
  count_up(step.clipped, clipped);
}

// Chroma grid: x counts blocks (two samples), y rows of chroma samples.
CVDECODE_HD inline void trace_chroma(const GridStep* steps, Place at) {
  const GridStep& step = steps[at.z];
  const TraceJob& job = step.job;
  const int w4 = job.width / 4;
  if (at.x >= w4 || at.y >= job.height / 2) return;
  const int x = 2 * at.x;
  const size_t to = cell_index(x, at.y, job.width / 2);
  ChromaCell cells[2];
  int64_t clipped = 0;
  if (step.vectors == nullptr) {
    for (ChromaCell& cell : cells) cell.mask = kMaskAnchor;
  } else {
    const BlockMotion block = unpack_block(step, cell_index(at.x, at.y / 2, w4));
    for (int i = 0; i < 2; ++i) cells[i] = chroma_cell(job, block, x + i, at.y, clipped);
  }
  Words::store4(job.out.residual_u + to, static_cast<uint32_t>(Words::place16(cells[0].u, 0) |
                                                               Words::place16(cells[1].u, 1)));
  Words::store4(job.out.residual_v + to, static_cast<uint32_t>(Words::place16(cells[0].v, 0) |
                                                               Words::place16(cells[1].v, 1)));
  job.out.mask_uv[to] = cells[0].mask;
  job.out.mask_uv[to + 1] = cells[1].mask;
  count_up(step.clipped, clipped);
}

// 4x4 grid: one block.
CVDECODE_HD inline void trace_blocks(const GridStep* steps, Place at) {
  const GridStep& step = steps[at.z];
  const TraceJob& job = step.job;
  const int w4 = job.width / 4;
  if (at.x >= w4 || at.y >= job.height / 4) return;
  const size_t to = cell_index(at.x, at.y, w4);
  BlockCell cell;
  int64_t clipped = 0;
  if (step.vectors == nullptr) {
    cell.word = pack_cell(0, 0, job.here, kMaskAnchor);
  } else {
    cell = block_cell(job, unpack_block(step, to), at.x, at.y, clipped);
  }
  store_cell(job.out, to, cell);
  count_up(step.clipped, clipped);
}

// Display grid: one pixel.
CVDECODE_HD inline void recon_diff(const DiffStep* steps, Place at) {
  const DiffStep& step = steps[at.z];
  if (at.x >= step.width || at.y >= step.height) return;
  const size_t coded = cell_index(at.x + step.crop_left, at.y + step.crop_top, step.coded_width);
  const size_t here = cell_index(at.x, at.y, step.width);
  const size_t samples = cell_index(0, step.height, step.width);
  if (is_void(step.map.mask[coded])) {
    for (size_t c = 0; c < 3; ++c) step.out[c * samples + here] = 0;
    return;
  }
  const int32_t end = step.map.end[coded];
  int low = 0;
  for (int high = step.end_count - 1; low < high;) {
    const int middle = (low + high) / 2;
    if (step.ends[middle].end < end) {
      low = middle + 1;
    } else {
      high = middle;
    }
  }
  // Only the display area has pixels: positions outside it move to its nearest sample.
  const size_t from =
      cell_index(clamp_to(step.map.at_x[coded] - step.crop_left, step.width),
                 clamp_to(step.map.at_y[coded] - step.crop_top, step.height), step.width);
  const uint8_t* rgb = step.ends[low].rgb;
  for (size_t c = 0; c < 3; ++c) {
    step.out[c * samples + here] =
        static_cast<int16_t>(step.here[c * samples + here] - rgb[c * samples + from]);
  }
}

// Elements of a row of threads.
inline constexpr int kHideRow = 1 << 14;

CVDECODE_HD inline void hide_ends(const HideStep* steps, Place at) {
  const HideStep& step = steps[at.z];
  const auto i = static_cast<int64_t>(cell_index(at.x, at.y, kHideRow));
  if (at.x < kHideRow && i < step.count && step.end[i] < -1) step.end[i] = -2;
}

}  // namespace cvdecode::kernels
