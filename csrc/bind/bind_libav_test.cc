// Private: the libav backend by itself, by decode number. Over packets and an index that a test
// makes up, so that tests can say exactly what the backend is given; or over a file.
#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <algorithm>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "backend/backend.h"
#include "base/error.h"
#include "bind/bind.h"
#include "bind/source.h"
#include "demux/demuxer.h"
#include "frame/clip.h"

namespace py = pybind11;

namespace cvdecode::bind {
namespace {

template <typename T>
void get(const py::dict& from, const char* key, T& to) {
  if (from.contains(key)) to = from[key].cast<T>();
}

class MemoryPackets final : public PacketSource {
 public:
  explicit MemoryPackets(std::vector<std::string> packets) : packets_(std::move(packets)) {}
  int64_t packet_count() const override { return static_cast<int64_t>(packets_.size()); }
  Packet read_packet(int64_t number) override {
    const std::string& bytes = packets_.at(static_cast<size_t>(number));
    Packet packet;
    packet.data = {reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size()};
    packet.number = number;
    return packet;
  }

 private:
  std::vector<std::string> packets_;
};

Picture make_picture(const py::dict& d) {
  Picture p;
  get(d, "first_packet", p.first_packet);
  p.last_packet = p.first_packet;
  get(d, "last_packet", p.last_packet);
  get(d, "sequence", p.sequence);
  get(d, "order", p.order);
  get(d, "presentation", p.presentation);
  get(d, "segment", p.segment);
  get(d, "decode_start", p.decode_start);
  int type = 0;
  get(d, "type", type);
  p.type = static_cast<FrameType>(type);
  get(d, "all_intra", p.all_intra);
  get(d, "is_reference", p.is_reference);
  get(d, "field_coded", p.field_coded);
  return p;
}

class LibavProbe {
 public:
  LibavProbe(const py::dict& info, std::vector<std::string> packets, const py::list& pictures,
             const py::dict& geometry, int num_threads)
      : packets_(std::make_unique<MemoryPackets>(std::move(packets))) {
    info_.path = "<test>";
    get(info, "codec", info_.codec);
    get(info, "codec_id", info_.codec_id);
    get(info, "width", info_.width);
    get(info, "height", info_.height);
    get(info, "codec_tag", info_.codec_tag);
    get(info, "nal_length_size", info_.nal_length_size);
    std::string extradata;
    if (info.contains("extradata")) extradata = info["extradata"].cast<std::string>();
    info_.extradata.assign(extradata.begin(), extradata.end());
    for (const auto& p : pictures) index_.pictures.push_back(make_picture(p.cast<py::dict>()));
    Segment segment;
    Geometry& g = segment.geometry;
    get(geometry, "coded_width", g.coded_width);
    get(geometry, "coded_height", g.coded_height);
    get(geometry, "crop_left", g.crop_left);
    get(geometry, "crop_top", g.crop_top);
    get(geometry, "crop_right", g.crop_right);
    get(geometry, "crop_bottom", g.crop_bottom);
    index_.segments.push_back(segment);
    backend_ = make_libav_backend({info_, index_, *packets_, num_threads});
  }

  LibavProbe(const py::object& source, int num_threads) {
    auto demuxer = open_demuxer(source, {});
    py::gil_scoped_release release;
    info_ = demuxer->info();
    std::shared_ptr<const NativeIndex> native;
    const auto indexer = make_indexer(info_, &native);
    demuxer->scan([&](const Packet& packet) { indexer->add_packet(packet); });
    index_ = indexer->finish();
    packets_ = std::move(demuxer);
    backend_ = make_libav_backend({info_, index_, *packets_, num_threads});
  }

  size_t size() const { return index_.pictures.size(); }

