// Private: one kernel of the trace by itself, over memory that a test lays out: at any address,
// between guard bytes.
#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <string>
#include <utility>
#include <vector>

#include "accumulate/accumulate.h"
#include "base/error.h"
#include "bind/bind.h"

namespace py = pybind11;

namespace cvdecode::bind {
namespace {

// The memory of an array, null where there is none. It has to hold `count` elements.
template <typename T>
void get(const py::dict& from, const char* key, size_t count, T*& to) {
  to = nullptr;
  if (!from.contains(key)) return;
  const auto array = py::cast<py::array>(from[key]);
  if (static_cast<size_t>(array.nbytes()) != count * sizeof(T) ||
      (array.flags() & py::array::c_style) == 0) {
    throw Error(ErrorKind::kInvalidArgument, std::string(key) + " has the wrong size");
  }
  to = static_cast<T*>(const_cast<void*>(array.data()));
}

template <typename T>
void get(const py::dict& from, const char* key, size_t count, const T*& to) {
  T* memory = nullptr;
  get(from, key, count, memory);
  to = memory;
}

kernels::Map map_of(const py::dict& planes, size_t luma, size_t cells) {
  kernels::Map map;
  get(planes, "x", cells, map.x);
  get(planes, "y", cells, map.y);
  get(planes, "end", cells, map.end);
  get(planes, "mask", cells, map.mask);
  get(planes, "at_x", cells, map.at_x);
  get(planes, "at_y", cells, map.at_y);
  get(planes, "hops", cells, map.hops);
  get(planes, "packed", cells, map.packed);
  uint64_t* shared = nullptr;  // (macroblocks, 2)
  get(planes, "shared", luma / 128, shared);
  map.shared = reinterpret_cast<kernels::Shared*>(shared);
  get(planes, "residual_y", luma, map.residual_y);
  get(planes, "residual_u", luma / 4, map.residual_u);
  get(planes, "residual_v", luma / 4, map.residual_v);
  get(planes, "mask_uv", luma / 4, map.mask_uv);
  return map;
}

// kind: "pixels", "chroma" or "blocks". Returns how many sums were clipped.
int64_t trace_kernel(const std::string& build, const std::string& kind, int width, int height,
                     const py::dict& job, const py::list& sources, const py::dict& out) {
  if (width <= 0 || height <= 0 || width % 16 != 0 || height % 16 != 0) {
    throw Error(ErrorKind::kInvalidArgument, "sizes are multiples of 16");
  }
  const size_t luma = static_cast<size_t>(width) * static_cast<size_t>(height);
  const size_t cells = kind == "blocks" ? luma / 16 : luma;
  std::vector<kernels::Source> list;
  for (const auto& item : sources) {
    const auto d = py::cast<py::dict>(item);
    kernels::Source& source = list.emplace_back();
    source.map = map_of(d, luma, cells);
    source.is_end = py::cast<bool>(d["is_end"]);
    source.end = py::cast<int32_t>(d["end_picture"]);
    source.mask = py::cast<uint8_t>(d["end_mask"]);
    source.may_void = py::cast<bool>(d["may_void"]);
    source.reach = py::cast<int32_t>(d["reach"]);
  }
  kernels::TraceJob trace;
  trace.width = width;
  trace.height = height;
  if (job.contains("bottom")) {
    trace.top = py::cast<int>(job["top"]);
    trace.bottom = py::cast<int>(job["bottom"]);
  }
  if (trace.top < 0 || trace.end_row() > height / 4 || trace.top > trace.end_row()) {
    throw Error(ErrorKind::kInvalidArgument, "no such rows");
  }
  const auto rows = static_cast<size_t>(trace.end_row() - trace.top);
  get(job, "blocks", rows * static_cast<size_t>(width / 4), trace.blocks);
  get(job, "shapes", rows / 4 * static_cast<size_t>(width / 16), trace.shapes);
  get(job, "wanted", luma / 256, trace.wanted);
  if (job.contains("longest")) trace.longest = py::cast<int32_t>(job["longest"]);
  trace.sources = list.data();
  trace.source_count = static_cast<int>(list.size());
  trace.here = py::cast<int32_t>(job["here"]);
  get(job, "residual_y", luma, trace.residual_y);
  get(job, "residual_u", luma / 4, trace.residual_u);
  get(job, "residual_v", luma / 4, trace.residual_v);
  trace.out = map_of(out, luma, cells);
  const kernels::TraceKernels& kernels = trace_build(build);
  if (kind == "pixels") return kernels.pixels(trace);
  if (kind == "chroma") return kernels.chroma(trace);
  if (kind == "blocks") return kernels.blocks(trace);
  throw Error(ErrorKind::kInvalidArgument, "no such kernel: " + kind);
}

// Returns how many blocks share the first one's references, and the longest component met.
std::pair<int, int32_t> select_kernel(const std::string& build, int count, const py::dict& job,
                                      int32_t source, const py::array& out) {
  const auto n = static_cast<size_t>(count);
  kernels::SelectJob select;
  get(job, "x", n, select.x);
  get(job, "y", n, select.y);
  get(job, "ref0", n, select.ref0);
  get(job, "ref1", n, select.ref1);
  select.count = count;
  select.source = source;
  py::dict named;
  named["out"] = out;
  get(named, "out", n, select.out);
  int32_t longest = 0;
  const int same = trace_build(build).select(select, longest);
  return {same, longest};
}

int ends_kernel(const std::string& build, int count, const py::dict& planes) {
  const auto n = static_cast<size_t>(count);
  kernels::EndRow row;
  get(planes, "at_x", n, row.at_x);
  get(planes, "at_y", n, row.at_y);
  get(planes, "end", n, row.end);
  get(planes, "mask", n, row.mask);
  row.count = count;
  return trace_build(build).run_of_ends(row);
}

void subtract_kernel(const std::string& build, int count, const py::dict& planes) {
  const uint8_t* from = nullptr;
  int16_t* to = nullptr;
  get(planes, "from", static_cast<size_t>(count), from);
  get(planes, "to", static_cast<size_t>(count), to);
  trace_build(build).subtract(from, count, to);
}

}  // namespace

void register_trace_test(py::module_& m) {
  m.def("trace_kernel", &trace_kernel, "Private, for tests: one kernel of the trace.");
  m.def("select_kernel", &select_kernel, "Private, for tests: the kernel that joins blocks.");
  m.def("ends_kernel", &ends_kernel, "Private, for tests: the kernel that finds runs of ends.");
  m.def("subtract_kernel", &subtract_kernel, "Private, for tests: a row minus another.");
}

}  // namespace cvdecode::bind
