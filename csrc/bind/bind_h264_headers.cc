// Private access for tests: what phase H read, element by element. Not part of the public module.
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "bind/bind.h"
#include "bitstream/bit_reader.h"
#include "bitstream/nal.h"
#include "h264/native_index.h"
#include "h264/parameter_set_store.h"
#include "h264/sei.h"
#include "h264/slice_header.h"
#include "h264/stream_indexer.h"

namespace py = pybind11;

namespace cvdecode::bind {
namespace {

using namespace cvdecode::h264;

std::span<const uint8_t> bytes_of(const py::bytes& object) {
  const auto view = static_cast<std::string_view>(object);
  return {reinterpret_cast<const uint8_t*>(view.data()), view.size()};
}

// dict["name"] = struct.name, so that names cannot drift apart.
#define CVDECODE_PUT(dict, object, name) dict[#name] = (object).name

py::dict to_dict(const Sps& sps) {
  py::dict d;
  CVDECODE_PUT(d, sps, profile_idc);
  CVDECODE_PUT(d, sps, constraint_set_flags);
  CVDECODE_PUT(d, sps, level_idc);
  CVDECODE_PUT(d, sps, seq_parameter_set_id);
  CVDECODE_PUT(d, sps, chroma_format_idc);
  CVDECODE_PUT(d, sps, separate_colour_plane_flag);
  CVDECODE_PUT(d, sps, bit_depth_luma_minus8);
  CVDECODE_PUT(d, sps, bit_depth_chroma_minus8);
  CVDECODE_PUT(d, sps, qpprime_y_zero_transform_bypass_flag);
  CVDECODE_PUT(d, sps, seq_scaling_matrix_present_flag);
  CVDECODE_PUT(d, sps, log2_max_frame_num_minus4);
  CVDECODE_PUT(d, sps, pic_order_cnt_type);
  CVDECODE_PUT(d, sps, log2_max_pic_order_cnt_lsb_minus4);
  CVDECODE_PUT(d, sps, delta_pic_order_always_zero_flag);
  CVDECODE_PUT(d, sps, offset_for_non_ref_pic);
  CVDECODE_PUT(d, sps, offset_for_top_to_bottom_field);
  CVDECODE_PUT(d, sps, num_ref_frames_in_pic_order_cnt_cycle);
  d["offset_for_ref_frame"] = std::vector<int32_t>(
      sps.offset_for_ref_frame.begin(),
      sps.offset_for_ref_frame.begin() + sps.num_ref_frames_in_pic_order_cnt_cycle);
  CVDECODE_PUT(d, sps, max_num_ref_frames);
  CVDECODE_PUT(d, sps, gaps_in_frame_num_value_allowed_flag);
  CVDECODE_PUT(d, sps, pic_width_in_mbs_minus1);
  CVDECODE_PUT(d, sps, pic_height_in_map_units_minus1);
  CVDECODE_PUT(d, sps, frame_mbs_only_flag);
  CVDECODE_PUT(d, sps, mb_adaptive_frame_field_flag);
  CVDECODE_PUT(d, sps, direct_8x8_inference_flag);
  CVDECODE_PUT(d, sps, frame_cropping_flag);
  CVDECODE_PUT(d, sps, frame_crop_left_offset);
  CVDECODE_PUT(d, sps, frame_crop_right_offset);
  CVDECODE_PUT(d, sps, frame_crop_top_offset);
  CVDECODE_PUT(d, sps, frame_crop_bottom_offset);
  CVDECODE_PUT(d, sps, vui_parameters_present_flag);
  CVDECODE_PUT(d, sps, bitstream_restriction_flag);
  CVDECODE_PUT(d, sps, max_num_reorder_frames);
  CVDECODE_PUT(d, sps, max_dec_frame_buffering);
  CVDECODE_PUT(d, sps, ScalingList4x4);
  CVDECODE_PUT(d, sps, ScalingList8x8);
  CVDECODE_PUT(d, sps.vui, aspect_ratio_idc);
  CVDECODE_PUT(d, sps.vui, sar_width);
  CVDECODE_PUT(d, sps.vui, sar_height);
  CVDECODE_PUT(d, sps.vui, overscan_appropriate_flag);
  CVDECODE_PUT(d, sps.vui, video_format);
  CVDECODE_PUT(d, sps.vui, video_full_range_flag);
  CVDECODE_PUT(d, sps.vui, colour_primaries);
  CVDECODE_PUT(d, sps.vui, transfer_characteristics);
  CVDECODE_PUT(d, sps.vui, matrix_coefficients);
  CVDECODE_PUT(d, sps.vui, chroma_sample_loc_type_top_field);
  CVDECODE_PUT(d, sps.vui, chroma_sample_loc_type_bottom_field);
  CVDECODE_PUT(d, sps.vui, timing_info_present_flag);
  CVDECODE_PUT(d, sps.vui, num_units_in_tick);
  CVDECODE_PUT(d, sps.vui, time_scale);
  CVDECODE_PUT(d, sps.vui, fixed_frame_rate_flag);
  CVDECODE_PUT(d, sps.vui, nal_hrd_parameters_present_flag);
  CVDECODE_PUT(d, sps.vui, vcl_hrd_parameters_present_flag);
  CVDECODE_PUT(d, sps.vui, pic_struct_present_flag);
  return d;
}

py::dict to_dict(const Pps& pps) {
  py::dict d;
  CVDECODE_PUT(d, pps, pic_parameter_set_id);
  CVDECODE_PUT(d, pps, seq_parameter_set_id);
  CVDECODE_PUT(d, pps, entropy_coding_mode_flag);
  CVDECODE_PUT(d, pps, bottom_field_pic_order_in_frame_present_flag);
  CVDECODE_PUT(d, pps, num_slice_groups_minus1);
  CVDECODE_PUT(d, pps, slice_group_map_type);
  CVDECODE_PUT(d, pps, num_ref_idx_l0_default_active_minus1);
  CVDECODE_PUT(d, pps, num_ref_idx_l1_default_active_minus1);
  CVDECODE_PUT(d, pps, weighted_pred_flag);
  CVDECODE_PUT(d, pps, weighted_bipred_idc);
  CVDECODE_PUT(d, pps, pic_init_qp_minus26);
  CVDECODE_PUT(d, pps, pic_init_qs_minus26);
  CVDECODE_PUT(d, pps, chroma_qp_index_offset);
  CVDECODE_PUT(d, pps, second_chroma_qp_index_offset);
  CVDECODE_PUT(d, pps, deblocking_filter_control_present_flag);
  CVDECODE_PUT(d, pps, constrained_intra_pred_flag);
  CVDECODE_PUT(d, pps, redundant_pic_cnt_present_flag);
  CVDECODE_PUT(d, pps, transform_8x8_mode_flag);
  CVDECODE_PUT(d, pps, pic_scaling_matrix_present_flag);
  CVDECODE_PUT(d, pps, ScalingList4x4);
  CVDECODE_PUT(d, pps, ScalingList8x8);
  return d;
}

py::object to_object(const std::shared_ptr<const PredWeightTable>& table,
                     const std::array<int, 2>& counts) {
  if (table == nullptr) return py::none();
  py::dict d;
  CVDECODE_PUT(d, *table, luma_log2_weight_denom);
  CVDECODE_PUT(d, *table, chroma_log2_weight_denom);
  py::list lists;
  for (size_t x = 0; x < 2; ++x) {
    py::list entries;
    for (size_t i = 0; i < static_cast<size_t>(counts[x]); ++i) {
      const PredWeight& entry = table->entry[x][i];
      entries.append(py::make_tuple(entry.luma_weight, entry.luma_offset, entry.chroma_weight,
                                    entry.chroma_offset));
    }
    lists.append(entries);
  }
  d["entry"] = lists;
  return d;
}

py::dict to_dict(const SliceHeader& header) {
  py::dict d;
  CVDECODE_PUT(d, header, nal_unit_type);
  CVDECODE_PUT(d, header, nal_ref_idc);
  CVDECODE_PUT(d, header, first_mb_in_slice);
  d["slice_type"] = static_cast<int>(header.slice_type) + (header.slice_type_fixed ? 5 : 0);
  CVDECODE_PUT(d, header, pic_parameter_set_id);
  CVDECODE_PUT(d, header, colour_plane_id);
  CVDECODE_PUT(d, header, frame_num);
  CVDECODE_PUT(d, header, field_pic_flag);
  CVDECODE_PUT(d, header, bottom_field_flag);
  CVDECODE_PUT(d, header, idr_pic_id);
  CVDECODE_PUT(d, header, pic_order_cnt_lsb);
  CVDECODE_PUT(d, header, delta_pic_order_cnt_bottom);
  CVDECODE_PUT(d, header, delta_pic_order_cnt);
  CVDECODE_PUT(d, header, redundant_pic_cnt);
  CVDECODE_PUT(d, header, direct_spatial_mv_pred_flag);
  CVDECODE_PUT(d, header, num_ref_idx_active);
  py::list modifications;
  for (const auto& list : header.ref_pic_list_modification) {
    py::list entries;
    for (const RefPicListModification& entry : list) {
      entries.append(py::make_tuple(entry.modification_of_pic_nums_idc, entry.value));
    }
    modifications.append(entries);
  }
  d["ref_pic_list_modification"] = modifications;
  d["pred_weight_table"] = to_object(header.pred_weight_table, header.num_ref_idx_active);
  CVDECODE_PUT(d, header, no_output_of_prior_pics_flag);
  CVDECODE_PUT(d, header, long_term_reference_flag);
  CVDECODE_PUT(d, header, adaptive_ref_pic_marking_mode_flag);
  py::list mmco;
  for (const MemoryManagementControl& entry : header.mmco) {
    py::dict m;
    CVDECODE_PUT(m, entry, memory_management_control_operation);
    CVDECODE_PUT(m, entry, difference_of_pic_nums_minus1);
    CVDECODE_PUT(m, entry, long_term_pic_num);
    CVDECODE_PUT(m, entry, long_term_frame_idx);
    CVDECODE_PUT(m, entry, max_long_term_frame_idx_plus1);
    mmco.append(m);
  }
  d["mmco"] = mmco;
  CVDECODE_PUT(d, header, cabac_init_idc);
  CVDECODE_PUT(d, header, slice_qp_delta);
  CVDECODE_PUT(d, header, sp_for_switch_flag);
  CVDECODE_PUT(d, header, slice_qs_delta);
  CVDECODE_PUT(d, header, slice_group_change_cycle);
  CVDECODE_PUT(d, header, SliceQPY);
  CVDECODE_PUT(d, header, disable_deblocking_filter_idc);
  CVDECODE_PUT(d, header, slice_alpha_c0_offset_div2);
  CVDECODE_PUT(d, header, slice_beta_offset_div2);
  CVDECODE_PUT(d, header, header_bits);
  return d;
}

py::dict to_dict(const Picture& picture) {
  py::dict d;
  CVDECODE_PUT(d, picture, first_packet);
  CVDECODE_PUT(d, picture, last_packet);
  CVDECODE_PUT(d, picture, pts);
  CVDECODE_PUT(d, picture, sequence);
  CVDECODE_PUT(d, picture, order);
  CVDECODE_PUT(d, picture, presentation);
  CVDECODE_PUT(d, picture, segment);
  CVDECODE_PUT(d, picture, decode_start);
  d["type"] = std::string(1, "?IPB"[static_cast<size_t>(picture.type)]);
  CVDECODE_PUT(d, picture, is_key);
  CVDECODE_PUT(d, picture, is_idr);
  CVDECODE_PUT(d, picture, all_intra);
  CVDECODE_PUT(d, picture, is_reference);
  CVDECODE_PUT(d, picture, field_coded);
  CVDECODE_PUT(d, picture, damaged);
  return d;
}

py::dict to_dict(const PictureEntry& entry) {
  py::dict d;
  CVDECODE_PUT(d, entry, TopFieldOrderCnt);
  CVDECODE_PUT(d, entry, BottomFieldOrderCnt);
  CVDECODE_PUT(d, entry, tempPicOrderCnt);
  CVDECODE_PUT(d, entry, FrameNum);
  CVDECODE_PUT(d, entry, references_sure);
  CVDECODE_PUT(d, entry, used_for_reference);
  CVDECODE_PUT(d, entry, max_long_term_frame_idx);
  py::list slices;
  for (const SliceEntry& slice : entry.slices) {
    py::dict s = to_dict(slice.header);
    CVDECODE_PUT(s, slice, packet);
    CVDECODE_PUT(s, slice, offset);
    CVDECODE_PUT(s, slice, size);
    py::list lists;
    for (const auto& list : slice.RefPicList) {
      py::list entries;
      for (const RefEntry& reference : list) {
        entries.append(py::make_tuple(reference.picture, reference.long_term));
      }
      lists.append(entries);
    }
    s["RefPicList"] = lists;
    slices.append(s);
  }
  d["slices"] = slices;
  return d;
}

py::dict to_dict(const Geometry& geometry) {
  py::dict d;
  CVDECODE_PUT(d, geometry, coded_width);
  CVDECODE_PUT(d, geometry, coded_height);
  CVDECODE_PUT(d, geometry, crop_left);
  CVDECODE_PUT(d, geometry, crop_top);
  CVDECODE_PUT(d, geometry, crop_right);
  CVDECODE_PUT(d, geometry, crop_bottom);
  CVDECODE_PUT(d, geometry, chroma_format_idc);
  CVDECODE_PUT(d, geometry, bit_depth);
  return d;
}

// The parsers alone, NAL by NAL, without an index.
class HeaderReader {
 public:
  HeaderReader(const py::bytes& extradata, int nal_length_size)
      : nal_length_size_(nal_length_size) {
    const auto bytes = bytes_of(extradata);
    for (const NalSpan& span : split_extradata(bytes).nals) {
      extradata_.append(read(bytes.subspan(span.offset, span.size)));
    }
  }

