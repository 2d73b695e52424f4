#include "bind/source.h"

#include <algorithm>
#include <span>
#include <string>
#include <utility>

#include "base/error.h"

namespace py = pybind11;

namespace cvdecode::bind {
namespace {

// Releases Python objects wherever the last owner dies, with or without the GIL.
template <typename T>
std::shared_ptr<void> own_with_gil(T* p) {
  return std::shared_ptr<void>(p, [](void* q) {
    py::gil_scoped_acquire gil;
    delete static_cast<T*>(q);
  });
}

ByteSourcePtr source_of_buffer(const py::object& object) {
  auto* view = new Py_buffer;
  if (PyObject_GetBuffer(object.ptr(), view, PyBUF_C_CONTIGUOUS) != 0) {
    delete view;
    throw py::error_already_set();
  }
  std::shared_ptr<void> owner(view, [](void* p) {
    py::gil_scoped_acquire gil;
    auto* held = static_cast<Py_buffer*>(p);
    PyBuffer_Release(held);
    delete held;
  });
  return make_memory_source(
      {static_cast<const uint8_t*>(view->buf), static_cast<size_t>(view->len)}, std::move(owner));
}

std::string describe_file_object(const py::object& object) {
  const py::object name = py::getattr(object, "name", py::none());
  if (py::isinstance<py::str>(name)) return "<file object " + name.cast<std::string>() + ">";
  return "<file object>";
}

// One method object per call of the constructor; each read takes the GIL.
struct FileObject {
  py::object seek;
  py::object read;
  py::object readinto;  // None where the object has none
};

size_t read_file_object(const FileObject& file, int64_t position, std::span<uint8_t> out) {
  py::gil_scoped_acquire gil;
  file.seek(position);
  if (!file.readinto.is_none()) {
    const auto view = py::memoryview::from_memory(out.data(), static_cast<py::ssize_t>(out.size()));
    const py::object got = file.readinto(view);
    // The object must not keep a view of memory that is about to go away.
    view.attr("release")();
    if (got.is_none()) return 0;
    return std::min(got.cast<size_t>(), out.size());
  }
  const py::object data = file.read(out.size());
  if (!PyBytes_Check(data.ptr())) {
    throw py::type_error("read() of the file object must give bytes, not " +
                         std::string(Py_TYPE(data.ptr())->tp_name) +
                         "; open the file in binary mode");
  }
  const auto size = std::min(static_cast<size_t>(PyBytes_GET_SIZE(data.ptr())), out.size());
  std::copy_n(PyBytes_AS_STRING(data.ptr()), size, out.begin());
  return size;
}

ByteSourcePtr source_of_file_object(const py::object& object) {
  std::string name = describe_file_object(object);
  if (py::hasattr(object, "seekable") && !object.attr("seekable")().cast<bool>()) {
    throw py::type_error(name + " is not seekable; pass its whole content as bytes instead");
  }
  auto* file = new FileObject{object.attr("seek"), object.attr("read"),
                              py::getattr(object, "readinto", py::none())};
  const std::shared_ptr<void> owner = own_with_gil(file);
  py::object end = object.attr("seek")(0, 2);
  if (end.is_none()) end = object.attr("tell")();
  const auto size = end.cast<int64_t>();
  if (py::isinstance<py::str>(object.attr("read")(0))) {
    throw py::type_error(name + " is open in text mode; open it in binary mode");
  }
  return make_callback_source(std::move(name), size,
                              [file, owner](int64_t position, std::span<uint8_t> out) {
                                return read_file_object(*file, position, out);
                              });
}

}  // namespace

bool signal_pending() {
  py::gil_scoped_acquire gil;
  if (PyErr_CheckSignals() != 0) throw py::error_already_set();  // KeyboardInterrupt, as it is
  return false;
}

std::unique_ptr<Demuxer> open_demuxer(const py::object& source, DemuxOptions options) {
  if (!options.interrupted) options.interrupted = &signal_pending;
  if (py::isinstance<py::str>(source) || py::hasattr(source, "__fspath__")) {
    const py::object path = py::module_::import("os").attr("fsencode")(source);
    const auto text = path.cast<std::string>();
    py::gil_scoped_release release;
    return Demuxer::open(text, options);
  }
  ByteSourcePtr bytes;
  if (PyObject_CheckBuffer(source.ptr()) != 0) {
    bytes = source_of_buffer(source);
  } else if (py::hasattr(source, "read") && py::hasattr(source, "seek")) {
    bytes = source_of_file_object(source);
  } else {
    throw py::type_error(
        "a source is a path (str or os.PathLike), a URL, bytes, a memoryview or a seekable binary "
        "file object, not " +
        std::string(Py_TYPE(source.ptr())->tp_name));
  }
  py::gil_scoped_release release;
  return Demuxer::open(std::move(bytes), options);
}

}  // namespace cvdecode::bind
