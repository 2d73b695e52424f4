// From block planes to other grids: pixels, 8x8, 16x16, or the patches of a model after its resize.
// Both axes are independent: a destination cell covers a run of source cells on each axis.
#pragma once

#include <cstdint>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

namespace cvdecode::kernels {

// For each destination cell along one axis: the source cells first .. first + count - 1 that it
// covers, how much of it each makes up (weights, which sum to 1), and the one under its centre.
// count 0: the cell lies wholly in padding.
struct AxisMap {
  std::vector<int32_t> first;
  std::vector<int32_t> count;
  std::vector<int32_t> centre;
  std::vector<int32_t> offset;  // of a cell's first weight
  std::vector<double> weights;

  int32_t cells() const { return static_cast<int32_t>(first.size()); }
};

// `cells` destination cells of `step` canvas samples. The canvas shows samples [0, display) of the
// picture, resized to `resized` samples of which the first lies at canvas sample `origin` (negative
// where it is cropped); `cut` display samples lie before source cell 0 (crop), `block` samples to a
// cell. Source cells run from the one that holds display sample 0.
AxisMap make_axis(int cells, int step, int display, int resized, int origin, int crop, int block);

enum class Reduce : uint8_t { kNearest, kMean, kMax };

// One value per cell, or `channels` = 2 planes that belong together (vectors). Planes are `rows` x
// `columns` cells, the second channel `channel_stride` elements after the first; rows are
// `row_stride` elements apart.
template <typename T>
struct RasterJob {
  const T* in = nullptr;
  int64_t row_stride = 0;
  int64_t channel_stride = 0;
  int channels = 1;
  bool has_none = false;  // `none` in the source means "no value": left out of mean and max
  T none = 0;
  const AxisMap* x = nullptr;
  const AxisMap* y = nullptr;
};

// The scalar reference. Each writes channels planes of y->cells() x x->cells(), one after the
// other. Cells without a value get `fill`.
template <typename T>
void raster_nearest(const RasterJob<T>& job, T fill, T* out);
// The value of the greatest magnitude (vectors: the longest), the first of equals in raster order.
template <typename T>
void raster_max(const RasterJob<T>& job, T fill, T* out);
// The mean by covered area.
template <typename T>
void raster_mean(const RasterJob<T>& job, float fill, float* out);

// A build of the three for one type of values.
template <typename T>
struct RasterBuild {
  void (*nearest)(const RasterJob<T>& job, T fill, T* out);
  void (*max)(const RasterJob<T>& job, T fill, T* out);
  void (*mean)(const RasterJob<T>& job, float fill, float* out);
};
using RasterBuilds = std::tuple<RasterBuild<uint8_t>, RasterBuild<int16_t>, RasterBuild<uint16_t>,
                                RasterBuild<int32_t>, RasterBuild<float>>;

RasterBuilds raster_scalar();
const RasterBuilds& raster_best();  // what this CPU runs fastest: the same bits
// Every build that this CPU runs, for tests. Not while other threads use kernels.
std::vector<std::pair<std::string, RasterBuilds>> raster_builds();

}  // namespace cvdecode::kernels
