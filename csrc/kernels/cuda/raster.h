// One cell of a plane on another grid, for a thread of a device: what rasterize.h computes, with
// the dtype known at run time only. Sums run in the same order, so the bits are the same.
#pragma once

#include <cstddef>
#include <cstdint>

#include "kernels/cuda/place.h"
#include "kernels/rasterize.h"
#include "kernels/trace_pixel.h"

namespace cvdecode::kernels {

enum class Element : uint8_t { kUint8, kInt16, kUint16, kInt32, kFloat };

// An AxisMap in memory of the device.
struct AxisView {
  const int32_t* first = nullptr;
  const int32_t* count = nullptr;
  const int32_t* centre = nullptr;
  const int32_t* offset = nullptr;
  const double* weights = nullptr;
  int cells = 0;
};

// One plane, or two that belong together (RasterJob). Values pass through double, which holds
// those of every dtype exactly.
struct RasterStep {
  const void* in = nullptr;
  void* out = nullptr;  // `type`, float for kMean
  int64_t row_stride = 0;
  int64_t channel_stride = 0;
  int channels = 1;
  Element type = Element::kInt16;
  Reduce reduce = Reduce::kNearest;
  bool has_none = false;
  double none = 0;
  double fill = 0;
  AxisView x, y;
};

CVDECODE_HD inline double load_element(Element type, const void* plane, int64_t at) {
  switch (type) {
    case Element::kUint8: return static_cast<const uint8_t*>(plane)[at];
    case Element::kInt16: return static_cast<const int16_t*>(plane)[at];
    case Element::kUint16: return static_cast<const uint16_t*>(plane)[at];
    case Element::kInt32: return static_cast<const int32_t*>(plane)[at];
    case Element::kFloat: return static_cast<double>(static_cast<const float*>(plane)[at]);
  }
  return 0;
}

CVDECODE_HD inline void store_element(Element type, void* plane, int64_t at, double value) {
  switch (type) {
    case Element::kUint8: static_cast<uint8_t*>(plane)[at] = static_cast<uint8_t>(value); return;
    case Element::kInt16: static_cast<int16_t*>(plane)[at] = static_cast<int16_t>(value); return;
    case Element::kUint16: static_cast<uint16_t*>(plane)[at] = static_cast<uint16_t>(value); return;
    case Element::kInt32: static_cast<int32_t*>(plane)[at] = static_cast<int32_t>(value); return;
    case Element::kFloat: static_cast<float*>(plane)[at] = static_cast<float>(value); return;
  }
}

// The mean of one channel, by covered area.
CVDECODE_HD inline double mean_of_cell(const RasterStep& step, int c, int x, int y) {
  double sum = 0, area = 0;
  for (int j = 0; j < step.y.count[y]; ++j) {
    const double wy = step.y.weights[step.y.offset[y] + j];
    const int64_t row = c * step.channel_stride + (step.y.first[y] + j) * step.row_stride;
    for (int i = 0; i < step.x.count[x]; ++i) {
      const double value = load_element(step.type, step.in, row + step.x.first[x] + i);
      if (step.has_none && value == step.none) continue;
      const double wx = step.x.weights[step.x.offset[x] + i];
      sum += wy * wx * value;
      area += wy * wx;
    }
  }
  return area > 0 ? sum / area : step.fill;
}

// Where the value of the greatest magnitude lies, the first of equals; -1 = no value.
CVDECODE_HD inline int64_t greatest_of_cell(const RasterStep& step, int x, int y) {
  double longest = -1;
  int64_t found = -1;
  for (int sy = step.y.first[y]; sy < step.y.first[y] + step.y.count[y]; ++sy) {
    for (int sx = step.x.first[x]; sx < step.x.first[x] + step.x.count[x]; ++sx) {
      const int64_t at = sy * step.row_stride + sx;
      double length = 0;
      bool none = false;
      for (int c = 0; c < step.channels; ++c) {
        const double v = load_element(step.type, step.in, at + c * step.channel_stride);
        none |= c == 0 && step.has_none && v == step.none;
        length += v * v;
      }
      if (none || length <= longest) continue;
      longest = length;
      found = at;
    }
  }
  return found;
}

// One cell of the new grid, all its channels.
CVDECODE_HD inline void raster(const RasterStep* steps, Place at) {
  const RasterStep& step = steps[at.z];
  if (at.x >= step.x.cells || at.y >= step.y.cells) return;
  const int64_t plane = static_cast<int64_t>(step.x.cells) * step.y.cells;
  const int64_t to = static_cast<int64_t>(at.y) * step.x.cells + at.x;
  if (step.reduce == Reduce::kMean) {
    for (int c = 0; c < step.channels; ++c) {
      store_element(Element::kFloat, step.out, c * plane + to, mean_of_cell(step, c, at.x, at.y));
    }
    return;
  }
  int64_t from = -1;
  if (step.reduce == Reduce::kMax) {
    from = greatest_of_cell(step, at.x, at.y);
  } else if (step.x.centre[at.x] >= 0 && step.y.centre[at.y] >= 0) {
    from = step.y.centre[at.y] * step.row_stride + step.x.centre[at.x];
  }
  for (int c = 0; c < step.channels; ++c) {
    const double value =
        from < 0 ? step.fill : load_element(step.type, step.in, from + c * step.channel_stride);
    store_element(step.type, step.out, c * plane + to, value);
  }
}

}  // namespace cvdecode::kernels
