// The optional module _cuda: launches on a GPU. Plans, buffers and their layout are _core's; this
// module sees addresses only, so neither knows the types of the other.
#include <pybind11/pybind11.h>

#include <cstdint>
#include <stdexcept>
#include <string>

#include "kernels/cuda/launch.h"

namespace py = pybind11;

namespace {

using cvdecode::kernels::Kernel;
using cvdecode::kernels::kKernelCount;
namespace cuda = cvdecode::kernels::cuda;

void launch(int device, uintptr_t stream, int kernel, uintptr_t steps, int count, int width,
            int height) {
  if (kernel < 0 || kernel >= kKernelCount) throw std::invalid_argument("no such kernel");
  const int error =
      cuda::launch({static_cast<Kernel>(kernel), steps, count, width, height}, device, stream);
  if (error != 0) throw std::runtime_error(cuda::error_text(error));
}

py::tuple devices() {
  const cuda::Devices found = cuda::devices();
  return py::make_tuple(found.count, found.error == 0 ? "" : cuda::error_text(found.error));
}

}  // namespace

PYBIND11_MODULE(_cuda, m) {
  m.doc() = "Launches on a GPU. Private: pass device=\"cuda\" to cvdecode.accumulate.";
  m.attr("runtime_version") = cuda::runtime_version();
  m.def("devices", &devices, "How many GPUs there are, and why none where there is none.");
  m.def("launch", &launch, py::arg("device"), py::arg("stream"), py::arg("kernel"),
        py::arg("steps"), py::arg("count"), py::arg("width"), py::arg("height"),
        "Starts a launch of DeviceBatch.pack() on a stream (an integer) and does not wait.");
}
