// Private: everything the native parser knows of one picture, as plain arrays. The test
// reconstructor, the exporter simulator and the table of conformance are written against it.
#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <array>
#include <cstring>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "backend/backend.h"
#include "base/error.h"
#include "bind/bind.h"
#include "bind/source.h"
#include "demux/demuxer.h"
#include "frame/motion_row.h"
#include "h264/parser.h"

namespace py = pybind11;

namespace cvdecode::bind {
namespace {

using h264::ParsedPicture;
using h264::PictureEntry;
using h264::SliceEntry;

template <typename T>
py::array_t<T> array_of(std::vector<py::ssize_t> shape, const T* data) {
  py::array_t<T> a(std::move(shape));
  if (a.size() > 0) std::memcpy(a.mutable_data(), data, static_cast<size_t>(a.nbytes()));
  return a;
}

template <typename T>
py::array_t<T> full(std::vector<py::ssize_t> shape, T value) {
  py::array_t<T> a(std::move(shape));
  std::fill_n(a.mutable_data(), a.size(), value);
  return a;
}

template <typename T, typename F>
py::array_t<T> per_macroblock(const ParsedPicture& p, F value) {
  const py::ssize_t w = p.syntax.PicWidthInMbs;
  const py::ssize_t h = p.syntax.PicHeightInMbs;
  py::array_t<T> a({h, w});
  T* out = a.mutable_data();
  for (size_t i = 0; i < static_cast<size_t>(w * h); ++i) out[i] = static_cast<T>(value(i));
  return a;
}

// (H8, W8) from a value per quadrant.
template <typename F>
py::array_t<uint8_t> per_quadrant(const ParsedPicture& p, F value) {
  const py::ssize_t w = p.syntax.PicWidthInMbs * 2;
  const py::ssize_t h = p.syntax.PicHeightInMbs * 2;
  py::array_t<uint8_t> a({h, w});
  auto out = a.mutable_unchecked<2>();
  for (py::ssize_t y = 0; y < h; ++y) {
    for (py::ssize_t x = 0; x < w; ++x) {
      const auto mb = static_cast<size_t>((y / 2) * (w / 2) + x / 2);
      out(y, x) = value(p.syntax.macroblocks[mb], static_cast<size_t>(y % 2 * 2 + x % 2));
    }
  }
  return a;
}

py::object weights_of(const SliceEntry& s) {
  const auto& table = s.header.pred_weight_table;
  if (!table) return py::none();
  py::array_t<int32_t> a({2, 32, 3, 2});
  auto out = a.mutable_unchecked<4>();
  for (py::ssize_t list = 0; list < 2; ++list) {
    for (py::ssize_t i = 0; i < 32; ++i) {
      const h264::PredWeight& w = table->entry[static_cast<size_t>(list)][static_cast<size_t>(i)];
      out(list, i, 0, 0) = w.luma_weight;
      out(list, i, 0, 1) = w.luma_offset;
      for (size_t c = 0; c < 2; ++c) {
        out(list, i, static_cast<py::ssize_t>(c) + 1, 0) = w.chroma_weight[c];
        out(list, i, static_cast<py::ssize_t>(c) + 1, 1) = w.chroma_offset[c];
      }
    }
  }
  return a;
}

py::dict slice_dict(const SliceEntry& s, const h264::SliceSyntax& syntax) {
  const h264::SliceHeader& h = s.header;
  const h264::Sps& sps = *s.sets.sps;
  const h264::Pps& pps = *s.sets.pps;
  py::dict d;
  d["slice_type"] = static_cast<int>(h.slice_type);
  d["first_mb"] = h.first_mb_in_slice;
  d["mb_count"] = syntax.mb_count;
  d["damaged"] = syntax.damaged;
  d["damage"] = std::string(syntax.damage);
  d["direct_spatial_mv_pred"] = h.direct_spatial_mv_pred_flag;
  py::list lists;
  for (const auto& list : s.RefPicList) {
    py::list l;
    for (const auto& r : list) l.append(py::make_tuple(r.picture, r.long_term));
    lists.append(l);
  }
  d["ref_lists"] = lists;
  const bool p = h.slice_type == h264::kSliceP;
  const bool b = h.slice_type == h264::kSliceB;
  d["weighted"] = p ? int{pps.weighted_pred_flag} : b ? pps.weighted_bipred_idc : 0;
  d["weights"] = weights_of(s);
  d["luma_log2_weight_denom"] =
      h.pred_weight_table ? h.pred_weight_table->luma_log2_weight_denom : 0;
  d["chroma_log2_weight_denom"] =
      h.pred_weight_table ? h.pred_weight_table->chroma_log2_weight_denom : 0;
  d["constrained_intra_pred"] = pps.constrained_intra_pred_flag;
  d["direct_8x8_inference"] = sps.direct_8x8_inference_flag;
  d["qpprime_y_zero_transform_bypass"] = sps.qpprime_y_zero_transform_bypass_flag;
  d["entropy_coding_mode"] = pps.entropy_coding_mode_flag;
  d["slice_qp"] = h.SliceQPY;
  d["frame_num"] = h.frame_num;
  d["nal_ref_idc"] = h.nal_ref_idc;
  d["header_bits"] = h.header_bits;
  d["packet"] = s.packet;
  d["nal_offset"] = s.offset;
  d["nal_size"] = s.size;
  return d;
}

// A stream opened for debug access.
class H264Debug {
 public:
  H264Debug(const py::object& source, int num_threads, int max_steps)
      : demuxer_(open_demuxer(source, DemuxOptions{})) {
    const py::gil_scoped_release unlocked;
    auto indexer = make_indexer(demuxer_->info(), &native_);
    demuxer_->scan([&](const Packet& packet) { indexer->add_packet(packet); });
    index_ = indexer->finish();
    if (!native_) throw Error(ErrorKind::kUnsupported, "H264Debug: the stream is not H.264");
    if (!native_->unsupported.empty()) return;
    backend_ = make_native_backend(BackendContext{demuxer_->info(), index_, *demuxer_, num_threads},
                                   native_);  // refuses hostile sizes
    parser_ = std::make_unique<h264::Parser>(index_, native_, *demuxer_, num_threads);
    parser_->set_max_steps(max_steps);
  }

