// Private: slice data of an Annex B stream, picture by picture in file order, without an index, a
// DPB or vectors. Tests of the entropy layer see here exactly what phase A leaves behind.
#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <map>
#include <string>
#include <utility>
#include <vector>

#include "base/error.h"
#include "bind/bind.h"
#include "bitstream/bit_reader.h"
#include "bitstream/nal.h"
#include "h264/parameter_set_store.h"
#include "h264/slice_data_coverage.h"
#include "h264/slice_decoder.h"
#include "h264/slice_header.h"

namespace py = pybind11;

namespace cvdecode::bind {
namespace {

using h264::Macroblock;
using h264::ParameterSets;
using h264::SliceHeader;

struct Slice {
  SliceHeader header;
  ParameterSets sets;
  std::vector<uint8_t> bytes;  // owns the RBSP
  size_t size = 0;
  std::span<const uint8_t> rbsp() const { return {bytes.data(), size}; }
};

// 7.4.1.2.4 as far as test streams need it.
bool same_picture(const SliceHeader& a, const SliceHeader& b) {
  return b.first_mb_in_slice > a.first_mb_in_slice && a.frame_num == b.frame_num &&
         a.IdrPicFlag() == b.IdrPicFlag() && a.idr_pic_id == b.idr_pic_id &&
         a.pic_order_cnt_lsb == b.pic_order_cnt_lsb && (a.nal_ref_idc == 0) == (b.nal_ref_idc == 0);
}

class SyntaxReader {
 public:
  SyntaxReader(std::string bytes, bool bits, bool residual_y, bool residual_uv, bool intra_modes,
               bool count_branches)
      : bytes_(std::move(bytes)),
        bits_(bits),
        residual_y_(residual_y),
        residual_uv_(residual_uv),
        intra_modes_(intra_modes) {
    decoder_.count_branches(count_branches);
    split_annex_b({reinterpret_cast<const uint8_t*>(bytes_.data()), bytes_.size()}, nals_);
  }

  // The next picture as a dict; None at the end.
  py::object next() {
    std::vector<Slice> slices;
    for (; nal_ < nals_.size(); ++nal_) {
      Slice slice;
      if (!read_slice(nals_[nal_], slice)) continue;
      if (!slices.empty() && !same_picture(slices.back().header, slice.header)) break;
      slices.push_back(std::move(slice));
    }
    if (slices.empty()) return py::none();
    return decode(slices);
  }

  // Entropy decoding alone, as often as asked: (slices, bits of slice data, damaged slices).
  py::tuple run(int repeats) {
    int64_t count = 0;
    int64_t bits = 0;
    int64_t damaged = 0;
    std::vector<std::vector<Slice>> pictures;
    for (nal_ = 0; nal_ < nals_.size(); ++nal_) {
      Slice slice;
      if (!read_slice(nals_[nal_], slice)) continue;
      if (pictures.empty() || !same_picture(pictures.back().back().header, slice.header)) {
        pictures.emplace_back();
      }
      pictures.back().push_back(std::move(slice));
    }
    const py::gil_scoped_release release;
    std::vector<int16_t> y, uv;
    std::vector<uint16_t> mb_bits;
    std::vector<h264::ResidualMask> written;
    for (int i = 0; i < repeats; ++i) {
      for (const std::vector<Slice>& slices : pictures) {
        picture_.start(*slices.front().sets.sps, static_cast<int>(slices.size()), false);
        const auto size = static_cast<size_t>(picture_.PicSizeInMbs());
        if (y.size() != size * 256) {
          y.assign(size * 256, 0);
          uv.assign(size * 128, 0);
          mb_bits.assign(size, 0);
          written.assign(size, 0);
        }
        const h264::SliceTargets targets =
            make_targets(y.data(), uv.data(), mb_bits.data(), written.data(),
                         slices.front().sets.sps->chroma_format_idc != 0);
        for (size_t s = 0; s < slices.size(); ++s) {
          decode_slice(slices, s, targets);
          ++count;
          bits += static_cast<int64_t>(slices[s].size) * 8 - slices[s].header.header_bits;
          damaged += picture_.slices[s].damaged ? 1 : 0;
        }
      }
    }
    const py::gil_scoped_acquire acquire;
    return py::make_tuple(count, bits, damaged);
  }