  py::list extradata() const { return extradata_; }

  py::list add(const py::bytes& packet) {
    const auto bytes = bytes_of(packet);
    std::vector<NalSpan> spans;
    split_packet(bytes, nal_length_size_, spans);
    py::list nals;
    for (const NalSpan& span : spans) nals.append(read(bytes.subspan(span.offset, span.size)));
    return nals;
  }

 private:
  py::dict read(std::span<const uint8_t> nal) {
    const int nal_ref_idc = nal[0] >> 5 & 3;
    const int nal_unit_type = nal[0] & 31;
    const auto rbsp = unescape(nal.subspan(1), buffer_);
    py::dict d;
    std::string why;
    switch (nal_unit_type) {
      case 1:
      case 2:
      case 5: {
        const ParameterSets sets = store_.find(peek_slice_header(rbsp).pic_parameter_set_id, why);
        if (sets.pps == nullptr) throw Error(ErrorKind::kCorrupt, why);
        d = to_dict(parse_slice_header(rbsp, nal_unit_type, nal_ref_idc, sets));
        break;
      }
      case 6: {
        if (const auto point = find_recovery_point(rbsp)) {
          CVDECODE_PUT(d, *point, recovery_frame_cnt);
          CVDECODE_PUT(d, *point, exact_match_flag);
          CVDECODE_PUT(d, *point, broken_link_flag);
        }
        break;
      }
      case 7: {
        why = store_.add_sps(rbsp);
        if (!why.empty()) throw Error(ErrorKind::kCorrupt, why);
        const Sps sps = parse_sps(rbsp);
        d = to_dict(sps);
        break;
      }
      case 8: {
        why = store_.add_pps(rbsp);
        if (!why.empty()) throw Error(ErrorKind::kCorrupt, why);
        const ParameterSets sets = store_.find(BitReader(rbsp).ue(), why);
        if (sets.pps == nullptr) throw Error(ErrorKind::kCorrupt, why);
        d = to_dict(*sets.pps);
        break;
      }
      default: break;
    }
    d["nal_ref_idc"] = nal_ref_idc;
    d["nal_unit_type"] = nal_unit_type;
    return d;
  }