  const std::string& unsupported() const { return native_->unsupported; }
  size_t size() const { return native_->pictures.size(); }
  std::vector<int32_t> presentation() const { return index_.presentation; }

  py::dict picture(int64_t number) {
    const PictureEntry& entry = checked(number);
    const auto& pic = index_.pictures[static_cast<size_t>(number)];
    py::dict d;
    d["decode_number"] = number;
    d["presentation"] =
        pic.presentation < 0 ? py::object(py::none()) : py::object(py::int_(pic.presentation));
    d["is_idr"] = pic.is_idr;
    d["packet"] = pic.first_packet;
    d["references_sure"] = entry.references_sure;
    d["top_poc"] = entry.TopFieldOrderCnt + entry.tempPicOrderCnt;
    d["bottom_poc"] = entry.BottomFieldOrderCnt + entry.tempPicOrderCnt;
    d["damage"] = "no slice of the picture could be read";
    if (entry.slices.empty()) return d;
    const Geometry g = entry.slices.front().sets.sps->geometry();
    PlaneMask planes = mask_of(Plane::kMv) | mask_of(Plane::kRef) | mask_of(Plane::kMbType) |
                       mask_of(Plane::kQp) | mask_of(Plane::kBits) | mask_of(Plane::kResidualY) |
                       mask_of(Plane::kRefPicture);
    if (g.chroma_format_idc != 0) planes |= mask_of(Plane::kResidualUv);
    Clip clip = Clip::allocate(g, 1, planes);
    std::shared_ptr<const ParsedPicture> parsed;
    {
      const py::gil_scoped_release unlocked;
      parsed = parser_->read_one({static_cast<int32_t>(number), 0}, planes, clip);
    }
    if (parsed) describe(entry, *parsed, clip, d);
    return d;
  }