 private:
  bool read_slice(const NalSpan& nal, Slice& slice) {
    const auto* data = reinterpret_cast<const uint8_t*>(bytes_.data());
    const std::span<const uint8_t> packet(data, bytes_.size());
    const int nal_unit_type = data[nal.offset] & 31;
    if (nal_unit_type == 7 || nal_unit_type == 8) {
      const auto rbsp = nal_rbsp(packet, nal.offset, nal.size, scratch_);
      const std::string why = nal_unit_type == 7 ? store_.add_sps(rbsp) : store_.add_pps(rbsp);
      if (!why.empty()) throw Error(ErrorKind::kCorrupt, why);
      return false;
    }
    if (nal_unit_type != 1 && nal_unit_type != 5) return false;
    slice.size = nal_rbsp(packet, nal.offset, nal.size, slice.bytes).size();
    std::string why;
    slice.sets = store_.find(h264::peek_slice_header(slice.rbsp()).pic_parameter_set_id, why);
    if (!slice.sets.pps) throw Error(ErrorKind::kCorrupt, why);
    slice.header = h264::parse_slice_header(slice.rbsp(), nal_unit_type, data[nal.offset] >> 5 & 3,
                                            slice.sets);
    return slice.header.redundant_pic_cnt == 0;
  }

  h264::SliceTargets make_targets(int16_t* y, int16_t* uv, uint16_t* bits,
                                  h264::ResidualMask* written, bool chroma) const {
    h264::SliceTargets targets;
    const ptrdiff_t width = picture_.PicWidthInMbs * 16;
    targets.residual.written = written;
    if (residual_y_) {
      targets.residual.y = y;
      targets.residual.y_stride = width;
    }
    if (residual_uv_ && chroma) {
      targets.residual.u = uv;
      targets.residual.v = uv + static_cast<ptrdiff_t>(picture_.PicSizeInMbs()) * 64;
      targets.residual.uv_stride = width / 2;
    }
    if (bits_) targets.bits = bits;
    targets.intra_modes = intra_modes_;
    return targets;
  }

  void decode_slice(const std::vector<Slice>& slices, size_t s, const h264::SliceTargets& targets) {
    const int mb_end =
        s + 1 < slices.size() ? slices[s + 1].header.first_mb_in_slice : picture_.PicSizeInMbs();
    decoder_.decode(slices[s].header, slices[s].sets, slices[s].rbsp(), static_cast<int>(s), mb_end,
                    targets, picture_);
  }

  template <typename T, typename Get>
  py::array_t<T> plane(std::vector<py::ssize_t> tail, Get get) const {
    std::vector<py::ssize_t> shape = {picture_.PicHeightInMbs, picture_.PicWidthInMbs};
    shape.insert(shape.end(), tail.begin(), tail.end());
    py::array_t<T> array(shape);
    T* out = array.mutable_data();
    for (const Macroblock& mb : picture_.macroblocks) out = get(mb, out);
    return array;
  }

  py::dict decode(const std::vector<Slice>& slices) {
    const h264::Sps& sps = *slices.front().sets.sps;
    picture_.start(sps, static_cast<int>(slices.size()), intra_modes_);
    const py::ssize_t w = picture_.PicWidthInMbs;
    const py::ssize_t h = picture_.PicHeightInMbs;
    const bool chroma = sps.chroma_format_idc != 0;
    // Filled with a pattern that the decoder must overwrite or clear.
    py::array_t<int16_t> y({h * 16, w * 16});
    py::array_t<int16_t> uv({py::ssize_t{2}, h * 8, w * 8});
    py::array_t<uint16_t> bits({h, w});
    std::fill_n(y.mutable_data(), y.size(), int16_t{0x5555});
    std::fill_n(uv.mutable_data(), uv.size(), int16_t{0x5555});
    std::fill_n(bits.mutable_data(), bits.size(), uint16_t{0x5555});
    std::vector<h264::ResidualMask> written(static_cast<size_t>(w * h), h264::kResidualAll);
    const h264::SliceTargets targets = make_targets(y.mutable_data(), uv.mutable_data(),
                                                    bits.mutable_data(), written.data(), chroma);
    for (size_t s = 0; s < slices.size(); ++s) decode_slice(slices, s, targets);
    h264::clear_unreached(picture_, targets);

    py::dict out;
    const auto byte = [](auto member) {
      return [member](const Macroblock& mb, uint8_t* p) {
        *p = static_cast<uint8_t>(mb.*member);
        return p + 1;
      };
    };
    out["mb_type"] = plane<uint8_t>({}, byte(&Macroblock::mb_type));
    out["coded_block_pattern"] = plane<uint8_t>({}, byte(&Macroblock::coded_block_pattern));
    out["transform_size_8x8_flag"] = plane<uint8_t>({}, byte(&Macroblock::transform_size_8x8_flag));
    out["slice"] = plane<int32_t>({}, [](const Macroblock& mb, int32_t* p) {
      *p = mb.mb_type == MbType::kLost ? -1 : mb.slice;
      return p + 1;
    });
    out["qp"] = plane<int16_t>({}, [](const Macroblock& mb, int16_t* p) {
      *p = mb.QPY;
      return p + 1;
    });
    out["pred"] = plane<uint8_t>({4}, [](const Macroblock& mb, uint8_t* p) {
      return std::copy(mb.pred.begin(), mb.pred.end(), p);
    });
    out["sub_shape"] = plane<uint8_t>({4}, [](const Macroblock& mb, uint8_t* p) {
      return std::copy(mb.sub_shape.begin(), mb.sub_shape.end(), p);
    });
    out["ref_idx"] = plane<int8_t>({2, 4}, [](const Macroblock& mb, int8_t* p) {
      p = std::copy(mb.ref_idx[0].begin(), mb.ref_idx[0].end(), p);
      return std::copy(mb.ref_idx[1].begin(), mb.ref_idx[1].end(), p);
    });
    out["first_mvd"] = plane<int64_t>({}, [](const Macroblock& mb, int64_t* p) {
      *p = mb.first_mvd;
      return p + 1;
    });
    out["bits"] = bits_ ? py::object(bits) : py::none();
    out["residual_y"] = residual_y_ ? py::object(y) : py::none();
    out["residual_uv"] = residual_uv_ && chroma ? py::object(uv) : py::none();
    if (intra_modes_) {
      py::array_t<int8_t> luma({h, w, py::ssize_t{16}});
      py::array_t<int8_t> chroma_mode({h, w});
      int8_t* p = luma.mutable_data();
      int8_t* q = chroma_mode.mutable_data();
      for (const h264::IntraModes& modes : picture_.intra_modes) {
        p = std::copy(modes.luma.begin(), modes.luma.end(), p);
        *q++ = modes.intra_chroma_pred_mode;
      }
      out["intra_luma_mode"] = luma;
      out["intra_chroma_pred_mode"] = chroma_mode;
    }
    py::list list;
    for (size_t s = 0; s < slices.size(); ++s) list.append(slice_dict(slices[s], s));
    out["slices"] = list;
    out["idr"] = slices.front().header.IdrPicFlag();
    out["is_reference"] = slices.front().header.nal_ref_idc != 0;
    return out;
  }

