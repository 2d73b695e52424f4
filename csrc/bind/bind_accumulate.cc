// accumulate() for Python: options in, a dict of arrays over C++ memory out. Python crops and
// names.
#include "bind/bind_accumulate.h"

#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <algorithm>
#include <array>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "accumulate/accumulate.h"
#include "accumulate/arrays.h"
#include "accumulate/maps.h"
#include "accumulate/plan.h"
#include "base/error.h"
#include "bind/bind.h"
#include "bind/bind_clip.h"
#include "bind/bind_reader.h"
#include "bind/reader_motion.h"
#include "reader/memory.h"

namespace py = pybind11;

namespace cvdecode::bind {
namespace {

// An array over a buffer, which it keeps alive.
template <typename T>
py::object wrap(const BufferPtr& buffer, std::vector<py::ssize_t> shape) {
  if (buffer == nullptr) return py::none();
  return py::array_t<T>(std::move(shape), static_cast<const T*>(buffer->data()),
                        keep_alive(buffer));
}

// Bytes of the planes that a result may take over.
double held_bytes(const AccumulateResult* memory) {
  size_t bytes = 0;
  if (memory == nullptr) return 0;
  for (const BufferPtr& buffer :
       {memory->displacement, memory->displacement_per_frame, memory->anchor, memory->mask,
        memory->hops, memory->residual_y, memory->residual_uv, memory->mask_uv, memory->residual}) {
    if (buffer != nullptr) bytes += buffer->size();
  }
  return static_cast<double>(bytes);
}

constexpr double kSmall = 16 << 20;  // never compared with the free memory

// Bytes that the plan of one clip may hold, `held` by other plans of its batch beside it.
int64_t most_of_plan(int64_t max_bytes, int64_t held) {
  const int64_t most = max_bytes > 0
                           ? max_bytes
                           : std::max(static_cast<int64_t>(kSmall), free_memory() / 2 + held / 2);
  return std::max<int64_t>(0, most - held);
}

// Refuses a result that would not fit, before anything is allocated; `memory` is there already.
// What the work may hold beside it, motion and residuals of the chain, has to do with the rest:
// what does not fit is read again.
void check_bytes(const Geometry& g, AccumulateOptions& o, int64_t max_bytes,
                 const AccumulateResult* memory) {
  const RowBytes row = row_bytes(o, g);
  auto bytes = static_cast<double>(row.kept + row.work);
  bytes *= static_cast<double>(o.frames.size());
  bytes = std::max(0.0, bytes - held_bytes(memory));
  if (bytes <= kSmall && max_bytes == 0) return;
  const auto most = static_cast<double>(max_bytes > 0 ? max_bytes : free_memory() / 2);
  if (bytes <= most) {
    const auto rest = static_cast<int64_t>(most - bytes) / 2;
    o.motion_budget = std::min(o.motion_budget, rest);
    o.residual_budget = std::min(o.residual_budget, rest);
    return;
  }
  throw Error(ErrorKind::kMemory,
              "accumulating " + std::to_string(o.frames.size()) + " frames takes " +
                  std::to_string(static_cast<int64_t>(bytes / 1e6)) +
                  " MB, above max_bytes = " + std::to_string(static_cast<int64_t>(most / 1e6)) +
                  " MB; ask for fewer frames at a time, as video.batches() would, or grid=4");
}

template <typename T>
using Array = py::array_t<T, py::array::c_style>;

// The rows of one plane: checks the shape, gives null for None.
template <typename T>
class Rows {
 public:
  Rows(const py::object& object, const char* name, py::ssize_t rows, size_t row_elements) {
    if (object.is_none()) return;
    array_ = py::cast<py::array>(object);
    if (!py::isinstance<Array<T>>(array_)) {
      throw Error(ErrorKind::kInvalidArgument,
                  std::string(name) + " must be C-contiguous and of the dtype of its plane");
    }
    if (array_.ndim() < 1 || array_.shape(0) != rows ||
        static_cast<size_t>(array_.size()) != static_cast<size_t>(rows) * row_elements) {
      throw Error(ErrorKind::kInvalidArgument,
                  std::string(name) + " does not have the shape that its frames and size ask for");
    }
    data_ = static_cast<const T*>(array_.data());
    row_elements_ = row_elements;
  }
  const T* row(size_t t) const { return data_ == nullptr ? nullptr : data_ + t * row_elements_; }
  const T* data() const { return data_; }