  // The backend itself, before there is a reader: rows in the order of `numbers` (decode numbers,
  // rising).
  py::dict read(const std::vector<int32_t>& numbers, const std::vector<std::string>& planes) {
    static const std::map<std::string, Plane> kNames = {{"mv", Plane::kMv},
                                                        {"ref", Plane::kRef},
                                                        {"mb_type", Plane::kMbType},
                                                        {"qp", Plane::kQp},
                                                        {"bits", Plane::kBits},
                                                        {"residual_y", Plane::kResidualY},
                                                        {"residual_uv", Plane::kResidualUv},
                                                        {"ref_picture", Plane::kRefPicture},
                                                        {"motion", Plane::kMotion}};
    PlaneMask mask = 0;
    for (const auto& p : planes) mask |= mask_of(kNames.at(p));
    std::vector<Request> requests;
    for (const int32_t n : numbers) {
      checked(n);
      requests.push_back({n, static_cast<int64_t>(requests.size())});
    }
    const Geometry g = index_.segments.at(0).geometry;
    Clip clip;
    {
      const py::gil_scoped_release unlocked;
      clip = Clip::allocate(g, static_cast<int64_t>(numbers.size()), mask);
      backend_->read(requests, mask, clip);
    }
    const py::ssize_t t = clip.frames;
    py::dict d;
    for (const auto& [name, plane] : kNames) {
      if (!has(mask, plane) || t == 0) continue;
      switch (plane) {
        case Plane::kMv:
          d["mv"] = array_of<int16_t>({t, 2, 2, g.h4(), g.w4()}, clip.row<int16_t>(plane, 0));
          break;
        case Plane::kRef:
          d["ref"] = array_of<int16_t>({t, 2, g.h4(), g.w4()}, clip.row<int16_t>(plane, 0));
          break;
        case Plane::kMotion:  // as it lies in memory (frame/motion_row.h)
          d["motion"] = array_of<uint8_t>({t, static_cast<py::ssize_t>(MotionRow::bytes(g))},
                                          clip.row<uint8_t>(plane, 0));
          break;
        case Plane::kRefPicture:
          d["ref_picture"] = array_of<int32_t>({t, 2, g.h4(), g.w4()}, clip.row<int32_t>(plane, 0));
          break;
        case Plane::kMbType:
          d["mb_type"] = array_of<uint8_t>({t, g.h16(), g.w16()}, clip.row<uint8_t>(plane, 0));
          break;
        case Plane::kQp:
          d["qp"] = array_of<int16_t>({t, g.h16(), g.w16()}, clip.row<int16_t>(plane, 0));
          break;
        case Plane::kBits:
          d["bits"] = array_of<uint16_t>({t, g.h16(), g.w16()}, clip.row<uint16_t>(plane, 0));
          break;
        case Plane::kResidualY:
          d["residual_y"] =
              array_of<int16_t>({t, g.coded_height, g.coded_width}, clip.row<int16_t>(plane, 0));
          break;
        case Plane::kResidualUv:
          d["residual_uv"] = array_of<int16_t>({t, 2, g.coded_height / 2, g.coded_width / 2},
                                               clip.row<int16_t>(plane, 0));
          break;
        case Plane::kRgb: break;
      }
    }
    d["lost"] = array_of<uint8_t>({t}, clip.lost.data());
    return d;
  }

  py::dict stats() const {
    py::dict d;
    if (!backend_) return d;
    const Stats& s = backend_->stats();
    d["packets_read"] = s.packets_read;
    d["slices_parsed"] = s.slices_parsed;
    d["pictures_parsed"] = s.pictures_parsed;
    d["slices_lost"] = s.slices_lost;
    d["slices_skipped"] = s.slices_skipped;
    d["damage"] = s.damage;
    return d;
  }

 private:
  const PictureEntry& checked(int64_t number) const {
    if (!parser_) throw Error(ErrorKind::kUnsupported, native_->unsupported);
    if (number < 0 || static_cast<size_t>(number) >= size()) {
      throw Error(ErrorKind::kIndex,
                  "decode number " + std::to_string(number) + " of " + std::to_string(size()));
    }
    return native_->pictures[static_cast<size_t>(number)];
  }

