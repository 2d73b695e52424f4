#include "base/buffer.h"
#include "bind/bind.h"

namespace py = pybind11;

namespace cvdecode::bind {

void register_buffers(py::module_& m) {
  m.def("live_buffers", &Buffer::live_count, "Number of plane allocations now alive.");
  m.def("live_buffer_bytes", &Buffer::live_bytes, "Bytes of plane allocations now alive.");
}

}  // namespace cvdecode::bind