 private:
  py::array array_;  // keeps the memory
  const T* data_ = nullptr;
  size_t row_elements_ = 0;
};

template <typename E>
E pick(const py::dict& options, const char* key,
       std::initializer_list<std::pair<const char*, E>> of, E absent) {
  if (!options.contains(key)) return absent;
  const py::object value = options[key];
  std::string allowed;
  for (const auto& [name, result] : of) {
    const std::string word = name;
    if (word == "None" ? value.is_none()
                       : py::isinstance<py::str>(value) && py::cast<std::string>(value) == word) {
      return result;
    }
    allowed += (allowed.empty() ? "" : ", ") + (word == "None" ? word : "\"" + word + "\"");
  }
  throw Error(ErrorKind::kInvalidArgument, std::string(key) + " must be one of " + allowed +
                                               ", not " + std::string(py::repr(value)));
}

template <typename T>
T value_of(const py::dict& options, const char* key, T absent) {
  if (!options.contains(key) || options[key].is_none()) return absent;
  return py::cast<T>(options[key]);
}

Geometry geometry_of(const std::vector<int>& size) {
  if (size.size() != 7 || size[0] <= 0 || size[1] <= 0 || size[0] % 16 != 0 || size[1] % 16 != 0) {
    throw Error(ErrorKind::kInvalidArgument,
                "size must be (coded_width, coded_height, left, top, right, bottom, "
                "chroma_format_idc) with coded sizes that are multiples of 16");
  }
  Geometry g;
  g.coded_width = size[0];
  g.coded_height = size[1];
  g.crop_left = size[2];
  g.crop_top = size[3];
  g.crop_right = size[4];
  g.crop_bottom = size[5];
  g.chroma_format_idc = size[6];
  if (size[2] < 0 || size[3] < 0 || size[4] < 0 || size[5] < 0 || g.width() <= 0 ||
      g.height() <= 0) {
    throw Error(ErrorKind::kInvalidArgument, "the crop leaves nothing of the picture");
  }
  return g;
}

// Calls use(provider) over arrays in memory, without the lock of the interpreter.
template <typename Use>
void with_arrays(const std::vector<int>& size, const py::dict& planes, const Use& use) {
  const Geometry g = geometry_of(size);
  const auto get = [&](const char* name) -> py::object {
    return planes.contains(name) ? py::object(planes[name]) : py::object(py::none());
  };
  const auto frames = static_cast<py::ssize_t>(py::len(get("presentation")));
  const auto cells = static_cast<size_t>(g.w4()) * static_cast<size_t>(g.h4());
  const auto cells16 = static_cast<size_t>(g.w16()) * static_cast<size_t>(g.h16());
  const auto luma = static_cast<size_t>(g.coded_width) * static_cast<size_t>(g.coded_height);
  const auto display = static_cast<size_t>(g.width()) * static_cast<size_t>(g.height());
  const Rows<int64_t> presentation(get("presentation"), "presentation", frames, 1);
  const Rows<int64_t> time(get("time"), "time", frames, 1);
  const Rows<int64_t> decode(get("decode"), "decode", frames, 1);
  const Rows<int64_t> before(get("previous_reference"), "previous_reference", frames, 1);
  const Rows<int64_t> intra(get("last_intra"), "last_intra", frames, 1);
  const Rows<uint8_t> type(get("type"), "type", frames, 1);
  const Rows<uint8_t> all_intra(get("all_intra"), "all_intra", frames, 1);
  const Rows<uint8_t> is_reference(get("is_reference"), "is_reference", frames, 1);
  const Rows<uint8_t> lost(get("lost"), "lost", frames, 1);
  const Rows<int16_t> mv(get("mv"), "mv", frames, 4 * cells);
  const Rows<int16_t> ref(get("ref"), "ref", frames, 2 * cells);
  const Rows<int32_t> ref_picture(get("ref_picture"), "ref_picture", frames, 2 * cells);
  const Rows<uint8_t> mb_type(get("mb_type"), "mb_type", frames, cells16);
  const Rows<int16_t> residual_y(get("residual_y"), "residual_y", frames, luma);
  const Rows<int16_t> residual_uv(get("residual_uv"), "residual_uv", frames, luma / 2);
  const py::object rgb_object = get("rgb");
  const auto rgb_rows = rgb_object.is_none() ? 0 : static_cast<py::ssize_t>(py::len(rgb_object));
  const Rows<uint8_t> rgb(rgb_object, "rgb", rgb_rows, 3 * display);
  const Rows<int64_t> rgb_row(get("rgb_row"), "rgb_row", frames, 1);

  std::vector<ArrayRow> rows(static_cast<size_t>(frames));
  for (size_t t = 0; t < rows.size(); ++t) {
    ArrayRow& row = rows[t];
    row.picture.presentation = static_cast<int32_t>(presentation.data()[t]);
    row.picture.time = time.data() == nullptr ? -1 : time.data()[t];
    row.picture.type =
        type.data() == nullptr ? FrameType::kUnknown : static_cast<FrameType>(type.data()[t]);
    row.picture.all_intra = all_intra.data() != nullptr && all_intra.data()[t] != 0;
    row.picture.is_reference = is_reference.data() == nullptr || is_reference.data()[t] != 0;
    row.lost = lost.data() != nullptr && lost.data()[t] != 0;
    row.decode = decode.data() == nullptr ? -1 : decode.data()[t];
    if (before.data() != nullptr) row.previous_reference = before.data()[t];
    if (intra.data() != nullptr) row.last_intra = intra.data()[t];
    row.mv = mv.row(t);
    row.ref = ref.row(t);
    row.ref_picture = ref_picture.row(t);
    row.mb_type = mb_type.row(t);
    row.residual_y = residual_y.row(t);
    row.residual_uv = residual_uv.row(t);
    const int64_t at = rgb_row.data() == nullptr ? static_cast<int64_t>(t) : rgb_row.data()[t];
    if (at >= 0 && at < rgb_rows) row.rgb = rgb.row(static_cast<size_t>(at));
  }
  py::gil_scoped_release release;
  ArrayProvider provider(g, std::move(rows));
  use(provider);
}

py::dict accumulate_arrays(const std::vector<int>& size, const py::dict& planes,
                           const py::dict& options,
                           const std::shared_ptr<AccumulateResult>& memory) {
  AccumulateOptions parsed = accumulate_options(options);
  auto result = std::make_shared<AccumulateResult>();
  with_arrays(size, planes, [&](ArrayProvider& provider) {
    check_bytes(provider.geometry(0), parsed, 0, memory.get());
    *result = accumulate(provider, parsed, memory.get());
  });
  return accumulate_result(result);
}

std::shared_ptr<TracePlan> plan_arrays(const std::vector<int>& size, const py::dict& planes,
                                       const py::dict& options, int64_t max_bytes, int64_t held) {
  const AccumulateOptions parsed = accumulate_options(options);
  auto plan = std::make_shared<TracePlan>();
  with_arrays(size, planes, [&](ArrayProvider& provider) {
    *plan = plan_accumulation(provider, parsed, most_of_plan(max_bytes, held));
  });
  return plan;
}

py::dict accumulate_reader(const ReaderHandle& handle, const py::dict& options,
                           const std::shared_ptr<AccumulateResult>& memory) {
  VideoReader& reader = handle.get();
  const VideoReader::Use use(reader);
  AccumulateOptions parsed = accumulate_options(options);
  auto result = std::make_shared<AccumulateResult>();
  int32_t segment = 0;
  {
    const py::gil_scoped_release release;
    std::shared_ptr<BufferPool> pool;
    if (memory != nullptr) pool = std::static_pointer_cast<BufferPool>(memory->provider_memory);
    if (pool == nullptr) pool = std::make_shared<BufferPool>();
    ReaderMotion provider(reader, pool);
    if (!parsed.frames.empty()) {
      const int32_t first = provider.find(parsed.frames.front());
      if (first >= 0) segment = provider.picture(first).segment;
    }
    check_bytes(provider.geometry(segment), parsed, reader.options().max_bytes, memory.get());
    *result = accumulate(provider, parsed, memory.get());
    if (memory != nullptr) result->provider_memory = std::move(pool);
  }
  py::dict out = accumulate_result(result);
  out["segment"] = segment;
  return out;
}

// The plan and the segment of its frames.
std::pair<std::shared_ptr<TracePlan>, int32_t> plan_reader(const ReaderHandle& handle,
                                                           const py::dict& options,
                                                           int64_t max_bytes, int64_t held) {
  VideoReader& reader = handle.get();
  const VideoReader::Use use(reader);
  const AccumulateOptions parsed = accumulate_options(options);
  auto plan = std::make_shared<TracePlan>();
  int32_t segment = 0;
  const py::gil_scoped_release release;
  ReaderMotion provider(reader);
  if (!parsed.frames.empty()) {
    const int32_t first = provider.find(parsed.frames.front());
    if (first >= 0) segment = provider.picture(first).segment;
  }
  *plan = plan_accumulation(provider, parsed, most_of_plan(max_bytes, held));
  return {std::move(plan), segment};
}

// An accumulation whose planes are arrays of the caller, to be written in place of its own.
std::shared_ptr<AccumulateResult> accumulation_memory(const py::dict& arrays) {
  auto result = std::make_shared<AccumulateResult>();
  const std::pair<const char*, BufferPtr AccumulateResult::*> names[] = {
      {"displacement", &AccumulateResult::displacement},
      {"displacement_per_frame", &AccumulateResult::displacement_per_frame},
      {"anchor", &AccumulateResult::anchor},
      {"mask", &AccumulateResult::mask},
      {"hops", &AccumulateResult::hops},
      {"residual_y", &AccumulateResult::residual_y},
      {"residual_uv", &AccumulateResult::residual_uv},
      {"mask_uv", &AccumulateResult::mask_uv},
      {"residual", &AccumulateResult::residual},
  };
  for (const auto& [name, buffer] : names) {
    if (!arrays.contains(name)) continue;
    py::array array = py::cast<py::array>(arrays[name]);
    if ((array.flags() & py::array::c_style) == 0 || !array.writeable()) {
      throw Error(ErrorKind::kInvalidArgument,
                  std::string(name) + " must be writable and C-contiguous to be written in place");
    }
    void* data = array.mutable_data();
    const auto bytes = static_cast<size_t>(array.nbytes());
    // The last holder may be a thread without the interpreter's lock.
    const std::shared_ptr<void> owner(new py::array(std::move(array)), [](void* p) {
      const py::gil_scoped_acquire acquire;
      delete static_cast<py::array*>(p);
    });
    result.get()->*buffer = std::make_shared<Buffer>(data, bytes, owner);
  }
  return result;
}

// Pixels of frames whatever the reader was opened for: uint8 (T, 3, H, W).
py::array read_rgb(const ReaderHandle& handle, const std::vector<int64_t>& frames) {
  VideoReader& reader = handle.get();
  const VideoReader::Use use(reader);
  Clip clip;
  {
    const py::gil_scoped_release release;
    const FrameIndex& index = reader.index();
    std::vector<int32_t> pictures;
    pictures.reserve(frames.size());
    for (const int64_t frame : frames) {
      if (frame < 0 || frame >= index.size()) throw Error(ErrorKind::kIndex, "no such frame");
      pictures.push_back(index.presentation[static_cast<size_t>(frame)]);
    }
    clip = reader.read_pictures(pictures, mask_of(Plane::kRgb));
  }
  return plane_array(clip, Plane::kRgb);
}

}  // namespace

AccumulateOptions accumulate_options(const py::dict& options) {
  AccumulateOptions o;
  o.frames = value_of<std::vector<int64_t>>(options, "frames", {});
  if (options.contains("anchors") && !options["anchors"].is_none()) {
    o.has_anchors = true;
    o.anchors = py::cast<std::vector<int64_t>>(options["anchors"]);
  }
  o.select =
      pick<Select>(options, "select", {{"nearest", Select::kNearest}, {"list0", Select::kList0}},
                   Select::kNearest);
  o.intra = pick<IntraPolicy>(options, "intra",
                              {{"stop", IntraPolicy::kStop}, {"coviar", IntraPolicy::kCoviar}},
                              IntraPolicy::kStop);
  o.cross = pick<Cross>(options, "cross", {{"follow", Cross::kFollow}, {"mask", Cross::kMask}},
                        Cross::kFollow);
  o.residual = pick<ResidualKind>(options, "residual",
                                  {{"None", ResidualKind::kNone},
                                   {"coded", ResidualKind::kCoded},
                                   {"recon_diff", ResidualKind::kReconDiff}},
                                  ResidualKind::kNone);
  o.grid = value_of<int>(options, "grid", 1);
  o.one_step = value_of<bool>(options, "one_step", false);
  o.per_frame = value_of<bool>(options, "per_frame", false);
  o.count_hops = value_of<bool>(options, "count_hops", false);
  o.ends = value_of<bool>(options, "ends", true);
  o.box = value_of<std::array<int, 4>>(options, "box", {});
  o.coviar = value_of<bool>(options, "coviar", false);
  o.motion_budget = value_of<int64_t>(options, "motion_budget", o.motion_budget);
  o.residual_budget = value_of<int64_t>(options, "residual_budget", o.residual_budget);
  const auto build = value_of<std::string>(options, "build", "");
  if (!build.empty()) o.kernels = &trace_build(build);
  return o;
}

py::dict accumulate_result(std::shared_ptr<AccumulateResult> result) {
  const AccumulateResult& r = *result;
  const auto t = static_cast<py::ssize_t>(r.frames);
  const py::ssize_t h = r.geometry.coded_height / r.grid;
  const py::ssize_t w = r.geometry.coded_width / r.grid;
  py::dict out;
  out["displacement"] = r.displacement_per_frame != nullptr
                            ? wrap<float>(r.displacement_per_frame, {t, 2, h, w})
                            : wrap<int16_t>(r.displacement, {t, 2, h, w});
  if (r.ends) {
    out["anchor"] = wrap<int32_t>(r.anchor, {t, h, w});
    out["mask"] = wrap<uint8_t>(r.mask, {t, h, w});
    out["mask_uv"] = wrap<uint8_t>(r.mask_uv, {t, h / 2, w / 2});
  } else {
    out["lost"] = py::array_t<uint8_t>(t, r.lost.data()).attr("astype")("bool");
  }
  out["hops"] = wrap<uint16_t>(r.hops, {t, h, w});
  out["residual_y"] = wrap<int16_t>(r.residual_y, {t, h, w});
  out["residual_uv"] = wrap<int16_t>(r.residual_uv, {t, 2, h / 2, w / 2});
  out["residual"] = wrap<int16_t>(r.residual, {t, 3, r.geometry.height(), r.geometry.width()});
  out["size"] = py::make_tuple(r.geometry.coded_width, r.geometry.coded_height,
                               r.geometry.crop_left, r.geometry.crop_top, r.geometry.crop_right,
                               r.geometry.crop_bottom, r.geometry.chroma_format_idc);
  py::dict stats;
  stats["saturated"] = r.stats.saturated;
  stats["pictures_read"] = r.stats.pictures_read;
  stats["pictures_traced"] = r.stats.pictures_traced;
  stats["cpu_seconds"] = r.stats.cpu_seconds;
  stats["peak_maps"] = r.stats.peak_maps;
  out["stats"] = stats;
  out["memory"] = std::move(result);
  return out;
}

void register_accumulate(py::module_& m) {
  py::class_<AccumulateResult, std::shared_ptr<AccumulateResult>>(
      m, "AccumulationMemory", "The memory of an accumulation; another call can use it again.");
  m.def("accumulate_arrays", &accumulate_arrays, py::arg("size"), py::arg("planes"),
        py::arg("options"), py::arg("memory") = nullptr, "accumulate() over arrays in memory.");
  m.def("accumulate_reader", &accumulate_reader, py::arg("reader"), py::arg("options"),
        py::arg("memory") = nullptr, "accumulate() over an opened video.");
  m.def("accumulation_memory", &accumulation_memory, py::arg("arrays"),
        "Arrays of the caller, by the names of the planes, as memory for an accumulation.");
  m.def(
      "accumulation_row_bytes",
      [](const std::vector<int>& size, const py::dict& options) {
        const RowBytes row = row_bytes(accumulate_options(options), geometry_of(size));
        return std::make_pair(row.kept, row.work);
      },
      py::arg("size"), py::arg("options"),
      "Bytes of a frame: of the planes, and of what is held beside them until the call returns.");
  m.def("free_memory", &free_memory, "Bytes that can be allocated without swapping.");
  m.def("plan_arrays", &plan_arrays, py::arg("size"), py::arg("planes"), py::arg("options"),
        py::arg("max_bytes") = 0, py::arg("held") = 0,
        "The work of accumulate_arrays(), for a device to do. max_bytes: of this plan and of the "
        "`held` bytes of others, 0 = half of the free memory.");
  m.def("plan_reader", &plan_reader, py::arg("reader"), py::arg("options"),
        py::arg("max_bytes") = 0, py::arg("held") = 0,
        "The work of accumulate_reader() and the segment of its frames.");
  m.def("trace_builds", &trace_builds,
        "Names of the builds of the trace that this CPU runs; option \"build\" names one.");
  m.def("read_rgb", &read_rgb, py::arg("reader"), py::arg("frames"),
        "Pixels of frames, uint8 (T, 3, H, W).");
}

}  // namespace cvdecode::bind
