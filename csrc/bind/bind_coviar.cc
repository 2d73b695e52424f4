// _core.CoviarLoader: cvdecode.coviar's frames, one native call each.
#include <pybind11/numpy.h>

#include <cstdint>
#include <memory>

#include "bind/bind.h"
#include "bind/bind_reader.h"
#include "bind/coviar_loader.h"

namespace py = pybind11;

namespace cvdecode::bind {
namespace {

class PyCoviarLoader {
 public:
  // `handle` is kept alive by the binding; closing it ends the loader too.
  explicit PyCoviarLoader(const ReaderHandle& handle) : handle_(handle), loader_(handle.get()) {}

  py::array picture(int64_t frame) {
    return call<uint8_t>(frame, 3, [&](uint8_t* out) { loader_.picture(frame, out); });
  }
  py::array vectors(int64_t frame, bool accumulate) {
    return call<int32_t>(frame, 2, [&](int32_t* out) { loader_.vectors(frame, accumulate, out); });
  }
  py::array residual(int64_t frame, bool accumulate) {
    return call<int32_t>(frame, 3, [&](int32_t* out) { loader_.residual(frame, accumulate, out); });
  }

 private:
  template <typename T, typename Work>
  py::array call(int64_t frame, int channels, const Work& work) {
    const VideoReader::Use use(handle_.get());
    const Geometry& g = loader_.geometry(frame);
    py::array_t<T> out({g.height(), g.width(), channels});
    T* data = out.mutable_data();
    const py::gil_scoped_release release;
    work(data);
    return out;
  }

  const ReaderHandle& handle_;
  CoviarLoader loader_;
};

}  // namespace

void register_coviar(py::module_& m) {
  py::class_<PyCoviarLoader>(m, "CoviarLoader", "Frames of a reader for cvdecode.coviar.")
      .def(py::init<const ReaderHandle&>(), py::arg("reader"), py::keep_alive<1, 2>())
      .def("picture", &PyCoviarLoader::picture, py::arg("frame"), "uint8 (H, W, 3) BGR.")
      .def("vectors", &PyCoviarLoader::vectors, py::arg("frame"), py::arg("accumulate"),
           "int32 (H, W, 2), here minus source.")
      .def("residual", &PyCoviarLoader::residual, py::arg("frame"), py::arg("accumulate"),
           "int32 (H, W, 3) BGR, difference to the traced-back pixel.");
}

}  // namespace cvdecode::bind
