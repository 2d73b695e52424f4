// rasterize() for Python: one plane in, one array out. Python names, crops and checks.
#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <array>
#include <memory>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "accumulate/device_raster.h"
#include "accumulate/rasterize.h"
#include "base/buffer.h"
#include "base/error.h"
#include "bind/bind.h"

namespace py = pybind11;

namespace cvdecode::bind {
namespace {

// cells, step, display, resized, origin, crop, block: see kernels::make_axis.
using Axis = std::array<int, 7>;

kernels::AxisMap axis_of(const Axis& a, py::ssize_t source_cells) {
  constexpr int kMost = 1 << 20;
  for (const int value : a) {
    if (value < -kMost || value > kMost) {
      throw Error(ErrorKind::kInvalidArgument, "rasterize: a size is out of range");
    }
  }
  const int last = (a[2] - 1 + a[5]) / std::max(a[6], 1) - a[5] / std::max(a[6], 1);
  if (a[0] < 0 || a[1] < 1 || a[2] < 1 || a[3] < 1 || a[5] < 0 || a[6] < 1 ||
      last >= source_cells) {
    throw Error(ErrorKind::kInvalidArgument, "rasterize: the plane does not cover the picture");
  }
  return kernels::make_axis(a[0], a[1], a[2], a[3], a[4], a[5], a[6]);
}

// `given`: memory to take, or None.
template <typename Out>
py::array make_output(const std::vector<py::ssize_t>& shape, const py::object& given, Out** data) {
  size_t count = 1;
  for (const py::ssize_t n : shape) count *= static_cast<size_t>(n);
  if (!given.is_none()) {
    auto array = py::cast<py::array>(given);
    if (static_cast<size_t>(array.nbytes()) != count * sizeof(Out) ||
        (array.flags() & py::array::c_style) == 0) {
      throw Error(ErrorKind::kInvalidArgument, "rasterize: out has the wrong size");
    }
    *data = static_cast<Out*>(array.mutable_data());
    return array;
  }
  auto buffer = std::make_unique<BufferPtr>(
      std::make_shared<Buffer>(std::max<size_t>(1, count * sizeof(Out)), false));
  *data = static_cast<Out*>((*buffer)->data());
  py::capsule owner(buffer.get(), [](void* p) { delete static_cast<BufferPtr*>(p); });
  buffer.release();
  return py::array_t<Out>(shape, *data, owner);
}

template <typename T>
py::array run(const py::array& plane, bool vectors, const std::string& reduce,
              const py::object& none, double fill, const Axis& x_axis, const Axis& y_axis,
              const kernels::RasterBuilds& builds, const py::object& given) {
  const auto& build = std::get<kernels::RasterBuild<T>>(builds);
  const auto dims = static_cast<size_t>(plane.ndim());
  const size_t channel_dims = vectors ? 3 : 2;
  if (dims < channel_dims || (vectors && plane.shape(plane.ndim() - 3) != 2)) {
    throw Error(ErrorKind::kInvalidArgument, "rasterize: too few axes for this plane");
  }
  const auto item = static_cast<py::ssize_t>(sizeof(T));
  for (py::ssize_t d = 0; d < plane.ndim(); ++d) {
    if (plane.strides(d) % item != 0) {
      throw Error(ErrorKind::kInvalidArgument, "rasterize: the array is not aligned");
    }
  }
  const kernels::AxisMap x = axis_of(x_axis, plane.shape(plane.ndim() - 1));
  const kernels::AxisMap y = axis_of(y_axis, plane.shape(plane.ndim() - 2));
  if (plane.strides(plane.ndim() - 1) != item) {
    throw Error(ErrorKind::kInvalidArgument, "rasterize: rows must be contiguous");
  }
  kernels::RasterJob<T> job;
  job.row_stride = plane.strides(plane.ndim() - 2) / item;
  job.channels = vectors ? 2 : 1;
  job.channel_stride = vectors ? plane.strides(plane.ndim() - 3) / item : 0;
  if (!none.is_none()) {
    job.has_none = true;
    job.none = py::cast<T>(none);
  }
  job.x = &x;
  job.y = &y;

  std::vector<py::ssize_t> shape(plane.shape(), plane.shape() + dims);
  shape[dims - 2] = y.cells();
  shape[dims - 1] = x.cells();
  const size_t lead = dims - channel_dims;
  // Offsets of the planes in memory, in C order of the leading axes.
  std::vector<int64_t> offsets{0};
  for (size_t d = 0; d < lead; ++d) {
    std::vector<int64_t> next;
    const int64_t stride = plane.strides(static_cast<py::ssize_t>(d)) / item;
    for (const int64_t offset : offsets) {
      for (py::ssize_t i = 0; i < shape[d]; ++i) next.push_back(offset + i * stride);
    }
    offsets = std::move(next);
  }
  const auto* data = static_cast<const T*>(plane.data());
  const size_t out_elements = static_cast<size_t>(job.channels) * static_cast<size_t>(x.cells()) *
                              static_cast<size_t>(y.cells());
  const auto each = [&](auto* out, const auto& kernel) {
    py::gil_scoped_release release;
    for (const int64_t offset : offsets) {
      job.in = data + offset;
      kernel(out);
      out += out_elements;
    }
  };
  if (reduce == "mean") {
    float* out = nullptr;
    py::array result = make_output<float>(shape, given, &out);
    each(out, [&](float* to) { build.mean(job, static_cast<float>(fill), to); });
    return result;
  }
  T* out = nullptr;
  py::array result = make_output<T>(shape, given, &out);
  const T filler = static_cast<T>(fill);
  if (reduce == "max") {
    each(out, [&](T* to) { build.max(job, filler, to); });
  } else {
    each(out, [&](T* to) { build.nearest(job, filler, to); });
  }
  return result;
}

py::array run_build(const kernels::RasterBuilds& builds, const py::array& plane, bool vectors,
                    const std::string& reduce, const py::object& none, double fill, const Axis& x,
                    const Axis& y, const py::object& out) {
  const auto is = [&](auto tag) { return plane.dtype().equal(py::dtype::of<decltype(tag)>()); };
  const auto as = [&](auto tag) {
    return run<decltype(tag)>(plane, vectors, reduce, none, fill, x, y, builds, out);
  };
  if (is(int16_t{})) return as(int16_t{});
  if (is(uint8_t{})) return as(uint8_t{});
  if (is(uint16_t{})) return as(uint16_t{});
  if (is(int32_t{})) return as(int32_t{});
  if (is(float{})) return as(float{});
  throw Error(ErrorKind::kInvalidArgument, "rasterize: no plane has this dtype");
}

py::array rasterize(const py::array& plane, bool vectors, const std::string& reduce,
                    const py::object& none, double fill, const Axis& x, const Axis& y) {
  return run_build(kernels::raster_best(), plane, vectors, reduce, none, fill, x, y, py::none());
}

// Private, for tests: one of these builds, into memory of the test.
using NamedBuild = std::pair<std::string, kernels::RasterBuilds>;

const std::vector<NamedBuild>& raster_builds() {
  static const std::vector<NamedBuild> kBuilds = kernels::raster_builds();
  return kBuilds;
}

void raster_kernel(const std::string& build, const py::array& plane, bool vectors,
                   const std::string& reduce, const py::object& none, double fill, const Axis& x,
                   const Axis& y, const py::array& out) {
  for (const auto& [name, builds] : raster_builds()) {
    if (name != build) continue;
    run_build(builds, plane, vectors, reduce, none, fill, x, y, out);
    return;
  }
  throw Error(ErrorKind::kInvalidArgument, "this CPU runs no build of rasterize named " + build);
}

// The same plane in memory of a device: `strides` in elements.
std::unique_ptr<DeviceRaster> device_raster(const std::vector<int64_t>& shape,
                                            const std::vector<int64_t>& strides,
                                            const std::string& dtype, bool vectors,
                                            const std::string& reduce, const py::object& none,
                                            double fill, const Axis& x, const Axis& y) {
  const size_t channel_dims = vectors ? 3 : 2;
  const size_t dims = shape.size();
  if (dims < channel_dims || strides.size() != dims || (vectors && shape[dims - 3] != 2) ||
      strides[dims - 1] != 1) {
    throw Error(ErrorKind::kInvalidArgument, "rasterize: the axes do not fit this plane");
  }
  kernels::RasterStep plane;
  const std::pair<const char*, kernels::Element> types[] = {
      {"uint8", kernels::Element::kUint8},   {"int16", kernels::Element::kInt16},
      {"uint16", kernels::Element::kUint16}, {"int32", kernels::Element::kInt32},
      {"float32", kernels::Element::kFloat},
  };
  bool known = false;
  for (const auto& [name, type] : types) {
    if (dtype != name) continue;
    plane.type = type;
    known = true;
  }
  if (!known) throw Error(ErrorKind::kInvalidArgument, "rasterize: no plane has this dtype");
  plane.reduce = reduce == "mean"  ? kernels::Reduce::kMean
                 : reduce == "max" ? kernels::Reduce::kMax
                                   : kernels::Reduce::kNearest;
  plane.row_stride = strides[dims - 2];
  plane.channels = vectors ? 2 : 1;
  plane.channel_stride = vectors ? strides[dims - 3] : 0;
  plane.has_none = !none.is_none();
  if (plane.has_none) plane.none = py::cast<double>(none);
  plane.fill = fill;
  std::vector<int64_t> offsets{0};
  for (size_t d = 0; d + channel_dims < dims; ++d) {
    std::vector<int64_t> next;
    for (const int64_t offset : offsets) {
      for (int64_t i = 0; i < shape[d]; ++i) next.push_back(offset + i * strides[d]);
    }
    offsets = std::move(next);
  }
  return std::make_unique<DeviceRaster>(axis_of(x, shape[dims - 1]), axis_of(y, shape[dims - 2]),
                                        plane, std::move(offsets));
}

}  // namespace

void register_rasterize(py::module_& m) {
  py::class_<DeviceRaster>(m, "DeviceRaster", "rasterize() for a device.")
      .def(py::init(&device_raster), py::arg("shape"), py::arg("strides"), py::arg("dtype"),
           py::arg("vectors"), py::arg("reduce"), py::arg("none"), py::arg("fill"), py::arg("x"),
           py::arg("y"))
      .def_property_readonly("upload_bytes", &DeviceRaster::upload_bytes,
                             "Size of what goes to the device beside the plane.")
      .def_property_readonly("rows", &DeviceRaster::rows, "Cells of the new grid.")
      .def_property_readonly("columns", &DeviceRaster::columns, "Cells of the new grid.")
      .def(
          "pack",
          [](const DeviceRaster& raster, uintptr_t host, uintptr_t device, uintptr_t in,
             uintptr_t out) {
            const kernels::Launch l =
                raster.pack(reinterpret_cast<uint8_t*>(host), device, in, out);
            return py::make_tuple(static_cast<int>(l.kernel), l.steps, l.count, l.width, l.height);
          },
          py::arg("host"), py::arg("device"), py::arg("plane"), py::arg("out"),
          "Fills the bytes at `host`, which go to `device`; gives the launch.");
  m.def("rasterize", &rasterize, py::arg("plane"), py::arg("vectors"), py::arg("reduce"),
        py::arg("none"), py::arg("fill"), py::arg("x"), py::arg("y"),
        "A plane of cells on another grid.");
  m.def(
      "raster_builds",
      [] {
        std::vector<std::string> names;
        for (const NamedBuild& build : raster_builds()) names.push_back(build.first);
        return names;
      },
      "Private, for tests: builds of rasterize() that this CPU runs.");
  m.def("raster_kernel", &raster_kernel, "Private, for tests: one build of rasterize().");
}

}  // namespace cvdecode::bind
