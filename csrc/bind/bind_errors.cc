// cvdecode::Error -> Python exceptions: each is a cvdecode.Error and the fitting builtin at once.
#include <pybind11/pybind11.h>

#include <cstring>
#include <exception>
#include <string>

#include "base/error.h"
#include "bind/bind.h"

namespace py = pybind11;

namespace cvdecode::bind {
namespace {

// Owned for the life of the interpreter.
struct Classes {
  PyObject* base = nullptr;
  PyObject* unsupported = nullptr;
  PyObject* corrupt = nullptr;
  PyObject* unavailable = nullptr;
  PyObject* not_found = nullptr;
  PyObject* io = nullptr;
  PyObject* state = nullptr;
};
Classes g_classes;

PyObject* make_class(py::module_& m, const char* name, const char* doc, PyObject* builtin) {
  const std::string full = std::string("cvdecode.") + name;
  py::list bases;
  if (g_classes.base != nullptr) bases.append(py::handle(g_classes.base));
  bases.append(py::handle(builtin));
  PyObject* cls = PyErr_NewExceptionWithDoc(full.c_str(), doc, py::tuple(bases).ptr(), nullptr);
  if (cls == nullptr) throw py::error_already_set();
  m.attr(name) = py::reinterpret_borrow<py::object>(cls);
  return cls;
}

PyObject* class_of(ErrorKind kind) {
  switch (kind) {
    case ErrorKind::kUnsupported: return g_classes.unsupported;
    case ErrorKind::kCorrupt: return g_classes.corrupt;
    case ErrorKind::kPlaneUnavailable: return g_classes.unavailable;
    case ErrorKind::kNotFound: return g_classes.not_found;
    case ErrorKind::kIo: return g_classes.io;
    case ErrorKind::kInvalidArgument: return PyExc_ValueError;
    case ErrorKind::kIndex: return PyExc_IndexError;
    case ErrorKind::kMemory: return PyExc_MemoryError;
    case ErrorKind::kState: return g_classes.state;
  }
  return PyExc_RuntimeError;
}

}  // namespace

void register_errors(py::module_& m) {
  g_classes.base = make_class(m, "Error", "Base of every error of cvdecode.", PyExc_Exception);
  g_classes.unsupported =
      make_class(m, "UnsupportedStream", "The stream is valid, but outside what can be read.",
                 PyExc_NotImplementedError);
  g_classes.corrupt =
      make_class(m, "CorruptStream", "The bytes contradict their own syntax.", PyExc_ValueError);
  g_classes.unavailable =
      make_class(m, "PlaneUnavailable", "This backend does not know this plane for this stream.",
                 PyExc_LookupError);
  g_classes.not_found =
      make_class(m, "SourceNotFound", "The source does not exist.", PyExc_FileNotFoundError);
  g_classes.io = make_class(m, "SourceError", "The source cannot be read.", PyExc_OSError);
  g_classes.state = make_class(m, "ReaderState", "The reader is closed, or in use by another call.",
                               PyExc_RuntimeError);
  py::register_exception_translator([](std::exception_ptr p) {
    try {
      if (p) std::rethrow_exception(p);
    } catch (const Error& e) {
      // A message may quote a file name that is not UTF-8.
      PyObject* text = PyUnicode_DecodeUTF8(
          e.what(), static_cast<Py_ssize_t>(std::strlen(e.what())), "surrogateescape");
      if (text == nullptr) return;
      PyErr_SetObject(class_of(e.kind()), text);
      Py_DECREF(text);
    }
  });
}

}  // namespace cvdecode::bind
