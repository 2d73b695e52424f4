#include "check_raster.h"

#include <cstdio>
#include <cstring>
#include <random>
#include <vector>

#include "accumulate/device_raster.h"
#include "memory.h"

namespace cvdecode {
namespace {

using kernels::AxisMap;
using kernels::Element;
using kernels::RasterJob;
using kernels::RasterStep;
using kernels::Reduce;

template <typename T>
int check(Element type, bool gpu, std::mt19937& random) {
  // 37 x 29 display samples in blocks of 4 with a crop, to pixels, cells of 5, patches of 14.
  const int axes[3][4] = {{37, 29, 1, 0}, {8, 6, 5, 0}, {4, 4, 14, 56}};
  constexpr int kRows = 8, kStride = 13;  // of 11 columns, 10.5 of which are shown
  std::vector<T> plane(2 * kRows * kStride);
  for (T& v : plane) v = static_cast<T>(random() % 200);
  Guarded in(plane.size() * sizeof(T), gpu);
  in.write(plane.data());
  int wrong = 0;
  for (const auto& [columns, rows, step, size] : axes) {
    const int wide = size == 0 ? 37 : size, high = size == 0 ? 29 : 44;
    const AxisMap x = kernels::make_axis(columns, step, 37, wide, 0, 5, 4);
    const AxisMap y =
        kernels::make_axis(rows, step, 29, high, size == 0 ? 0 : (size - high) / 2, 2, 4);
    for (const Reduce reduce : {Reduce::kNearest, Reduce::kMax, Reduce::kMean}) {
      for (const int channels : {1, 2}) {
        RasterJob<T> job;
        job.in = plane.data();
        job.row_stride = kStride;
        job.channel_stride = kRows * kStride;
        job.channels = channels;
        job.has_none = channels == 1;
        job.none = plane[0];
        job.x = &x;
        job.y = &y;
        const size_t cells = static_cast<size_t>(channels) * static_cast<size_t>(columns * rows);
        const size_t bytes = cells * (reduce == Reduce::kMean ? sizeof(float) : sizeof(T));
        std::vector<uint8_t> want(bytes);
        if (reduce == Reduce::kMean) {
          kernels::raster_mean(job, 3.0F, reinterpret_cast<float*>(want.data()));
        } else if (reduce == Reduce::kMax) {
          kernels::raster_max(job, T{3}, reinterpret_cast<T*>(want.data()));
        } else {
          kernels::raster_nearest(job, T{3}, reinterpret_cast<T*>(want.data()));
        }
        RasterStep made;
        made.row_stride = job.row_stride;
        made.channel_stride = job.channel_stride;
        made.channels = channels;
        made.type = type;
        made.reduce = reduce;
        made.has_none = job.has_none;
        made.none = static_cast<double>(job.none);
        made.fill = 3;
        const DeviceRaster raster(x, y, made, {0});
        Guarded upload(raster.upload_bytes(), gpu), out(bytes, gpu);
        std::vector<uint8_t> host(raster.upload_bytes());
        const auto launch = raster.pack(host.data(), upload.address(), in.address(), out.address());
        upload.write(host.data());
        if (gpu) {
          check_cuda(static_cast<cudaError_t>(kernels::cuda::launch(launch, 0, 0)), "launch");
          check_cuda(cudaDeviceSynchronize(), "kernels");
        } else {
          kernels::emulate(launch, false);
        }
        const bool good = out.intact() && upload.intact() &&
                          std::memcmp(out.read().data(), want.data(), bytes) == 0;
        wrong += good ? 0 : 1;
      }
    }
  }
  return wrong;
}

}  // namespace

int check_raster(bool gpu) {
  std::mt19937 random(3);
  const int wrong =
      check<uint8_t>(Element::kUint8, gpu, random) + check<int16_t>(Element::kInt16, gpu, random) +
      check<uint16_t>(Element::kUint16, gpu, random) +
      check<int32_t>(Element::kInt32, gpu, random) + check<float>(Element::kFloat, gpu, random);
  std::printf("%-24s %s (90 planes)\n", "rasterize",
              wrong == 0 ? "equal to the core's own" : "DIFFERS");
  return wrong;
}

}  // namespace cvdecode
