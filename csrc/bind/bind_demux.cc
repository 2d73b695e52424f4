// Private: the demuxer and the index by themselves, for tests and tools.
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "backend/backend.h"
#include "bind/bind.h"
#include "bind/source.h"
#include "demux/demuxer.h"
#include "frame/frame_index.h"

namespace py = pybind11;

namespace cvdecode::bind {
namespace {

py::object timestamp(int64_t value) {
  return value == kNoTimestamp ? py::object(py::none()) : py::object(py::int_(value));
}

py::bytes bytes_of(std::span<const uint8_t> data) {
  return {reinterpret_cast<const char*>(data.data()), data.size()};
}

py::dict dict_of(const StreamInfo& info) {
  py::dict d;
  d["path"] = info.path;
  d["container"] = info.container;
  d["codec"] = info.codec;
  d["profile"] = info.profile;
  d["stream_index"] = info.stream_index;
  d["time_base"] = py::make_tuple(info.time_base_num, info.time_base_den);
  d["width"] = info.width;
  d["height"] = info.height;
  d["frame_rate"] = py::make_tuple(info.frame_rate_num, info.frame_rate_den);
  d["sar"] = py::make_tuple(info.sar_num, info.sar_den);
  d["rotation"] = info.rotation;
  d["start_time"] = timestamp(info.start_time);
  d["duration"] = info.duration;
  d["bit_rate"] = info.bit_rate;
  d["container_frames"] = info.container_frames;
  d["extradata"] = bytes_of(info.extradata);
  d["nal_length_size"] = info.nal_length_size;
  d["raw"] = info.raw;
  return d;
}

py::dict dict_of(const Packet& packet) {
  py::dict d;
  d["data"] = bytes_of(packet.data);
  d["number"] = packet.number;
  d["pts"] = timestamp(packet.pts);
  d["dts"] = timestamp(packet.dts);
  d["duration"] = packet.duration;
  d["pos"] = packet.pos;
  d["key"] = packet.key;
  d["discard"] = packet.discard;
  d["corrupt"] = packet.corrupt;
  d["new_extradata"] = bytes_of(packet.new_extradata);
  return d;
}

py::tuple tuple_of(const Geometry& g) {
  return py::make_tuple(g.coded_width, g.coded_height, g.crop_left, g.crop_top, g.crop_right,
                        g.crop_bottom, g.chroma_format_idc, g.bit_depth);
}

py::dict dict_of(const FrameIndex& index) {
  py::list pictures;
  for (const Picture& p : index.pictures) {
    py::dict d;
    d["first_packet"] = p.first_packet;
    d["last_packet"] = p.last_packet;
    d["pts"] = timestamp(p.pts);
    d["duration"] = p.duration;
    d["sequence"] = p.sequence;
    d["order"] = p.order;
    d["presentation"] = p.presentation;
    d["segment"] = p.segment;
    d["decode_start"] = p.decode_start;
    d["type"] = std::string(1, "?IPB"[static_cast<int>(p.type)]);
    d["is_key"] = p.is_key;
    d["is_idr"] = p.is_idr;
    d["all_intra"] = p.all_intra;
    d["is_reference"] = p.is_reference;
    d["field_coded"] = p.field_coded;
    d["damaged"] = p.damaged;
    pictures.append(d);
  }
  py::list segments;
  for (const Segment& s : index.segments) {
    segments.append(py::make_tuple(s.start, s.stop, tuple_of(s.geometry)));
  }
  py::list gops;
  for (const Gop& g : index.gops) {
    gops.append(py::make_tuple(g.decode_start, g.decode_stop, g.key_frame, g.closed));
  }
  py::dict d;
  d["pictures"] = pictures;
  d["presentation"] = index.presentation;
  d["segments"] = segments;
  d["gops"] = gops;
  d["sar"] = py::make_tuple(index.sar_num, index.sar_den);
  d["pts_contradict_order"] = index.pts_contradict_order;
  d["warnings"] = index.warnings;
  return d;
}

class PyDemuxer {
 public:
  PyDemuxer(const py::object& source, int stream_index, bool ignore_editlist) {
    DemuxOptions options;
    options.stream_index = stream_index;
    options.ignore_editlist = ignore_editlist;
    demuxer_ = open_demuxer(source, std::move(options));
  }

  // Scans; returns the index where there is an indexer for the codec.
  py::dict index() {
    FrameIndex index;
    {
      py::gil_scoped_release release;
      std::shared_ptr<const NativeIndex> native;
      const auto indexer = make_indexer(demuxer_->info(), &native);
      demuxer_->scan([&](const Packet& packet) { indexer->add_packet(packet); });
      index = indexer->finish();
      fill_missing_pts(index, demuxer_->packet_dts());
    }
    return dict_of(index);
  }

  // Scans only.
  int64_t scan() {
    py::gil_scoped_release release;
    demuxer_->scan({});
    return demuxer_->packet_count();
  }

  py::dict read_packet(int64_t number) {
    Packet packet;
    {
      py::gil_scoped_release release;
      packet = demuxer_->read_packet(number);
    }
    return dict_of(packet);
  }

  py::dict info() const { return dict_of(demuxer_->info()); }
  int64_t packet_count() const { return demuxer_->packet_count(); }
  std::string end_note() const { return demuxer_->end_note(); }
  py::bytes extradata_in_force(int64_t number) const {
    return bytes_of(demuxer_->extradata_in_force(number));
  }
  py::dict counters() const {
    const Demuxer::Counters& c = demuxer_->counters();
    py::dict d;
    d["direct_reads"] = c.direct_reads;
    d["forward_reads"] = c.forward_reads;
    d["restarts"] = c.restarts;
    d["packets_in_one_piece"] = c.packets_in_one_piece;
    d["packets_in_pieces"] = c.packets_in_pieces;
    d["packets_unlocated"] = c.packets_unlocated;
    return d;
  }

 private:
  std::unique_ptr<Demuxer> demuxer_;
};

}  // namespace

void register_demux(py::module_& m) {
  py::class_<PyDemuxer>(m, "_Demuxer", "Packets and index of one video stream. For tests.")
      .def(py::init<const py::object&, int, bool>(), py::arg("source"),
           py::arg("stream_index") = -1, py::arg("ignore_editlist") = false)
      .def_property_readonly("info", &PyDemuxer::info)
      .def("scan", &PyDemuxer::scan, "Lists all packets; returns their number.")
      .def("index", &PyDemuxer::index, "Scans and indexes; returns the FrameIndex as a dict.")
      .def("read_packet", &PyDemuxer::read_packet, py::arg("number"))
      .def("extradata_in_force", &PyDemuxer::extradata_in_force, py::arg("number"))
      .def_property_readonly("end_note", &PyDemuxer::end_note)
      .def_property_readonly("counters", &PyDemuxer::counters)
      .def("__len__", &PyDemuxer::packet_count);
}

}  // namespace cvdecode::bind
