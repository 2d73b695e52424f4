// resample() for Python: planes in, bytes out, into memory of the caller's.
#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <array>
#include <string>
#include <tuple>
#include <vector>

#include "accumulate/resample.h"
#include "base/error.h"
#include "bind/bind.h"

namespace py = pybind11;

namespace cvdecode::bind {
namespace {

[[noreturn]] void refuse(const std::string& why) {
  throw Error(ErrorKind::kInvalidArgument, "resample: " + why);
}

kernels::ByteEncoding encoding_of(const std::string& name, const py::array& planes) {
  const bool bytes = py::isinstance<py::array_t<uint8_t>>(planes);
  const bool shorts = py::isinstance<py::array_t<int16_t>>(planes);
  if (name == "none" && bytes) return kernels::ByteEncoding::kNone;
  if (name == "vector" && shorts) return kernels::ByteEncoding::kVector;
  if (name == "residual" && shorts) return kernels::ByteEncoding::kResidual;
  refuse("no encoding \"" + name + "\" of this dtype");
}

using Crop = std::tuple<int, int, bool>;  // x, y, mirrored

void resample(const py::array& planes, const std::string& encoding, bool halved,
              const std::array<int, 4>& box, const std::array<int, 2>& resized,
              const std::vector<Crop>& crops, py::array_t<uint8_t> out) {
  constexpr int kMost = 1 << 15;
  const auto [box_x, box_y, box_width, box_height] = box;
  if (planes.ndim() != 4 || out.ndim() != 5) refuse("planes are (N, C, H, W)");
  const int height = static_cast<int>(out.shape(3));
  const int width = static_cast<int>(out.shape(4));
  if (out.shape(0) != static_cast<py::ssize_t>(crops.size()) || out.shape(1) != planes.shape(0) ||
      out.shape(2) != planes.shape(1) || out.strides(4) != 1 || out.strides(3) != width) {
    refuse("out does not have the shape (crops, N, C, height, width)");
  }
  const int scale = halved ? 2 : 1;
  if (box_x < 0 || box_y < 0 || box_width < 1 || box_height < 1 || box_width > kMost ||
      box_height > kMost || box_x + box_width > scale * planes.shape(3) ||
      box_y + box_height > scale * planes.shape(2)) {
    refuse("the box does not lie inside the planes");
  }
  if (resized[0] < 1 || resized[1] < 1 || resized[0] > kMost || resized[1] > kMost) {
    refuse("a size is out of range");
  }
  const auto item = planes.itemsize();
  if (planes.strides(3) != item || planes.strides(2) % item != 0) {
    refuse("samples of a row must lie side by side");
  }
  kernels::ResampleJob job;
  job.encoding = encoding_of(encoding, planes);
  job.row_stride = planes.strides(2) / item;
  job.halved = halved;
  job.box_x = box_x;
  job.box_y = box_y;
  job.box_width = box_width;
  const auto* in = static_cast<const uint8_t*>(planes.data());
  uint8_t* const to = out.mutable_data();
  const py::gil_scoped_release release;
  for (size_t k = 0; k < crops.size(); ++k) {
    const auto [x, y, mirrored] = crops[k];
    if (x < 0 || y < 0 || x + width > resized[1] || y + height > resized[0]) {
      refuse("a crop does not lie inside the resized box");
    }
    const kernels::Taps columns = kernels::make_taps(box_width, resized[1], x, width, mirrored);
    const kernels::Taps rows = kernels::make_taps(box_height, resized[0], y, height, false);
    job.x = &columns;
    job.y = &rows;
    for (py::ssize_t n = 0; n < planes.shape(0); ++n) {
      for (py::ssize_t c = 0; c < planes.shape(1); ++c) {
        job.in = in + n * planes.strides(0) + c * planes.strides(1);
        // Mirrored vectors point the other way in x.
        job.negate = mirrored && c == 0;
        kernels::resample(job, to + static_cast<py::ssize_t>(k) * out.strides(0) +
                                   n * out.strides(1) + c * out.strides(2));
      }
    }
  }
}

}  // namespace

void register_resample(py::module_& m) {
  m.def("resample", &resample, py::arg("planes"), py::arg("encoding"), py::arg("halved"),
        py::arg("box"), py::arg("resized"), py::arg("crops"), py::arg("out").noconvert(),
        "Planes (N, C, H, W) cut, encoded, resized and cropped into out (crops, N, C, h, w).");
}

}  // namespace cvdecode::bind