  int nal_length_size_;
  ParameterSetStore store_;
  std::vector<uint8_t> buffer_;
  py::list extradata_;
};

// packets: (data, pts, discard, new_extradata) in file order.
py::dict index_of(const py::list& packets, const py::bytes& extradata, int nal_length_size,
                  bool details) {
  StreamInfo info;
  info.path = "<packets>";
  const auto sets = bytes_of(extradata);
  info.extradata.assign(sets.begin(), sets.end());
  info.nal_length_size = nal_length_size;
  StreamIndexer indexer(info);
  int64_t number = 0;
  for (const py::handle item : packets) {
    const auto fields = item.cast<py::tuple>();
    const auto data = fields[0].cast<py::bytes>();
    const auto new_extradata = fields[3].cast<py::bytes>();
    Packet packet;
    packet.data = bytes_of(data);
    packet.number = number++;
    if (!fields[1].is_none()) packet.pts = fields[1].cast<int64_t>();
    packet.discard = fields[2].cast<bool>();
    packet.new_extradata = bytes_of(new_extradata);
    indexer.add_packet(packet);
  }
  std::shared_ptr<const NativeIndex> native;
  const FrameIndex index = indexer.finish(&native);
  py::dict d;
  d["presentation"] = index.presentation;
  d["warnings"] = index.warnings;
  d["unsupported"] = native->unsupported;
  d["nals_skipped"] = native->nals_skipped;
  d["redundant_skipped"] = native->redundant_skipped;
  d["size"] = index.pictures.size();
  py::list gops;
  for (const Gop& gop : index.gops) {
    gops.append(py::make_tuple(gop.decode_start, gop.decode_stop, gop.key_frame, gop.closed));
  }
  d["gops"] = gops;
  py::list segments;
  for (const Segment& segment : index.segments) {
    segments.append(py::make_tuple(segment.start, segment.stop, to_dict(segment.geometry)));
  }
  d["segments"] = segments;
  if (details) {
    py::list pictures;
    for (size_t i = 0; i < index.pictures.size(); ++i) {
      py::dict picture = to_dict(index.pictures[i]);
      const py::dict native_picture = to_dict(native->pictures[i]);
      for (const auto& [key, value] : native_picture) picture[key] = value;
      pictures.append(picture);
    }
    d["pictures"] = pictures;
  }
  return d;
}

}  // namespace

void register_h264_headers(py::module_& m) {
  py::class_<HeaderReader>(m, "H264HeaderReader",
                           "For tests: parses headers NAL by NAL. extradata is avcC or Annex B.")
      .def(py::init<const py::bytes&, int>(), py::arg("extradata"), py::arg("nal_length_size"))
      .def_property_readonly("extradata", &HeaderReader::extradata, "What the extradata held.")
      .def("add", &HeaderReader::add, py::arg("packet"),
           "One dict per NAL unit: syntax elements by the standard's names.");
  m.def("h264_index", &index_of, py::arg("packets"), py::arg("extradata"),
        py::arg("nal_length_size"), py::arg("details") = true,
        "For tests: the index of packets given as (data, pts or None, discard, new_extradata).");
}

}  // namespace cvdecode::bind