  void describe(const PictureEntry& entry, const ParsedPicture& p, const Clip& clip,
                py::dict& d) const {
    const Geometry& g = clip.geometry;
    const auto& mbs = p.syntax.macroblocks;
    const py::ssize_t w4 = g.w4();
    const py::ssize_t h4 = g.h4();
    d["damage"] = p.damage;
    d["width_mbs"] = g.w16();
    d["height_mbs"] = g.h16();
    d["chroma_format_idc"] = g.chroma_format_idc;
    d["crop"] = py::make_tuple(g.crop_left, g.crop_top, g.crop_right, g.crop_bottom);
    d["mb_type"] = array_of<uint8_t>({g.h16(), g.w16()}, clip.row<uint8_t>(Plane::kMbType, 0));
    d["qp"] = array_of<int16_t>({g.h16(), g.w16()}, clip.row<int16_t>(Plane::kQp, 0));
    d["bits"] = array_of<uint16_t>({g.h16(), g.w16()}, clip.row<uint16_t>(Plane::kBits, 0));
    d["qpy"] = per_macroblock<int16_t>(p, [&](size_t i) { return mbs[i].QPY; });
    d["cbp"] = per_macroblock<uint8_t>(p, [&](size_t i) { return mbs[i].coded_block_pattern; });
    d["transform_8x8"] =
        per_macroblock<uint8_t>(p, [&](size_t i) { return mbs[i].transform_size_8x8_flag; });
    d["slice"] = per_macroblock<int32_t>(p, [&](size_t i) -> int32_t {
      const bool lost =
          mbs[i].mb_type == MbType::kLost || (p.has_motion && p.motion.slice[i] == h264::kNoSlice);
      return lost ? -1 : mbs[i].slice;
    });
    d["pred"] = per_quadrant(p, [](const h264::Macroblock& m, size_t q) { return m.pred[q]; });
    d["sub_shape"] =
        per_quadrant(p, [](const h264::Macroblock& m, size_t q) { return m.sub_shape[q]; });
    d["mv"] = array_of<int16_t>({2, 2, h4, w4}, clip.row<int16_t>(Plane::kMv, 0));
    d["ref"] = array_of<int16_t>({2, h4, w4}, clip.row<int16_t>(Plane::kRef, 0));
    d["ref_picture"] = array_of<int32_t>({2, h4, w4}, clip.row<int32_t>(Plane::kRefPicture, 0));
    auto ref_idx = full<int8_t>({2, h4 / 2, w4 / 2}, -1);
    for (py::ssize_t list = 0; p.has_motion && list < (p.motion.has_list1 ? 2 : 1); ++list) {
      const auto& from = p.motion.ref_idx[static_cast<size_t>(list)];
      std::memcpy(ref_idx.mutable_data(list, 0, 0), from.data(), from.size());
    }
    d["ref_idx"] = ref_idx;
    d["residual_y"] =
        array_of<int16_t>({g.coded_height, g.coded_width}, clip.row<int16_t>(Plane::kResidualY, 0));
    d["residual_uv"] = py::none();
    if (clip.has_plane(Plane::kResidualUv)) {
      d["residual_uv"] = array_of<int16_t>({2, g.coded_height / 2, g.coded_width / 2},
                                           clip.row<int16_t>(Plane::kResidualUv, 0));
    }
    auto nxn = full<int8_t>({h4, w4}, -1);
    for (py::ssize_t y = 0; y < h4; ++y) {
      for (py::ssize_t x = 0; x < w4; ++x) {
        const auto& modes = p.syntax.intra_modes[static_cast<size_t>((y / 4) * (w4 / 4) + x / 4)];
        *nxn.mutable_data(y, x) = modes.luma[static_cast<size_t>(y % 4 * 4 + x % 4)];
      }
    }
    d["intra_nxn_mode"] = nxn;
    d["intra_16x16_mode"] =
        per_macroblock<int8_t>(p, [&](size_t i) { return p.syntax.intra_modes[i].luma[0]; });
    d["intra_chroma_mode"] = per_macroblock<int8_t>(
        p, [&](size_t i) { return p.syntax.intra_modes[i].intra_chroma_pred_mode; });
    py::list slices;
    py::dict pocs;
    for (size_t s = 0; s < entry.slices.size(); ++s) {
      slices.append(slice_dict(entry.slices[s], p.syntax.slices[s]));
      for (const auto& list : entry.slices[s].RefPicList) {
        for (const auto& r : list) {
          if (r.picture < 0 || static_cast<size_t>(r.picture) >= size()) continue;
          const PictureEntry& e = native_->pictures[static_cast<size_t>(r.picture)];
          pocs[py::int_(r.picture)] = py::make_tuple(e.TopFieldOrderCnt, e.BottomFieldOrderCnt);
        }
      }
    }
    d["slices"] = slices;
    d["poc"] = entry.PicOrderCnt() + entry.tempPicOrderCnt;
    d["pocs"] = pocs;
  }

