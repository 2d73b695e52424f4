// A plane on another grid, done by a device: what goes there, and the launch.
#pragma once

#include <cstdint>
#include <vector>

#include "kernels/cuda/launch.h"
#include "kernels/cuda/raster.h"

namespace cvdecode {

class DeviceRaster {
 public:
  // `plane` tells everything but addresses and axes; `offsets`: first element of each plane.
  DeviceRaster(kernels::AxisMap x, kernels::AxisMap y, const kernels::RasterStep& plane,
               std::vector<int64_t> offsets);

  size_t upload_bytes() const { return upload_bytes_; }
  int rows() const { return y_.cells(); }
  int columns() const { return x_.cells(); }
  // Fills `host` (upload_bytes), which is to be copied to `device`. `in` and `out` are memory of
  // the device; planes of `out` follow one another.
  kernels::Launch pack(uint8_t* host, uintptr_t device, uintptr_t in, uintptr_t out) const;

 private:
  kernels::AxisMap x_, y_;
  kernels::RasterStep plane_;
  std::vector<int64_t> offsets_;
  size_t upload_bytes_ = 0;
};

}  // namespace cvdecode
