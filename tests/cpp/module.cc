// _oracle: what the tests compare cvdecode with. Written from the standard and on libavcodec alone.
#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include "intra_pred.h"
#include "reconstruct.h"
#include "reference_decoder.h"

namespace py = pybind11;

namespace {

template <typename T>
using Array = py::array_t<T, py::array::c_style>;

// The arrays below borrow their memory from Python objects that the dict argument keeps alive.
template <typename T>
const T* borrow(const py::dict& d, const char* name, std::vector<py::ssize_t> shape) {
  const py::object o = d[name];
  if (!py::isinstance<Array<T>>(o)) {
    throw py::type_error(std::string(name) + ": wrong dtype or not C-contiguous");
  }
  const auto a = py::reinterpret_borrow<Array<T>>(o);
  if (std::vector<py::ssize_t>(a.shape(), a.shape() + a.ndim()) != shape) {
    throw py::value_error(std::string(name) + ": wrong shape");
  }
  return a.data();
}

std::array<oracle::Samples, 3> planes_of(const py::sequence& planes, int count) {
  std::array<oracle::Samples, 3> out;
  for (int p = 0; p < count; ++p) {
    const auto a = py::cast<Array<uint8_t>>(planes[static_cast<size_t>(p)]);
    out[static_cast<size_t>(p)] = {a.data(), static_cast<int>(a.shape(1)),
                                   static_cast<int>(a.shape(0))};
  }
  return out;
}

oracle::SliceData slice_of(const py::dict& d) {
  oracle::SliceData s;
  s.constrained_intra_pred = py::cast<bool>(d["constrained_intra_pred"]);
  s.weighted = py::cast<int>(d["weighted"]);
  s.log2_denom[0] = py::cast<int>(d["luma_log2_weight_denom"]);
  s.log2_denom[1] = py::cast<int>(d["chroma_log2_weight_denom"]);
  if (s.weighted == 1) {
    const int32_t* w = borrow<int32_t>(d, "weights", {2, 32, 3, 2});
    s.weights.assign(w, w + 2 * 32 * 3 * 2);
  }
  for (size_t l = 0; l < 2; ++l) {
    for (const auto& item : py::cast<py::list>(py::cast<py::sequence>(d["ref_lists"])[l])) {
      const auto entry = py::cast<py::tuple>(item);  // (index into refs, poc, long_term)
      s.list[l].push_back(py::cast<int>(entry[0]));
      s.poc[l].push_back(py::cast<int>(entry[1]));
      s.long_term[l].push_back(py::cast<bool>(entry[2]));
    }
  }
  return s;
}

// d: the arrays of oracle::Picture by name; decoded: 1 or 3 planes; refs: list of such.
py::tuple reconstruct(const py::dict& d) {
  oracle::Picture pic;
  pic.mb_width = py::cast<int>(d["mb_width"]);
  pic.mb_height = py::cast<int>(d["mb_height"]);
  pic.planes = py::cast<int>(d["planes"]);
  pic.poc = py::cast<int>(d["poc"]);
  const py::ssize_t w = pic.mb_width;
  const py::ssize_t h = pic.mb_height;
  pic.decoded = planes_of(d["decoded"], pic.planes);
  for (const auto& r : py::cast<py::list>(d["refs"])) {
    pic.refs.push_back(planes_of(py::cast<py::sequence>(r), pic.planes));
  }
  const auto check_size = [&](const std::array<oracle::Samples, 3>& planes) {
    for (int p = 0; p < pic.planes; ++p) {
      const auto& s = planes[static_cast<size_t>(p)];
      const int n = p ? 8 : 16;
      if (s.width != w * n || s.height != h * n) throw py::value_error("plane of the wrong size");
    }
  };
  check_size(pic.decoded);
  for (const auto& r : pic.refs) check_size(r);
  pic.mb_type = borrow<uint8_t>(d, "mb_type", {h, w});
  pic.slice = borrow<int32_t>(d, "slice", {h, w});
  pic.mv = borrow<int16_t>(d, "mv", {2, 2, h * 4, w * 4});
  pic.ref_idx = borrow<int8_t>(d, "ref_idx", {2, h * 2, w * 2});
  pic.intra_nxn_mode = borrow<uint8_t>(d, "intra_nxn_mode", {h * 4, w * 4});
  pic.intra_16x16_mode = borrow<uint8_t>(d, "intra_16x16_mode", {h, w});
  pic.intra_chroma_mode = borrow<uint8_t>(d, "intra_chroma_mode", {h, w});
  pic.residual_y = borrow<int16_t>(d, "residual_y", {h * 16, w * 16});
  if (pic.planes == 3) pic.residual_uv = borrow<int16_t>(d, "residual_uv", {2, h * 8, w * 8});
  for (const auto& s : py::cast<py::list>(d["slices"])) {
    pic.slices.push_back(slice_of(py::cast<py::dict>(s)));
  }
  std::array<uint8_t*, 3> out{};
  py::list planes;
  for (int p = 0; p < pic.planes; ++p) {
    const py::ssize_t n = p ? 8 : 16;
    Array<uint8_t> plane({h * n, w * n});
    std::fill(plane.mutable_data(), plane.mutable_data() + plane.size(), uint8_t{0});
    out[static_cast<size_t>(p)] = plane.mutable_data();
    planes.append(std::move(plane));
  }
  Array<uint8_t> verdict({h, w});
  {
    uint8_t* v = verdict.mutable_data();
    const py::gil_scoped_release release;
    oracle::reconstruct(pic, out, v);
  }
  return py::make_tuple(planes, verdict);
}

template <typename T>
Array<T> to_array(const std::vector<T>& v, std::vector<py::ssize_t> shape) {
  Array<T> a(shape);
  std::copy(v.begin(), v.end(), a.mutable_data());
  return a;
}

py::object next_frame(oracle::ReferenceDecoder& decoder) {
  oracle::ReferenceFrame f;
  bool more;
  {
    const py::gil_scoped_release release;
    more = decoder.next(f);
  }
  if (!more) return py::none();
  py::dict d;
  d["width"] = f.width;
  d["height"] = f.height;
  d["packet"] = f.packet;
  d["pts"] = f.pts;
  d["decode_error_flags"] = f.decode_error_flags;
  d["corrupt"] = f.corrupt;
  d["key_frame"] = f.key_frame;
  d["pict_type"] = std::string(1, f.pict_type);
  d["interlaced"] = f.interlaced;
  d["format"] = f.format;
  py::list planes;
  for (const auto& p : f.planes) {
    if (!p.empty()) planes.append(to_array(p, {static_cast<py::ssize_t>(p.size())}));
  }
  d["planes"] = planes;
  d["vectors"] =
      f.has_vectors
          ? py::object(py::bytes(reinterpret_cast<const char*>(f.vectors.data()), f.vectors.size()))
          : py::object(py::none());
  d["qp"] = f.qp.empty() ? py::object(py::none())
                         : py::object(to_array(f.qp, {static_cast<py::ssize_t>(f.qp.size())}));
  d["mb_types"] = f.mb_types;
  return d;
}

py::object intra_block(const std::string& kind, int mode, const py::dict& around) {
  oracle::Neighbours n;
  const auto top = py::cast<std::vector<int>>(around["top"]);
  const auto left = py::cast<std::vector<int>>(around["left"]);
  std::copy_n(top.begin(), std::min<size_t>(top.size(), 32), n.top);
  std::copy_n(left.begin(), std::min<size_t>(left.size(), 16), n.left);
  n.corner = py::cast<int>(around["corner"]);
  n.has_top = py::cast<bool>(around["has_top"]);
  n.has_left = py::cast<bool>(around["has_left"]);
  n.has_corner = py::cast<bool>(around["has_corner"]);
  n.has_top_right = py::cast<bool>(around["has_top_right"]);
  std::vector<int> out(256);
  const py::ssize_t size = kind == "4x4" ? 4 : kind == "16x16" ? 16 : 8;
  const bool ok = kind == "4x4"     ? oracle::intra_4x4(mode, n, out.data())
                  : kind == "8x8"   ? oracle::intra_8x8(mode, n, out.data())
                  : kind == "16x16" ? oracle::intra_16x16(mode, n, out.data())
                                    : oracle::intra_chroma_8x8(mode, n, out.data());
  if (!ok) return py::none();
  out.resize(static_cast<size_t>(size * size));
  return to_array(out, {size, size});
}

Array<int> inter_block(const Array<uint8_t>& ref, int x, int y, int mvx, int mvy, bool chroma) {
  const oracle::Samples s{ref.data(), static_cast<int>(ref.shape(1)),
                          static_cast<int>(ref.shape(0))};
  std::vector<int> out(chroma ? 4 : 16);
  if (chroma)
    oracle::chroma_2x2(s, x, y, mvx, mvy, out.data());
  else
    oracle::luma_4x4(s, x, y, mvx, mvy, out.data());
  const py::ssize_t n = chroma ? 2 : 4;
  return to_array(out, {n, n});
}

}  // namespace

