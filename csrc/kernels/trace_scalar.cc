// The reference build of the trace: one pixel at a time, nothing clever. Every other build is
// tested against it, and it against a literal NumPy version of docs/accumulation.md.
#include <algorithm>
#include <cstddef>
#include <cstdlib>

#include "kernels/trace.h"
#include "kernels/trace_step.h"

namespace cvdecode::kernels {
namespace {

int select_run(const SelectJob& job, int32_t& longest) {
  int n = 0;
  for (; n < job.count; ++n) {
    if (job.ref0[n] != job.ref0[0] || job.ref1[n] != job.ref1[0]) break;
    BlockMotion& block = job.out[n];
    block.x = job.x == nullptr ? int16_t{0} : job.x[n];
    block.y = job.y == nullptr ? int16_t{0} : job.y[n];
    block.source = job.source;
    longest = std::max({longest, std::abs(int32_t{block.x}), std::abs(int32_t{block.y})});
  }
  return n;
}

// Of the macroblock whose first sample is `first`.
Shared shared_of(const Map& map, size_t first, int stride) {
  Shared shared{shared_end(map.end[first], map.mask[first]),
                shared_move(map.x[first], map.y[first])};
  for (int y = 0; y < 16; ++y) {
    for (int x = 0; x < 16; ++x) {
      const size_t at = first + cell_index(x, y, stride);
      if (shared_end(map.end[at], map.mask[at]) != shared.end) shared.end = kMany;
      if (shared_move(map.x[at], map.y[at]) != shared.move) shared.move = kMany;
    }
  }
  return shared;
}

int64_t trace_pixels(const TraceJob& job) {
  int64_t clipped = 0;
  for (int y = 4 * job.top; y < 4 * job.end_row(); ++y) {
    const BlockMotion* row = job.blocks + static_cast<ptrdiff_t>(y / 4 - job.top) * (job.width / 4);
    for (int x = 0; x < job.width; ++x) {
      store_cell(job.out, cell_index(x, y, job.width), luma_cell(job, row[x / 4], x, y, clipped));
    }
  }
  if (job.out.shared == nullptr) return clipped;
  for (int y = job.top / 4; y < job.end_row() / 4; ++y) {
    for (int x = 0; x < job.width / 16; ++x) {
      const size_t at = cell_index(16 * x, 16 * y, job.width);
      job.out.shared[cell_index(x, y, job.width / 16)] = shared_of(job.out, at, job.width);
    }
  }
  return clipped;
}

int64_t trace_chroma(const TraceJob& job) {
  int64_t clipped = 0;
  const int width = job.width / 2;
  for (int y = 2 * job.top; y < 2 * job.end_row(); ++y) {
    // A 4x4 luma block is 2x2 chroma samples.
    const BlockMotion* row = job.blocks + static_cast<ptrdiff_t>(y / 2 - job.top) * (job.width / 4);
    for (int x = 0; x < width; ++x) {
      store_cell(job.out, cell_index(x, y, width), chroma_cell(job, row[x / 2], x, y, clipped));
    }
  }
  return clipped;
}

int64_t trace_blocks(const TraceJob& job) {
  int64_t clipped = 0;
  const int width = job.width / 4;
  for (int y = job.top; y < job.end_row(); ++y) {
    const BlockMotion* row = job.blocks + static_cast<ptrdiff_t>(y - job.top) * width;
    for (int x = 0; x < width; ++x) {
      store_cell(job.out, cell_index(x, y, width), block_cell(job, row[x], x, y, clipped));
    }
  }
  return clipped;
}

int run_of_ends(const EndRow& row) {
  int n = 1;
  for (; n < row.count; ++n) {
    if (is_void(row.mask[n]) != is_void(row.mask[0])) break;
    if (row.end[n] != row.end[0] || row.at_y[n] != row.at_y[0]) break;
    if (row.at_x[n] != row.at_x[0] + (is_void(row.mask[0]) ? 0 : n)) break;
  }
  return n;
}

void subtract(const uint8_t* from, int count, int16_t* to) {
  for (int i = 0; i < count; ++i) to[i] = static_cast<int16_t>(to[i] - from[i]);
}

}  // namespace

const TraceKernels& trace_scalar() {
  static const TraceKernels kTable = {select_run,  trace_pixels, trace_chroma, trace_blocks,
                                      run_of_ends, subtract,     "scalar"};
  return kTable;
}

void fill_end(const Map& map, int width, int height, int32_t end, uint8_t mask) {
  const size_t cells = static_cast<size_t>(width) * static_cast<size_t>(height);
  if (map.packed != nullptr) std::fill_n(map.packed, cells, pack_cell(0, 0, end, mask));
  std::fill_n(map.x, cells, int16_t{0});
  std::fill_n(map.y, cells, int16_t{0});
  std::fill_n(map.end, cells, end);
  std::fill_n(map.mask, cells, mask);
  if (map.hops != nullptr) std::fill_n(map.hops, cells, uint16_t{0});
  if (map.at_x != nullptr) {
    for (size_t i = 0; i < cells; ++i) {
      map.at_x[i] = static_cast<int16_t>(i % static_cast<size_t>(width));
      map.at_y[i] = static_cast<int16_t>(i / static_cast<size_t>(width));
    }
  }
  if (map.residual_y != nullptr) std::fill_n(map.residual_y, cells, int16_t{0});
  if (map.residual_u != nullptr) {
    std::fill_n(map.residual_u, cells / 4, int16_t{0});
    std::fill_n(map.residual_v, cells / 4, int16_t{0});
    std::fill_n(map.mask_uv, cells / 4, mask);
  }
}

}  // namespace cvdecode::kernels
