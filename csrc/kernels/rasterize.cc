#include "kernels/rasterize.h"

#include <algorithm>
#include <cmath>
#include <cstddef>

namespace cvdecode::kernels {
namespace {

template <typename T>
void gather_row(const T* row, const int32_t* index, int count, T fill, T* out) {
  for (int i = 0; i < count; ++i) out[i] = index[i] < 0 ? fill : row[index[i]];
}

}  // namespace

AxisMap make_axis(int cells, int step, int display, int resized, int origin, int crop, int block) {
  AxisMap map;
  // Positions along the picture are exact rationals; doubles of this size hold them well enough
  // that only overlaps below kNothing can be an artefact.
  constexpr double kNothing = 1e-9;
  const double scale = static_cast<double>(display) / resized;
  const int last_cell = (display - 1 + crop) / block;
  const int base = crop / block;  // source cell 0 of the given plane
  for (int i = 0; i < cells; ++i) {
    // In display samples.
    const double begin = std::max(0.0, (static_cast<double>(i) * step - origin) * scale);
    const double end =
        std::min<double>(display, (static_cast<double>(i + 1) * step - origin) * scale);
    map.offset.push_back(static_cast<int32_t>(map.weights.size()));
    if (end - begin <= kNothing) {
      map.first.push_back(0);
      map.count.push_back(0);
      map.centre.push_back(-1);
      continue;
    }
    const double centre = (begin + end) / 2;
    const auto cell_at = [&](double sample) {
      const auto whole = static_cast<int>(std::floor(sample));
      return std::clamp((whole + crop) / block, base, last_cell);
    };
    const int first = cell_at(begin + kNothing);
    const int last = cell_at(end - kNothing);
    map.first.push_back(first - base);
    map.count.push_back(last - first + 1);
    map.centre.push_back(cell_at(centre) - base);
    for (int cell = first; cell <= last; ++cell) {
      const double from = std::max(begin, static_cast<double>(cell) * block - crop);
      const double to = std::min(end, static_cast<double>(cell + 1) * block - crop);
      map.weights.push_back(std::max(0.0, to - from) / (end - begin));
    }
  }
  return map;
}

template <typename T>
void raster_nearest(const RasterJob<T>& job, T fill, T* out) {
  const int width = job.x->cells();
  const int height = job.y->cells();
  for (int c = 0; c < job.channels; ++c) {
    const T* plane = job.in + c * job.channel_stride;
    int previous = -2;
    for (int y = 0; y < height; ++y, out += width) {
      const int from = job.y->centre[static_cast<size_t>(y)];
      if (from == previous) {  // blocks are several rows high
        std::copy_n(out - width, width, out);
        continue;
      }
      previous = from;
      if (from < 0) {
        std::fill_n(out, width, fill);
        continue;
      }
      gather_row(plane + from * job.row_stride, job.x->centre.data(), width, fill, out);
    }
  }
}

template <typename T>
void raster_max(const RasterJob<T>& job, T fill, T* out) {
  const int width = job.x->cells();
  const int height = job.y->cells();
  const int64_t plane = static_cast<int64_t>(width) * height;
  for (int y = 0; y < height; ++y) {
    const auto iy = static_cast<size_t>(y);
    for (int x = 0; x < width; ++x, ++out) {
      const auto ix = static_cast<size_t>(x);
      double longest = -1;
      for (int c = 0; c < job.channels; ++c) out[c * plane] = fill;
      for (int sy = job.y->first[iy]; sy < job.y->first[iy] + job.y->count[iy]; ++sy) {
        for (int sx = job.x->first[ix]; sx < job.x->first[ix] + job.x->count[ix]; ++sx) {
          const T* cell = job.in + sy * job.row_stride + sx;
          if (job.has_none && *cell == job.none) continue;
          double length = 0;
          for (int c = 0; c < job.channels; ++c) {
            const auto v = static_cast<double>(cell[c * job.channel_stride]);
            length += v * v;
          }
          if (length <= longest) continue;
          longest = length;
          for (int c = 0; c < job.channels; ++c) out[c * plane] = cell[c * job.channel_stride];
        }
      }
    }
  }
}

template <typename T>
void raster_mean(const RasterJob<T>& job, float fill, float* out) {
  const int width = job.x->cells();
  const int height = job.y->cells();
  for (int c = 0; c < job.channels; ++c) {
    const T* plane = job.in + c * job.channel_stride;
    for (int y = 0; y < height; ++y) {
      const auto iy = static_cast<size_t>(y);
      const double* wy = job.y->weights.data() + job.y->offset[iy];
      for (int x = 0; x < width; ++x, ++out) {
        const auto ix = static_cast<size_t>(x);
        const double* wx = job.x->weights.data() + job.x->offset[ix];
        double sum = 0;
        double area = 0;
        for (int j = 0; j < job.y->count[iy]; ++j) {
          const T* row = plane + (job.y->first[iy] + j) * job.row_stride + job.x->first[ix];
          for (int i = 0; i < job.x->count[ix]; ++i) {
            if (job.has_none && row[i] == job.none) continue;
            sum += wy[j] * wx[i] * static_cast<double>(row[i]);
            area += wy[j] * wx[i];
          }
        }
        *out = area > 0 ? static_cast<float>(sum / area) : fill;
      }
    }
  }
}

#define CVDECODE_RASTER(T)                                     \
  template void raster_nearest<T>(const RasterJob<T>&, T, T*); \
  template void raster_max<T>(const RasterJob<T>&, T, T*);     \
  template void raster_mean<T>(const RasterJob<T>&, float, float*);
CVDECODE_RASTER(uint8_t)
CVDECODE_RASTER(int16_t)
CVDECODE_RASTER(uint16_t)
CVDECODE_RASTER(int32_t)
CVDECODE_RASTER(float)
#undef CVDECODE_RASTER

RasterBuilds raster_scalar() {
  const auto build = []<typename T>(T) {
    return RasterBuild<T>{raster_nearest<T>, raster_max<T>, raster_mean<T>};
  };
  return {build(uint8_t{}), build(int16_t{}), build(uint16_t{}), build(int32_t{}), build(float{})};
}

}  // namespace cvdecode::kernels
