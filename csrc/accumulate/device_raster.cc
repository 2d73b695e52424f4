#include "accumulate/device_raster.h"

#include <cstring>
#include <utility>

namespace cvdecode {
namespace {

using kernels::AxisMap;
using kernels::AxisView;
using kernels::Element;
using kernels::RasterStep;

size_t element_bytes(Element type) {
  switch (type) {
    case Element::kUint8: return 1;
    case Element::kInt16:
    case Element::kUint16: return 2;
    case Element::kInt32:
    case Element::kFloat: return 4;
  }
  return 1;
}

size_t axis_bytes(const AxisMap& axis) {
  return axis.weights.size() * sizeof(double) + 4 * axis.first.size() * sizeof(int32_t);
}

// Writes the arrays of an axis one after the other, weights first; gives where the next one goes.
AxisView write_axis(const AxisMap& axis, uint8_t* host, uintptr_t device, size_t& at) {
  const auto put = [&](const auto& values) {
    using T = typename std::decay_t<decltype(values)>::value_type;
    const size_t bytes = values.size() * sizeof(T);
    if (bytes > 0) std::memcpy(host + at, values.data(), bytes);
    const auto* place = reinterpret_cast<const T*>(device + at);
    at += bytes;
    return place;
  };
  AxisView view;
  view.weights = put(axis.weights);
  view.first = put(axis.first);
  view.count = put(axis.count);
  view.centre = put(axis.centre);
  view.offset = put(axis.offset);
  view.cells = axis.cells();
  return view;
}

// Whole multiples of 8 bytes, for the weights of the second axis.
size_t rounded(size_t bytes) { return (bytes + 7) / 8 * 8; }

}  // namespace

DeviceRaster::DeviceRaster(AxisMap x, AxisMap y, const RasterStep& plane,
                           std::vector<int64_t> offsets)
    : x_(std::move(x)), y_(std::move(y)), plane_(plane), offsets_(std::move(offsets)) {
  upload_bytes_ =
      offsets_.size() * sizeof(RasterStep) + rounded(axis_bytes(x_)) + rounded(axis_bytes(y_));
}

kernels::Launch DeviceRaster::pack(uint8_t* host, uintptr_t device, uintptr_t in,
                                   uintptr_t out) const {
  size_t at = offsets_.size() * sizeof(RasterStep);
  RasterStep step = plane_;
  step.x = write_axis(x_, host, device, at);
  at = rounded(at);
  step.y = write_axis(y_, host, device, at);
  const size_t bytes = element_bytes(plane_.type);
  const size_t out_bytes = plane_.reduce == kernels::Reduce::kMean ? sizeof(float) : bytes;
  const size_t plane_bytes = static_cast<size_t>(plane_.channels) *
                             static_cast<size_t>(x_.cells()) * static_cast<size_t>(y_.cells()) *
                             out_bytes;
  for (size_t i = 0; i < offsets_.size(); ++i) {
    step.in = reinterpret_cast<const uint8_t*>(in) + offsets_[i] * static_cast<int64_t>(bytes);
    step.out = reinterpret_cast<uint8_t*>(out) + i * plane_bytes;
    std::memcpy(host + i * sizeof(RasterStep), &step, sizeof(step));
  }
  return {kernels::Kernel::kRaster, device, static_cast<int>(offsets_.size()), x_.cells(),
          y_.cells()};
}

}  // namespace cvdecode