  py::dict slice_dict(const Slice& slice, size_t s) const {
    const h264::SliceSyntax& syntax = picture_.slices[s];
    py::dict out;
    out["slice_type"] = static_cast<int>(slice.header.slice_type);
    out["first_mb"] = syntax.first_mb;
    out["mb_count"] = syntax.mb_count;
    out["damaged"] = syntax.damaged;
    out["damage"] = syntax.damage;
    out["header_bits"] = slice.header.header_bits;
    out["stop_bit"] = BitReader::stop_bit(slice.rbsp());
    out["entropy_coding_mode_flag"] = slice.sets.pps->entropy_coding_mode_flag;
    out["SliceQPY"] = slice.header.SliceQPY;
    out["num_ref_idx_active"] = slice.header.num_ref_idx_active;
    py::array_t<int16_t> mvd({static_cast<py::ssize_t>(syntax.mvd.size()), py::ssize_t{2}});
    int16_t* p = mvd.mutable_data();
    for (const h264::Mvd& v : syntax.mvd) {
      *p++ = v.x;
      *p++ = v.y;
    }
    out["mvd"] = mvd;
    return out;
  }

  std::string bytes_;
  bool bits_;
  bool residual_y_;
  bool residual_uv_;
  bool intra_modes_;
  std::vector<NalSpan> nals_;
  size_t nal_ = 0;
  std::vector<uint8_t> scratch_;
  h264::ParameterSetStore store_;
  h264::SliceDecoder decoder_;
  h264::PictureSyntax picture_;
};

}  // namespace

void register_h264_syntax(py::module_& m) {
  py::class_<SyntaxReader>(m, "H264SyntaxReader", "Private, for tests: phase A of Annex B bytes.")
      .def(py::init<std::string, bool, bool, bool, bool, bool>(), py::arg("data"), py::kw_only(),
           py::arg("bits") = true, py::arg("residual_y") = false, py::arg("residual_uv") = false,
           py::arg("intra_modes") = false, py::arg("count_branches") = false)
      .def("next", &SyntaxReader::next, "The next picture as a dict of arrays; None at the end.")
      .def("run", &SyntaxReader::run, py::arg("repeats") = 1,
           "Decode everything: (slices, bits, damaged slices).");
  m.def(
      "h264_branch_counts",
      [] {
        std::map<std::string, int64_t> counts;
        for (const auto& [name, count] : h264::branch_counts()) counts[name] = count;
        return counts;
      },
      "Private, for tests: how often each branch of slice data syntax was met by readers made "
      "with count_branches=True and a residual.");
  m.def("h264_reset_branch_counts", &h264::reset_branch_counts);
}

}  // namespace cvdecode::bind
