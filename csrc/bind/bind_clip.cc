#include "bind/bind_clip.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <iterator>
#include <string>
#include <utility>
#include <vector>

#include "bind/bind.h"
#include "frame/plane_names.h"

namespace py = pybind11;

namespace cvdecode::bind {
namespace {

using Sizes = std::vector<py::ssize_t>;

// Type, shape behind T, and the strides of that shape in elements; offset in elements.
struct Layout {
  py::dtype dtype;
  Sizes shape;
  Sizes strides;
  py::ssize_t offset = 0;
};

Sizes row_major(const Sizes& shape) {
  Sizes strides(shape.size(), 1);
  for (size_t i = shape.size(); i-- > 1;) strides[i - 1] = strides[i] * shape[i];
  return strides;
}

Layout dense(py::dtype dtype, Sizes shape) {
  Sizes strides = row_major(shape);
  return {std::move(dtype), std::move(shape), std::move(strides), 0};
}

Layout layout_of(const Geometry& g, Plane plane) {
  const auto i16 = py::dtype::of<int16_t>();
  switch (plane) {
    case Plane::kMv: return dense(i16, {2, 2, g.h4(), g.w4()});
    case Plane::kRef: return dense(i16, {2, g.h4(), g.w4()});
    case Plane::kMbType: return dense(py::dtype::of<uint8_t>(), {g.h16(), g.w16()});
    case Plane::kQp: return dense(i16, {g.h16(), g.w16()});
    case Plane::kBits: return dense(py::dtype::of<uint16_t>(), {g.h16(), g.w16()});
    case Plane::kResidualY:
      return {i16,
              {g.height(), g.width()},
              {g.coded_width, 1},
              static_cast<py::ssize_t>(g.crop_top) * g.coded_width + g.crop_left};
    case Plane::kResidualUv: {
      const py::ssize_t width = g.coded_width / 2;
      const py::ssize_t height = g.coded_height / 2;
      return {i16,
              {2, (g.height() + 1) / 2, (g.width() + 1) / 2},
              {width * height, width, 1},
              g.crop_top / 2 * width + g.crop_left / 2};
    }
    case Plane::kRgb: return dense(py::dtype::of<uint8_t>(), {3, g.height(), g.width()});
    case Plane::kRefPicture: return dense(py::dtype::of<int32_t>(), {2, g.h4(), g.w4()});
    case Plane::kMotion: break;  // never handed out
  }
  return dense(py::dtype::of<uint8_t>(), {});
}

// (T,) filled by value(row).
template <typename T, typename F>
py::array_t<T> per_row(size_t rows, F value) {
  py::array_t<T> array(static_cast<py::ssize_t>(rows));
  T* out = array.mutable_data();
  for (size_t row = 0; row < rows; ++row) out[row] = value(row);
  return array;
}

py::array_t<int64_t> copy_of(const std::vector<int64_t>& values) {
  return per_row<int64_t>(values.size(), [&](size_t row) { return values[row]; });
}

py::array frame_type_letters(const VideoReader& reader, const std::vector<int64_t>& frames) {
  // One UCS-4 letter each: numpy's "U1".
  const std::array<char32_t, 4> letters = {U'?', U'I', U'P', U'B'};
  py::array array(py::dtype("U1"), Sizes{static_cast<py::ssize_t>(frames.size())});
  auto* out = static_cast<char*>(array.mutable_data());
  for (size_t row = 0; row < frames.size(); ++row) {
    const char32_t letter = letters[static_cast<size_t>(reader.picture(frames[row]).type)];
    std::memcpy(out + row * sizeof letter, &letter, sizeof letter);
  }
  return array;
}

}  // namespace

py::capsule keep_alive(BufferPtr buffer) {
  auto held = std::make_unique<BufferPtr>(std::move(buffer));
  py::capsule capsule(held.get(), [](void* p) { delete static_cast<BufferPtr*>(p); });
  held.release();
  return capsule;
}

py::array plane_array(const Clip& clip, Plane plane) {
  const BufferPtr& buffer = clip.buffers[static_cast<size_t>(plane)];
  Layout layout = layout_of(clip.geometry, plane);
  const py::ssize_t item = layout.dtype.itemsize();
  layout.shape.insert(layout.shape.begin(), clip.frames);
  for (py::ssize_t& stride : layout.strides) stride *= item;
  layout.strides.insert(layout.strides.begin(),
                        static_cast<py::ssize_t>(plane_row_bytes(clip.geometry, plane)));
  auto* data = static_cast<uint8_t*>(buffer->data());
  if (plane != Plane::kResidualY && plane != Plane::kResidualUv) {
    return py::array(layout.dtype, layout.shape, layout.strides, data, keep_alive(buffer));
  }
  // The view's base is an array at coded size: accumulate(clip) traces through all of it.
  Sizes coded = layout.shape;
  coded[coded.size() - 2] =
      layout.strides[layout.strides.size() - 3] / layout.strides[layout.strides.size() - 2];
  coded[coded.size() - 1] = layout.strides[layout.strides.size() - 2] / item;
  const py::array whole(layout.dtype, coded, layout.strides, data, keep_alive(buffer));
  const py::ssize_t x = layout.offset % coded.back();
  const py::ssize_t y = layout.offset / coded.back();
  const py::ssize_t height = layout.shape[layout.shape.size() - 2];
  const py::ssize_t width = layout.shape.back();
  return whole[py::make_tuple(py::ellipsis(), py::slice(y, y + height, 1),
                              py::slice(x, x + width, 1))];
}

Plane plane_of(const std::string& name) {
  std::string known;
  for (int p = 0; p <= static_cast<int>(Plane::kRgb); ++p) {
    const auto plane = static_cast<Plane>(p);
    if (name == plane_name(plane)) return plane;
    known += std::string(known.empty() ? "" : ", ") + plane_name(plane);
  }
  throw py::value_error("there is no plane '" + name + "'; the planes are " + known);
}

void add_frame_arrays(const VideoReader& reader, const std::vector<int64_t>& frames,
                      py::dict& arrays) {
  const size_t rows = frames.size();
  arrays["pts"] =
      per_row<int64_t>(rows, [&](size_t row) { return reader.picture(frames[row]).pts; });
  arrays["pts_seconds"] =
      per_row<double>(rows, [&](size_t row) { return reader.pts_seconds(frames[row]); });
  arrays["duration_seconds"] =
      per_row<double>(rows, [&](size_t row) { return reader.duration_seconds(frames[row]); });
  arrays["frame_type"] = frame_type_letters(reader, frames);
  arrays["is_key"] =
      per_row<bool>(rows, [&](size_t row) { return reader.picture(frames[row]).is_key; });
}

// Where pictures stand in decode order, int64 (T, 3): the picture, the nearest reference picture
// before it and the last all-intra picture at or before it, -1 = there is none in its segment.
py::array decode_places(const VideoReader& reader, const std::vector<int64_t>& frames) {
  const FrameIndex& index = reader.index();
  py::array_t<int64_t> array(Sizes{static_cast<py::ssize_t>(frames.size()), 3});
  int64_t* out = array.mutable_data();
  for (const int64_t frame : frames) {
    const int32_t number = index.presentation[static_cast<size_t>(frame)];
    const auto picture = [&](int32_t n) -> const Picture& {
      return index.pictures[static_cast<size_t>(n)];
    };
    const int32_t segment = picture(number).segment;
    int32_t before = number - 1;
    while (before >= 0 && picture(before).segment == segment && !picture(before).is_reference) {
      --before;
    }
    const auto gop = std::upper_bound(index.gops.begin(), index.gops.end(), number,
                                      [](int32_t n, const Gop& g) { return n < g.decode_start; });
    const int32_t intra = gop == index.gops.begin() ? -1 : std::prev(gop)->decode_start;
    const auto inside = [&](int32_t n) {
      return n >= 0 && picture(n).segment == segment ? int64_t{n} : int64_t{-1};
    };
    *out++ = number;
    *out++ = inside(before);
    *out++ = inside(intra);
  }
  return array;
}

py::dict batch_arrays(const VideoReader& reader, const Batch& batch) {
  py::dict arrays;
  for (int p = 0; p <= static_cast<int>(Plane::kRgb); ++p) {
    const auto plane = static_cast<Plane>(p);
    if (batch.clip.has_plane(plane)) arrays[plane_name(plane)] = plane_array(batch.clip, plane);
  }
  if (reader.options().rgb == RgbMode::kKey) {
    arrays["rgb"] = plane_array(batch.key_rgb, Plane::kRgb);
    arrays["rgb_index"] = copy_of(batch.rgb_index);
  }
  arrays["index"] = copy_of(batch.index);
  arrays["decode_places"] = decode_places(reader, batch.index);
  add_frame_arrays(reader, batch.index, arrays);
  const std::vector<uint8_t>& lost = batch.clip.lost;
  arrays["lost"] = per_row<bool>(lost.size(), [&](size_t row) { return lost[row] != 0; });
  return arrays;
}

void register_clip(py::module_& m) {
  py::class_<Batch, std::shared_ptr<Batch>>(
      m, "Batch", "The memory of one clip; a reader can read into it again.");
  py::class_<BufferPool, std::shared_ptr<BufferPool>>(
      m, "BufferPool", "Lends the memory of clips that nobody holds any more to the next ones.")
      .def(py::init<>());
}

}  // namespace cvdecode::bind
