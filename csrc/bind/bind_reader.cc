// _core.Reader: the whole of VideoReader for Python. All argument checking that users see is in
// python/cvdecode/_reader.py.
#include "bind/bind_reader.h"

#include <pybind11/numpy.h>
#include <pybind11/stl.h>

#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "base/error.h"
#include "bind/bind.h"
#include "bind/bind_clip.h"
#include "bind/source.h"
#include "frame/plane_names.h"

namespace py = pybind11;

namespace cvdecode::bind {

VideoReader& ReaderHandle::get() const {
  if (reader == nullptr) throw Error(ErrorKind::kState, "this VideoReader is closed");
  return *reader;
}

namespace {

using Indices = py::array_t<int64_t, py::array::c_style>;

ReaderOptions options_of(const std::vector<std::string>& planes, const std::string& rgb,
                         const std::string& backend, int num_threads, int64_t max_bytes) {
  ReaderOptions options;
  options.planes = 0;
  for (const std::string& name : planes) options.planes |= mask_of(plane_of(name));
  options.rgb = rgb == "all" ? RgbMode::kAll : rgb == "key" ? RgbMode::kKey : RgbMode::kNone;
  if (has(options.planes, Plane::kRgb)) options.rgb = RgbMode::kAll;
  options.planes &= ~mask_of(Plane::kRgb);
  options.backend = backend == "native"  ? BackendChoice::kNative
                    : backend == "libav" ? BackendChoice::kLibav
                                         : BackendChoice::kAuto;
  options.num_threads = num_threads;
  options.max_bytes = max_bytes;
  return options;
}

std::unique_ptr<ReaderHandle> open_reader(const py::object& source,
                                          const std::vector<std::string>& planes,
                                          const std::string& rgb, const std::string& backend,
                                          int num_threads, int stream_index, int64_t max_bytes,
                                          const std::string& index_file,
                                          const std::string& index_stamp) {
  ReaderOptions options = options_of(planes, rgb, backend, num_threads, max_bytes);
  options.index_file = index_file;
  options.index_stamp = index_stamp;
  DemuxOptions demux;
  demux.stream_index = stream_index;
  demux.deferred = !index_file.empty();
  std::unique_ptr<Demuxer> demuxer = open_demuxer(source, demux);
  auto handle = std::make_unique<ReaderHandle>();
  const py::gil_scoped_release release;
  handle->reader = std::make_unique<VideoReader>(std::move(demuxer), options);
  return handle;
}

// Reads into `batch` (or a new one) and returns it with its arrays.
py::tuple read(const ReaderHandle& self, const Indices& frames, std::shared_ptr<Batch> batch,
               const std::shared_ptr<BufferPool>& pool) {
  VideoReader& reader = self.get();
  const VideoReader::Use use(reader);
  if (batch == nullptr) batch = std::make_shared<Batch>();
  const std::span<const int64_t> wanted(frames.data(), static_cast<size_t>(frames.size()));
  {
    const py::gil_scoped_release release;
    reader.read(wanted, *batch, pool.get());
  }
  return py::make_tuple(batch, batch_arrays(reader, *batch), batch->segment);
}

void close(ReaderHandle& self) {
  if (self.reader == nullptr) return;
  { const VideoReader::Use use(*self.reader); }  // refuses while another thread is reading
  const std::unique_ptr<VideoReader> dying = std::move(self.reader);
  // Codec threads may have to be joined.
  const py::gil_scoped_release release;
  const_cast<std::unique_ptr<VideoReader>&>(dying).reset();
}

py::dict info_of(const ReaderHandle& self) {
  const StreamInfo& info = self.get().info();
  py::dict d;
  d["container"] = info.container;
  d["codec"] = info.codec;
  d["profile"] = info.profile;
  d["stream_index"] = info.stream_index;
  d["width"] = info.width;
  d["height"] = info.height;
  d["time_base"] = py::make_tuple(info.time_base_num, info.time_base_den);
  d["frame_rate"] = py::make_tuple(info.frame_rate_num, info.frame_rate_den);
  const FrameIndex& index = self.get().index();  // the container's word comes first
  const bool told = info.sar_num > 0;
  d["sar"] =
      py::make_tuple(told ? info.sar_num : index.sar_num, told ? info.sar_den : index.sar_den);
  d["rotation"] = info.rotation;
  d["clean_aperture"] = py::make_tuple(info.clean_aperture[0], info.clean_aperture[1],
                                       info.clean_aperture[2], info.clean_aperture[3]);
  d["bit_rate"] = info.bit_rate;
  return d;
}

py::dict index_of(const ReaderHandle& self) {
  const VideoReader& reader = self.get();
  const FrameIndex& index = reader.index();
  py::dict d;
  py::list segments;
  for (const Segment& s : index.segments) {
    const Geometry& g = s.geometry;
    segments.append(
        py::make_tuple(s.start, s.stop, py::make_tuple(g.coded_width, g.coded_height),
                       py::make_tuple(g.crop_left, g.crop_top, g.crop_right, g.crop_bottom),
                       g.chroma_format_idc, g.bit_depth));
  }
  py::list gops;
  for (const Gop& gop : index.gops) {
    int32_t start = static_cast<int32_t>(index.size());
    int32_t stop = 0;
    for (int32_t n = gop.decode_start; n < gop.decode_stop; ++n) {
      const int32_t frame = index.pictures[static_cast<size_t>(n)].presentation;
      if (frame < 0) continue;
      start = std::min(start, frame);
      stop = std::max(stop, frame + 1);
    }
    gops.append(py::make_tuple(std::min(start, stop), stop, gop.key_frame, gop.closed,
                               gop.decode_start, gop.decode_stop));
  }
  int64_t keys = 0;
  for (int64_t frame = 0; frame < index.size(); ++frame) keys += reader.picture(frame).is_key;
  d["key_frames"] = keys;
  const auto span = reader.span_seconds();
  d["span"] = span;
  d["size"] = index.size();
  d["pictures"] = index.pictures.size();
  d["segments"] = segments;
  d["gops"] = gops;
  d["pts_contradict_order"] = index.pts_contradict_order;
  d["warnings"] = index.warnings;
  return d;
}

py::dict stats_of(const ReaderHandle& self) {
  VideoReader& reader = self.get();
  const VideoReader::Use use(reader);  // a read in another thread counts on
  const Stats stats = reader.stats();
  py::dict d;
  d["packets_read"] = stats.packets_read;
  d["slices_parsed"] = stats.slices_parsed;
  d["pictures_parsed"] = stats.pictures_parsed;
  d["pictures_decoded"] = stats.pictures_decoded;
  d["seeks"] = stats.seeks;
  d["slices_lost"] = stats.slices_lost;
  d["slices_skipped"] = stats.slices_skipped;
  py::dict damage;
  py::dict hidden;
  for (const auto& [number, what] : stats.damage) {
    const auto& pictures = reader.index().pictures;
    const bool known = number >= 0 && static_cast<size_t>(number) < pictures.size();
    const int32_t frame = known ? pictures[static_cast<size_t>(number)].presentation : -1;
    if (frame >= 0) {
      damage[py::int_(frame)] = what;
    } else {
      hidden[py::int_(number)] = what;
    }
  }
  d["damage"] = damage;
  d["damage_not_presented"] = hidden;
  return d;
}

py::list offers_of(const ReaderHandle& self) {
  VideoReader& reader = self.get();
  const VideoReader::Use use(reader);
  std::vector<Offer> offers;
  {
    const py::gil_scoped_release release;
    offers = reader.offers();
  }
  py::list result;
  for (const Offer& offer : offers) {
    py::list planes;
    py::dict why_not;
    for (int p = 0; p <= static_cast<int>(Plane::kRgb); ++p) {
      const auto plane = static_cast<Plane>(p);
      if (has(offer.capabilities.planes, plane)) {
        planes.append(plane_name(plane));
      } else {
        const std::string& reason = offer.capabilities.why_not[static_cast<size_t>(p)];
        why_not[plane_name(plane)] = offer.error.empty() ? reason : offer.error;
      }
    }
    result.append(py::make_tuple(offer.name, planes, why_not));
  }
  return result;
}

}  // namespace

void register_reader(py::module_& m) {
  py::class_<ReaderHandle>(m, "Reader", "One opened video. Use cvdecode.VideoReader.")
      .def(py::init(&open_reader), py::arg("source"), py::arg("planes"), py::arg("rgb"),
           py::arg("backend"), py::arg("num_threads"), py::arg("stream_index"),
           py::arg("max_bytes"), py::arg("index_file"), py::arg("index_stamp"))
      .def("read", &read, py::arg("frames"), py::arg("batch"), py::arg("pool"),
           "Frames by presentation index: (batch, arrays by name, segment).")
      .def(
          "frame_arrays",
          [](const ReaderHandle& self) {
            const VideoReader& reader = self.get();
            std::vector<int64_t> all(static_cast<size_t>(reader.index().size()));
            for (size_t i = 0; i < all.size(); ++i) all[i] = static_cast<int64_t>(i);
            py::dict arrays;
            add_frame_arrays(reader, all, arrays);
            return arrays;
          },
          "pts, pts_seconds, duration_seconds, frame_type, is_key of every presented frame.")
      .def("info", &info_of, "What the container says of the stream.")
      .def("index", &index_of, "Counts, segments, GOPs and warnings of the index.")
      .def("stats", &stats_of, "Work counters and damage.")
      .def("offers", &offers_of, "For each backend: (name, planes, why not the others).")
      .def(
          "backend_of",
          [](const ReaderHandle& self, const std::string& plane) {
            VideoReader& reader = self.get();
            const VideoReader::Use use(reader);
            return reader.backend_of(plane_of(plane));
          },
          py::arg("plane"), "\"native\" or \"libav\".")
      .def_property_readonly("backend_reason",
                             [](const ReaderHandle& self) {
                               VideoReader& reader = self.get();
                               const VideoReader::Use use(reader);
                               return reader.backend_reason();
                             })
      .def("close", &close, "Frees everything; waits for no other thread, but refuses instead.")
      .def(
          "abandon", [](ReaderHandle& self) { self.get().abandon(); },
          "In the child of a fork: forgets the parent's codecs without touching them.");
}

}  // namespace cvdecode::bind
