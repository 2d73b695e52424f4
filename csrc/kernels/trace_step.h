// One cell of a new map, from the job of its picture: the definition (docs/accumulation.md) that
// the scalar build, the threads of a CUDA launch and their emulation on the CPU all call. The
// arithmetic is trace_cell-inl.h's, where a vector points is trace_pixel.h's.
#pragma once

#include <cstddef>
#include <cstdint>

#include "kernels/trace.h"
#include "kernels/trace_cell-inl.h"
#include "kernels/trace_pixel.h"

namespace cvdecode::kernels {

// A sample of a map, with all that a map can carry on the luma grid.
struct Cell {
  int x = 0, y = 0;  // displacement
  int32_t end = -1;
  uint8_t mask = kMaskBroken;
  int16_t at_x = 0, at_y = 0;
  int hops = 0;
  int residual = 0;
};

CVDECODE_HD inline size_t cell_index(int x, int y, int stride) {
  return static_cast<size_t>(y) * static_cast<size_t>(stride) + static_cast<size_t>(x);
}

// A picture in which every trace ends, at sample (x, y).
CVDECODE_HD inline Cell end_cell(int32_t end, uint8_t mask, int x, int y) {
  Cell cell;
  cell.end = end;
  cell.mask = mask;
  cell.at_x = static_cast<int16_t>(x);
  cell.at_y = static_cast<int16_t>(y);
  return cell;
}

// What lies at sample (x, y) of a source.
CVDECODE_HD inline Cell source_cell(const Source& source, int x, int y, int stride) {
  if (source.is_end) return end_cell(source.end, source.mask, x, y);
  const size_t at = cell_index(x, y, stride);
  const Map& map = source.map;
  Cell cell;
  cell.x = map.x[at];
  cell.y = map.y[at];
  cell.end = map.end == nullptr ? -1 : map.end[at];
  cell.mask = map.mask == nullptr ? uint8_t{kMaskAnchor} : map.mask[at];
  if (map.at_x != nullptr) {
    cell.at_x = map.at_x[at];
    cell.at_y = map.at_y[at];
  }
  if (map.hops != nullptr) cell.hops = map.hops[at];
  if (map.residual_y != nullptr) cell.residual = map.residual_y[at];
  return cell;
}

// A trace that does not leave the picture.
CVDECODE_HD inline Cell staying_cell(int32_t source, int32_t here, int x, int y) {
  const uint8_t mask = mask_of_source(source);
  return is_void(mask) ? end_cell(-1, mask, 0, 0) : end_cell(here, mask, x, y);
}

// One hop further than `from`: `block` led there, `residual` was added here.
CVDECODE_HD inline Cell next_cell(const Cell& from, const BlockMotion& block, int residual,
                                  int64_t& clipped) {
  const OneLane lane;
  const bool dead = is_void(from.mask);
  Cell cell = from;
  cell.x = next_displacement(lane, from.x, int{block.x}, dead, clipped);
  cell.y = next_displacement(lane, from.y, int{block.y}, dead, clipped);
  cell.hops = next_hops(lane, from.hops, dead);
  cell.residual = next_residual(lane, from.residual, residual, dead, clipped);
  if (dead) {
    cell.end = -1;
    cell.at_x = cell.at_y = 0;
  }
  return cell;
}

CVDECODE_HD inline void store_cell(const Map& out, size_t at, const Cell& cell) {
  out.x[at] = static_cast<int16_t>(cell.x);
  out.y[at] = static_cast<int16_t>(cell.y);
  if (out.end != nullptr) out.end[at] = cell.end;
  if (out.mask != nullptr) out.mask[at] = cell.mask;
  if (out.at_x != nullptr) {
    out.at_x[at] = cell.at_x;
    out.at_y[at] = cell.at_y;
  }
  if (out.hops != nullptr) out.hops[at] = static_cast<uint16_t>(cell.hops);
  if (out.residual_y != nullptr) out.residual_y[at] = static_cast<int16_t>(cell.residual);
}

// Sample (x, y) of the luma grid, which lies in `block`.
CVDECODE_HD inline Cell luma_cell(const TraceJob& job, const BlockMotion& block, int x, int y,
                                  int64_t& clipped) {
  if (block.source < 0) return staying_cell(block.source, job.here, x, y);
  const Cell from = source_cell(job.sources[block.source], source_luma(x, block.x, job.width),
                                source_luma(y, block.y, job.height), job.width);
  const int residual = job.residual_y == nullptr ? 0 : job.residual_y[cell_index(x, y, job.width)];
  return next_cell(from, block, residual, clipped);
}

struct ChromaCell {
  uint8_t mask = kMaskBroken;
  int u = 0, v = 0;
};

CVDECODE_HD inline void store_cell(const Map& out, size_t at, const ChromaCell& cell) {
  if (out.mask_uv != nullptr) out.mask_uv[at] = cell.mask;
  out.residual_u[at] = static_cast<int16_t>(cell.u);
  out.residual_v[at] = static_cast<int16_t>(cell.v);
}

// Sample (x, y) of the chroma grid; `block` is the co-located one.
CVDECODE_HD inline ChromaCell chroma_cell(const TraceJob& job, const BlockMotion& block, int x,
                                          int y, int64_t& clipped) {
  ChromaCell cell;
  if (block.source < 0) {
    cell.mask = mask_of_source(block.source);
    return cell;
  }
  const int width = job.width / 2;
  const Source& source = job.sources[block.source];
  if (source.is_end) {
    cell.mask = source.mask;
  } else {
    const size_t from = cell_index(source_chroma(x, block.x, width),
                                   source_chroma(y, block.y, job.height / 2), width);
    cell.mask = source.map.mask_uv == nullptr ? uint8_t{kMaskAnchor} : source.map.mask_uv[from];
    cell.u = source.map.residual_u[from];
    cell.v = source.map.residual_v[from];
  }
  const size_t at = cell_index(x, y, width);
  const bool dead = is_void(cell.mask);
  cell.u = next_residual(OneLane{}, cell.u, int{job.residual_u[at]}, dead, clipped);
  cell.v = next_residual(OneLane{}, cell.v, int{job.residual_v[at]}, dead, clipped);
  return cell;
}

// grid=4: a word (PackedCell), and the steps taken.
struct BlockCell {
  uint64_t word = 0;
  int hops = 0;
};

CVDECODE_HD inline void store_cell(const Map& out, size_t at, const BlockCell& cell) {
  if (out.packed != nullptr) out.packed[at] = cell.word;
  if (out.hops != nullptr) out.hops[at] = static_cast<uint16_t>(cell.hops);
  if (out.x == nullptr) return;
  out.x[at] = cell_x(cell.word);
  out.y[at] = cell_y(cell.word);
  out.end[at] = cell_end(cell.word);
  out.mask[at] = cell_mask(cell.word);
}

// Block (x, y) of the 4x4 grid.
CVDECODE_HD inline BlockCell block_cell(const TraceJob& job, const BlockMotion& block, int x, int y,
                                        int64_t& clipped) {
  BlockCell cell;
  if (block.source < 0) {
    const uint8_t mask = mask_of_source(block.source);
    cell.word = pack_cell(0, 0, is_void(mask) ? -1 : job.here, mask);
    return cell;
  }
  const Source& source = job.sources[block.source];
  uint64_t from = 0;
  int hops = 0;
  if (source.is_end) {
    from = pack_cell(0, 0, source.end, source.mask);
  } else {
    const size_t at = cell_index(source_block(x, block.x, job.width),
                                 source_block(y, block.y, job.height), job.width / 4);
    from = source.map.packed[at];
    if (job.out.hops != nullptr) hops = source.map.hops[at];
  }
  cell.word = next_cell(OneLane{}, from, block.x, block.y, clipped);
  cell.hops = next_hops(OneLane{}, hops, is_void(cell_mask(cell.word)));
  return cell;
}

}  // namespace cvdecode::kernels