  std::unique_ptr<Demuxer> demuxer_;
  FrameIndex index_;
  std::shared_ptr<const NativeIndex> native_;
  std::unique_ptr<Backend> backend_;
  std::unique_ptr<h264::Parser> parser_;
};

constexpr const char* kPictureDoc = R"(picture(number) -> dict

Everything known of the picture with this decode number. H16, W16: coded size in macroblocks; H8,
W8 and H4, W4: in blocks of 8 and 4 samples; H, W: in samples (coded, not cropped).

  decode_number, presentation (int or None), is_idr, references_sure, packet (first), damage (str)
  poc, top_poc, bottom_poc      picture order counts of this picture
  pocs                          {decode number: (top, bottom) as a reference}
  width_mbs, height_mbs, chroma_format_idc, crop (left, top, right, bottom)
  mb_type u8 (H16, W16)         cvdecode.MbType; 255 lost
  qp i16 (H16, W16)             the public plane; -128 for I_PCM and lost
  qpy i16 (H16, W16)            QP_Y as parsed (I_PCM carries QP_Y,PRED on)
  bits u16, cbp u8, transform_8x8 u8 (H16, W16)
  slice i32 (H16, W16)          index into slices; -1 none or lost
  pred u8 (H8, W8)              as parsed: 0 none, 1 list 0, 2 list 1, 3 both, 4 direct
  sub_shape u8 (H8, W8)         0 8x8, 1 8x4, 2 4x8, 3 4x4; meaningful where mb_type is INTER_8x8
  mv i16 (2, 2, H4, W4)         list, (x, y), derived; quarter samples
  ref_idx i8 (2, H8, W8)        derived, raw: an index into ref_lists of the slice; -1 not used
  ref i16, ref_picture i32 (2, H4, W4)   the planes
  residual_y i16 (H, W); residual_uv i16 (2, H/2, W/2), None for 4:0:0
  intra_nxn_mode i8 (H4, W4)    Intra4x4PredMode, Intra8x8PredMode in its four cells,
                                Intra16x16PredMode in all 16; -1 elsewhere
  intra_16x16_mode, intra_chroma_mode i8 (H16, W16)    -1 where there is none
  slices                        list of dict: slice_type (0 P, 1 B, 2 I), first_mb, mb_count,
    damaged, damage, direct_spatial_mv_pred, ref_lists [[(decode number, long_term), ...], [...]]
    (negative: -1 no picture, -3 missing), weighted (0 none, 1 explicit, 2 implicit), weights i32
    (2, 32, 3, 2) = [list][refIdx][Y, Cb, Cr][weight, offset] or None, luma_log2_weight_denom,
    chroma_log2_weight_denom, constrained_intra_pred, direct_8x8_inference,
    qpprime_y_zero_transform_bypass, entropy_coding_mode, slice_qp, frame_num, nal_ref_idc,
    header_bits, packet, nal_offset, nal_size

A picture of which nothing could be read has the keys up to damage only.)";

}  // namespace

void register_h264_debug(py::module_& m) {
  py::class_<H264Debug>(m, "H264Debug",
                        "Private debug access to the native H.264 parser. `source` is whatever a "
                        "reader takes; pictures are named by decode number.")
      .def(py::init<const py::object&, int, int>(), py::arg("source"), py::arg("num_threads") = 1,
           py::arg("max_steps") = 5)
      .def_property_readonly("unsupported", &H264Debug::unsupported,
                             "Why the stream cannot be read natively; \"\" = it can.")
      .def_property_readonly("size", &H264Debug::size, "Pictures in decode order.")
      .def_property_readonly("presentation", &H264Debug::presentation,
                             "Presentation index -> decode number.")
      .def("picture", &H264Debug::picture, py::arg("number"), kPictureDoc)
      .def("read", &H264Debug::read, py::arg("numbers"), py::arg("planes"),
           "Planes of pictures given by rising decode numbers, through the native backend: dict "
           "of arrays (T, ...) at coded size, and lost u8 (T,).")
      .def_property_readonly("stats", &H264Debug::stats, "Work counters of read().");
  m.def(
      "h264_debug_picture",
      [](const py::object& source, int64_t number) {
        return H264Debug(source, 1, 6).picture(number);
      },
      py::arg("source"), py::arg("number"), "H264Debug(source).picture(number).");
}

}  // namespace cvdecode::bind
