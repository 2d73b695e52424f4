// The reference build of the trace: one pixel at a time, nothing clever. Every other build is
// tested against it, and it against a literal NumPy version of docs/accumulation.md.
#include <algorithm>
#include <cstddef>
#include <cstdlib>

#include "kernels/trace.h"
#include "kernels/trace_cell-inl.h"
#include "kernels/trace_pixel.h"

namespace cvdecode::kernels {
namespace {

// What a cell of the new map takes over from where its vector points.
struct Arrival {
  int x = 0, y = 0;  // displacement so far
  int32_t end = -1;
  uint8_t mask = kMaskBroken;
  int16_t at_x = 0, at_y = 0;
  uint16_t hops = 0;
};

// The cell (x, y) of a source, whose grid is `stride` cells wide.
Arrival arrive(const Source& source, int x, int y, int stride) {
  Arrival a;
  if (source.is_end) {
    a.end = source.end;
    a.mask = source.mask;
    a.at_x = static_cast<int16_t>(x);
    a.at_y = static_cast<int16_t>(y);
    return a;
  }
  const auto at = static_cast<size_t>(y) * static_cast<size_t>(stride) + static_cast<size_t>(x);
  const Map& map = source.map;
  a.x = map.x[at];
  a.y = map.y[at];
  a.end = map.end[at];
  a.mask = map.mask[at];
  if (map.at_x != nullptr) {
    a.at_x = map.at_x[at];
    a.at_y = map.at_y[at];
  }
  if (map.hops != nullptr) a.hops = map.hops[at];
  return a;
}

// Writes cell `at`; `arrival` is null where the trace does not leave this picture.
int64_t write_cell(const TraceJob& job, const BlockMotion& block, const Arrival* arrival, int x,
                   int y, size_t at) {
  const Map& out = job.out;
  const OneLane lane;
  int64_t clipped = 0;
  int dx = 0, dy = 0, hops = 0;
  int16_t at_x = static_cast<int16_t>(x), at_y = static_cast<int16_t>(y);
  int32_t end = job.here;
  uint8_t mask = kMaskIntraBlock;
  if (arrival != nullptr) {
    mask = arrival->mask;
    end = arrival->end;
    at_x = arrival->at_x;
    at_y = arrival->at_y;
    const bool dead = is_void(mask);
    dx = next_displacement(lane, arrival->x, int{block.x}, dead, clipped);
    dy = next_displacement(lane, arrival->y, int{block.y}, dead, clipped);
    hops = next_hops(lane, int{arrival->hops}, dead);
  } else {
    mask = mask_of_source(block.source);
  }
  if (is_void(mask)) {
    end = -1;
    at_x = at_y = 0;
  }
  out.x[at] = static_cast<int16_t>(dx);
  out.y[at] = static_cast<int16_t>(dy);
  out.end[at] = end;
  out.mask[at] = mask;
  if (out.at_x != nullptr) {
    out.at_x[at] = at_x;
    out.at_y[at] = at_y;
  }
  if (out.hops != nullptr) out.hops[at] = static_cast<uint16_t>(hops);
  return clipped;
}

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

int64_t trace_pixels(const TraceJob& job) {
  int64_t clipped = 0;
  const auto stride = static_cast<size_t>(job.width);
  for (int y = 0; y < job.height; ++y) {
    const BlockMotion* row = job.blocks + static_cast<ptrdiff_t>(y / 4) * (job.width / 4);
    for (int x = 0; x < job.width; ++x) {
      const BlockMotion& block = row[x / 4];
      const size_t at = static_cast<size_t>(y) * stride + static_cast<size_t>(x);
      int residual = 0;
      if (block.source >= 0) {
        const Source& source = job.sources[block.source];
        const int sx = source_luma(x, block.x, job.width);
        const int sy = source_luma(y, block.y, job.height);
        const Arrival arrival = arrive(source, sx, sy, job.width);
        clipped += write_cell(job, block, &arrival, x, y, at);
        if (!source.is_end && job.out.residual_y != nullptr) {
          residual =
              source.map.residual_y[static_cast<size_t>(sy) * stride + static_cast<size_t>(sx)];
        }
      } else {
        write_cell(job, block, nullptr, x, y, at);
      }
      if (job.out.residual_y != nullptr) {
        const bool dead = block.source < 0 || is_void(job.out.mask[at]);
        job.out.residual_y[at] = static_cast<int16_t>(
            next_residual(OneLane{}, residual, int{job.residual_y[at]}, dead, clipped));
      }
    }
  }
  return clipped;
}

int64_t trace_chroma(const TraceJob& job) {
  int64_t clipped = 0;
  const int width = job.width / 2;
  const int height = job.height / 2;
  for (int y = 0; y < height; ++y) {
    // A 4x4 luma block is 2x2 chroma samples.
    const BlockMotion* row = job.blocks + static_cast<ptrdiff_t>(y / 2) * (job.width / 4);
    for (int x = 0; x < width; ++x) {
      const BlockMotion& block = row[x / 2];
      const size_t at =
          static_cast<size_t>(y) * static_cast<size_t>(width) + static_cast<size_t>(x);
      uint8_t mask = kMaskIntraBlock;
      int u = 0, v = 0;
      if (block.source >= 0) {
        const Source& source = job.sources[block.source];
        if (source.is_end) {
          mask = source.mask;
        } else {
          const size_t from =
              static_cast<size_t>(source_chroma(y, block.y, height)) * static_cast<size_t>(width) +
              static_cast<size_t>(source_chroma(x, block.x, width));
          mask = source.map.mask_uv[from];
          u = source.map.residual_u[from];
          v = source.map.residual_v[from];
        }
      } else {
        mask = mask_of_source(block.source);
      }
      const bool dead = block.source < 0 || is_void(mask);
      job.out.mask_uv[at] = mask;
      job.out.residual_u[at] =
          static_cast<int16_t>(next_residual(OneLane{}, u, int{job.residual_u[at]}, dead, clipped));
      job.out.residual_v[at] =
          static_cast<int16_t>(next_residual(OneLane{}, v, int{job.residual_v[at]}, dead, clipped));
    }
  }
  return clipped;
}

int64_t trace_blocks(const TraceJob& job) {
  int64_t clipped = 0;
  const Map& out = job.out;
  const int width = job.width / 4;
  const int height = job.height / 4;
  for (int y = 0; y < height; ++y) {
    for (int x = 0; x < width; ++x) {
      const size_t at =
          static_cast<size_t>(y) * static_cast<size_t>(width) + static_cast<size_t>(x);
      const BlockMotion& block = job.blocks[at];
      uint64_t cell = 0;
      int hops = 0;
      if (block.source >= 0) {
        const Source& source = job.sources[block.source];
        const size_t from =
            static_cast<size_t>(source_block(y, block.y, job.height)) * static_cast<size_t>(width) +
            static_cast<size_t>(source_block(x, block.x, job.width));
        cell = next_cell(
            OneLane{},
            source.is_end ? pack_cell(0, 0, source.end, source.mask) : source.map.packed[from],
            block.x, block.y, clipped);
        const int before = source.is_end || out.hops == nullptr ? 0 : source.map.hops[from];
        hops = next_hops(OneLane{}, before, is_void(cell_mask(cell)));
      } else {
        const uint8_t mask = mask_of_source(block.source);
        cell = pack_cell(0, 0, is_void(mask) ? -1 : job.here, mask);
      }
      out.packed[at] = cell;
      if (out.hops != nullptr) out.hops[at] = static_cast<uint16_t>(hops);
      if (out.x == nullptr) continue;
      out.x[at] = cell_x(cell);
      out.y[at] = cell_y(cell);
      out.end[at] = cell_end(cell);
      out.mask[at] = cell_mask(cell);
    }
  }
  return clipped;
}

}  // namespace

const TraceKernels& trace_scalar() {
  static const TraceKernels kTable = {select_run, trace_pixels, trace_chroma, trace_blocks,
                                      "scalar"};
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