  // Planes of these pictures (ascending decode numbers), by name; "lost" as well.
  py::dict read(const std::vector<int32_t>& pictures, PlaneMask planes) {
    const Geometry& g = geometry_of(pictures);
    const auto frames = static_cast<int64_t>(pictures.size());
    Clip clip = Clip::allocate(g, frames, planes);
    // Stale memory: every cell must be written.
    for (const BufferPtr& b : clip.buffers) {
      if (b) std::fill_n(static_cast<uint8_t*>(b->data()), b->size(), uint8_t{0x5a});
    }
    std::vector<Request> requests;
    for (int32_t p : pictures) requests.push_back({p, static_cast<int64_t>(requests.size())});
    {
      py::gil_scoped_release release;
      backend_->read(requests, planes, clip);
    }
    py::dict out;
    auto add = [&]<typename T>(const char* name, Plane plane, T, std::vector<py::ssize_t> shape) {
      if (!clip.has_plane(plane)) return;
      shape.insert(shape.begin(), frames);
      out[name] = py::array_t<T>(shape, frames > 0 ? clip.row<T>(plane, 0) : nullptr);
    };
    add("mv", Plane::kMv, int16_t{}, {2, 2, g.h4(), g.w4()});
    add("ref", Plane::kRef, int16_t{}, {2, g.h4(), g.w4()});
    add("ref_picture", Plane::kRefPicture, int32_t{}, {2, g.h4(), g.w4()});
    add("mb_type", Plane::kMbType, uint8_t{}, {g.h16(), g.w16()});
    add("qp", Plane::kQp, int16_t{}, {g.h16(), g.w16()});
    add("rgb", Plane::kRgb, uint8_t{}, {3, g.height(), g.width()});
    out["lost"] = py::array_t<uint8_t>(frames, clip.lost.data());
    return out;
  }

  // Reads batch after batch into the same memory, as streaming does, and returns nothing.
  void stream(const std::vector<std::vector<int32_t>>& batches, PlaneMask planes) {
    size_t most = 0;
    for (const auto& b : batches) most = std::max(most, b.size());
    py::gil_scoped_release release;
    Clip clip = Clip::allocate(index_.segments[0].geometry, static_cast<int64_t>(most), planes);
    std::vector<Request> requests;
    for (const auto& batch : batches) {
      requests.clear();
      for (int32_t p : batch) requests.push_back({p, static_cast<int64_t>(requests.size())});
      backend_->read(requests, planes, clip);
    }
  }

  py::dict stats() const {
    const Stats& s = backend_->stats();
    py::dict out;
    out["packets_read"] = s.packets_read;
    out["pictures_decoded"] = s.pictures_decoded;
    out["seeks"] = s.seeks;
    out["damage"] = s.damage;
    return out;
  }

  // Why a plane (by number) cannot be had; "" = it can.
  std::string why_not(int plane) const {
    const Capabilities& c = backend_->capabilities();
    if (has(c.planes, static_cast<Plane>(plane))) return {};
    return c.why_not.at(static_cast<size_t>(plane));
  }

 private:
  const Geometry& geometry_of(const std::vector<int32_t>& pictures) const {
    const auto first = static_cast<size_t>(pictures.empty() ? 0 : pictures.front());
    const auto segment = static_cast<size_t>(index_.pictures.at(first).segment);
    return index_.segments.at(segment).geometry;
  }

  StreamInfo info_;
  FrameIndex index_;
  std::unique_ptr<PacketSource> packets_;
  std::unique_ptr<Backend> backend_;
};

}  // namespace

void register_libav_test(py::module_& m) {
  py::class_<LibavProbe>(m, "LibavProbe", "Private: the libav backend over made-up packets.")
      .def(py::init<const py::dict&, std::vector<std::string>, const py::list&, const py::dict&,
                    int>(),
           py::arg("info"), py::arg("packets"), py::arg("pictures"), py::arg("geometry"),
           py::arg("num_threads") = 1)
      .def(py::init<const py::object&, int>(), py::arg("source"), py::arg("num_threads") = 1)
      .def("__len__", &LibavProbe::size)
      .def("read", &LibavProbe::read, py::arg("pictures"), py::arg("planes"))
      .def("stream", &LibavProbe::stream, py::arg("batches"), py::arg("planes"))
      .def("stats", &LibavProbe::stats)
      .def("why_not", &LibavProbe::why_not, py::arg("plane"));
}

}  // namespace cvdecode::bind