PYBIND11_MODULE(_oracle, m) {
  m.doc() = "Test-only oracles: libavcodec's own output and a reconstructor from the standard.";
  py::class_<oracle::ReferenceDecoder>(m, "ReferenceDecoder")
      .def(py::init([](const std::string& path, bool loop_filter, bool mb_types, bool mmco,
                       bool planes, bool plain_c) {
             return std::make_unique<oracle::ReferenceDecoder>(
                 path, oracle::ReferenceOptions{loop_filter, mb_types, mmco, planes, plain_c});
           }),
           py::arg("path"), py::kw_only(), py::arg("loop_filter") = false,
           py::arg("mb_types") = false, py::arg("mmco") = false, py::arg("planes") = true,
           py::arg("plain_c") = false)
      .def("next", &next_frame)
      .def("take_log", &oracle::ReferenceDecoder::take_log)
      .def_property_readonly("packets", &oracle::ReferenceDecoder::packets)
      .def_property_readonly("failed_packets", &oracle::ReferenceDecoder::failed_packets);
  m.def("packets", [](const std::string& path) {
    py::list out;
    for (const auto& p : oracle::read_packets(path)) out.append(py::bytes(p));
    return out;
  });
  m.def("reconstruct", &reconstruct);
  m.def("intra_block", &intra_block);
  m.def("inter_block", &inter_block);
}
