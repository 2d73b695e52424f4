#include "h264/parameter_sets.h"

#include <bit>
#include <string>

#include "base/error.h"
#include "bitstream/bit_reader.h"
#include "h264/scaling_lists.h"

namespace cvdecode::h264 {
namespace {

[[noreturn]] void fail(const char* set, const char* element, int64_t value) {
  throw Error(ErrorKind::kCorrupt, std::string(set) + ": " + element + " = " +
                                       std::to_string(value) + " is out of range");
}

int sps_ue(BitReader& bits, const char* element, uint32_t max) {
  const uint32_t value = bits.ue();
  if (value > max) fail("sequence parameter set", element, value);
  return static_cast<int>(value);
}

int pps_ue(BitReader& bits, const char* element, uint32_t max) {
  const uint32_t value = bits.ue();
  if (value > max) fail("picture parameter set", element, value);
  return static_cast<int>(value);
}

int pps_se(BitReader& bits, const char* element, int min, int max) {
  const int32_t value = bits.se();
  if (value < min || value > max) fail("picture parameter set", element, value);
  return value;
}

// The profiles whose SPS carries chroma_format_idc and what follows it (7.3.2.1.1).
bool has_chroma_format(int profile_idc) {
  switch (profile_idc) {
    case 100:
    case 110:
    case 122:
    case 244:
    case 44:
    case 83:
    case 86:
    case 118:
    case 128:
    case 138:
    case 139:
    case 134:
    case 135: return true;
    default: return false;
  }
}

// hrd_parameters( ) of E.1.2: nothing in it matters here. False: out of range.
bool skip_hrd(BitReader& bits) {
  const uint32_t cpb_cnt_minus1 = bits.ue();
  if (cpb_cnt_minus1 > 31) return false;
  bits.skip(8);  // bit_rate_scale, cpb_size_scale
  for (uint32_t i = 0; i <= cpb_cnt_minus1; ++i) {
    bits.ue();     // bit_rate_value_minus1
    bits.ue();     // cpb_size_value_minus1
    bits.skip(1);  // cbr_flag
  }
  bits.skip(20);  // four lengths of five bits
  return true;
}

// vui_parameters( ) of E.1.1. Many encoders truncate or garble it and no decoder needs it, so what
// cannot be read is left as inferred instead of losing the whole stream.
void parse_vui(BitReader& bits, Sps& sps) {
  Vui vui;
  if (bits.flag()) {  // aspect_ratio_info_present_flag
    vui.aspect_ratio_idc = static_cast<int>(bits.u(8));
    if (vui.aspect_ratio_idc == 255) {  // Extended_SAR
      vui.sar_width = static_cast<int>(bits.u(16));
      vui.sar_height = static_cast<int>(bits.u(16));
    }
  }
  if (bits.flag()) vui.overscan_appropriate_flag = bits.flag() ? 1 : 0;
  if (bits.flag()) {  // video_signal_type_present_flag
    vui.video_format = static_cast<int>(bits.u(3));
    vui.video_full_range_flag = bits.flag();
    if (bits.flag()) {  // colour_description_present_flag
      vui.colour_primaries = static_cast<int>(bits.u(8));
      vui.transfer_characteristics = static_cast<int>(bits.u(8));
      vui.matrix_coefficients = static_cast<int>(bits.u(8));
    }
  }
  if (bits.flag()) {  // chroma_loc_info_present_flag
    const uint32_t top = bits.ue();
    const uint32_t bottom = bits.ue();
    if (top > 5 || bottom > 5) return;
    vui.chroma_sample_loc_type_top_field = static_cast<int>(top);
    vui.chroma_sample_loc_type_bottom_field = static_cast<int>(bottom);
  }
  vui.timing_info_present_flag = bits.flag();
  if (vui.timing_info_present_flag) {
    vui.num_units_in_tick = bits.u(32);
    vui.time_scale = bits.u(32);
    vui.fixed_frame_rate_flag = bits.flag();
  }
  vui.nal_hrd_parameters_present_flag = bits.flag();
  if (vui.nal_hrd_parameters_present_flag && !skip_hrd(bits)) return;
  vui.vcl_hrd_parameters_present_flag = bits.flag();
  if (vui.vcl_hrd_parameters_present_flag && !skip_hrd(bits)) return;
  if (vui.nal_hrd_parameters_present_flag || vui.vcl_hrd_parameters_present_flag) {
    bits.skip(1);  // low_delay_hrd_flag
  }
  vui.pic_struct_present_flag = bits.flag();
  if (!bits.ok()) return;
  sps.vui = vui;
  if (!bits.flag()) return;               // bitstream_restriction_flag
  bits.skip(1);                           // motion_vectors_over_pic_boundaries_flag
  for (int i = 0; i < 4; ++i) bits.ue();  // max_bytes_per_pic_denom .. log2_max_mv_length_vertical
  const uint32_t max_num_reorder_frames = bits.ue();
  const uint32_t max_dec_frame_buffering = bits.ue();
  if (!bits.ok() || max_dec_frame_buffering > 16 ||
      max_num_reorder_frames > max_dec_frame_buffering) {
    return;
  }
  sps.bitstream_restriction_flag = true;
  sps.max_num_reorder_frames = static_cast<int>(max_num_reorder_frames);
  sps.max_dec_frame_buffering = static_cast<int>(max_dec_frame_buffering);
}

void parse_pic_order_cnt(BitReader& bits, Sps& sps) {
  sps.pic_order_cnt_type = sps_ue(bits, "pic_order_cnt_type", 2);
  if (sps.pic_order_cnt_type == 0) {
    sps.log2_max_pic_order_cnt_lsb_minus4 = sps_ue(bits, "log2_max_pic_order_cnt_lsb_minus4", 12);
  } else if (sps.pic_order_cnt_type == 1) {
    sps.delta_pic_order_always_zero_flag = bits.flag();
    sps.offset_for_non_ref_pic = bits.se();
    sps.offset_for_top_to_bottom_field = bits.se();
    sps.num_ref_frames_in_pic_order_cnt_cycle =
        sps_ue(bits, "num_ref_frames_in_pic_order_cnt_cycle", 255);
    for (int i = 0; i < sps.num_ref_frames_in_pic_order_cnt_cycle; ++i) {
      sps.offset_for_ref_frame[static_cast<size_t>(i)] = bits.se();
    }
  }
}

void parse_frame_size(BitReader& bits, Sps& sps) {
  sps.pic_width_in_mbs_minus1 = sps_ue(bits, "pic_width_in_mbs_minus1", 4095);
  sps.pic_height_in_map_units_minus1 = sps_ue(bits, "pic_height_in_map_units_minus1", 4095);
  sps.frame_mbs_only_flag = bits.flag();
  if (!sps.frame_mbs_only_flag) sps.mb_adaptive_frame_field_flag = bits.flag();
  if (sps.PicWidthInMbs() * sps.FrameHeightInMbs() > kMaxPicSizeInMbs) {
    fail("sequence parameter set", "PicSizeInMbs", sps.PicWidthInMbs() * sps.FrameHeightInMbs());
  }
  sps.direct_8x8_inference_flag = bits.flag();
  sps.frame_cropping_flag = bits.flag();
  if (!sps.frame_cropping_flag) return;
  constexpr uint32_t kMaxCrop = 1 << 16;
  sps.frame_crop_left_offset = sps_ue(bits, "frame_crop_left_offset", kMaxCrop);
  sps.frame_crop_right_offset = sps_ue(bits, "frame_crop_right_offset", kMaxCrop);
  sps.frame_crop_top_offset = sps_ue(bits, "frame_crop_top_offset", kMaxCrop);
  sps.frame_crop_bottom_offset = sps_ue(bits, "frame_crop_bottom_offset", kMaxCrop);
  const Geometry geometry = sps.geometry();
  if (geometry.width() <= 0) fail("sequence parameter set", "cropped width", geometry.width());
  if (geometry.height() <= 0) fail("sequence parameter set", "cropped height", geometry.height());
}

// slice groups of 7.3.2.2: only their syntax, because streams that use them are outside the scope
// of the parser (not of the index).
void parse_slice_groups(BitReader& bits, Pps& pps) {
  pps.slice_group_map_type = pps_ue(bits, "slice_group_map_type", 6);
  const int groups = pps.num_slice_groups_minus1 + 1;
  switch (pps.slice_group_map_type) {
    case 0:
      for (int i = 0; i < groups; ++i) bits.ue();  // run_length_minus1
      break;
    case 2:
      for (int i = 0; i + 1 < groups; ++i) {
        bits.ue();  // top_left
        bits.ue();  // bottom_right
      }
      break;
    case 3:
    case 4:
    case 5:
      bits.skip(1);  // slice_group_change_direction_flag
      pps.slice_group_change_rate_minus1 = bits.ue();
      break;
    case 6: {
      const int64_t units = static_cast<int64_t>(bits.ue()) + 1;  // pic_size_in_map_units_minus1
      if (units > kMaxPicSizeInMbs) {
        fail("picture parameter set", "pic_size_in_map_units_minus1", units - 1);
      }
      const int length = std::bit_width(static_cast<unsigned>(groups - 1));  // Ceil(Log2(groups))
      bits.skip(units * length);                                             // slice_group_id
      break;
    }
    default: break;
  }
}

}  // namespace

Geometry Sps::geometry() const {
  // CropUnitX and CropUnitY of 7.4.2.1.1.
  const int array_type = ChromaArrayType();
  const int SubWidthC = array_type == 1 || array_type == 2 ? 2 : 1;
  const int SubHeightC = array_type == 1 ? 2 : 1;
  const int CropUnitX = SubWidthC;
  const int CropUnitY = SubHeightC * (2 - (frame_mbs_only_flag ? 1 : 0));
  Geometry geometry;
  geometry.coded_width = PicWidthInMbs() * 16;
  geometry.coded_height = FrameHeightInMbs() * 16;
  geometry.crop_left = CropUnitX * frame_crop_left_offset;
  geometry.crop_right = CropUnitX * frame_crop_right_offset;
  geometry.crop_top = CropUnitY * frame_crop_top_offset;
  geometry.crop_bottom = CropUnitY * frame_crop_bottom_offset;
  geometry.chroma_format_idc = chroma_format_idc;
  geometry.bit_depth = bit_depth_luma_minus8 + 8;
  return geometry;
}

Sps parse_sps(std::span<const uint8_t> rbsp) {
  BitReader bits(rbsp);
  Sps sps;
  sps.profile_idc = static_cast<int>(bits.u(8));
  for (int i = 0; i < 6; ++i) sps.constraint_set_flags |= static_cast<int>(bits.u(1)) << i;
  bits.skip(2);  // reserved_zero_2bits
  sps.level_idc = static_cast<int>(bits.u(8));
  sps.seq_parameter_set_id = sps_ue(bits, "seq_parameter_set_id", 31);

  ScalingLists lists = flat_scaling_lists();
  if (has_chroma_format(sps.profile_idc)) {
    sps.chroma_format_idc = sps_ue(bits, "chroma_format_idc", 3);
    if (sps.chroma_format_idc == 3) sps.separate_colour_plane_flag = bits.flag();
    sps.bit_depth_luma_minus8 = sps_ue(bits, "bit_depth_luma_minus8", 6);
    sps.bit_depth_chroma_minus8 = sps_ue(bits, "bit_depth_chroma_minus8", 6);
    sps.qpprime_y_zero_transform_bypass_flag = bits.flag();
    sps.seq_scaling_matrix_present_flag = bits.flag();
    if (sps.seq_scaling_matrix_present_flag) {
      lists = parse_scaling_lists(bits, sps.chroma_format_idc == 3 ? 6 : 2, nullptr);
    }
  }
  sps.ScalingList4x4 = lists.ScalingList4x4;
  sps.ScalingList8x8 = lists.ScalingList8x8;

  sps.log2_max_frame_num_minus4 = sps_ue(bits, "log2_max_frame_num_minus4", 12);
  parse_pic_order_cnt(bits, sps);
  sps.max_num_ref_frames = sps_ue(bits, "max_num_ref_frames", 16);
  sps.gaps_in_frame_num_value_allowed_flag = bits.flag();
  parse_frame_size(bits, sps);
  if (!bits.ok()) {
    throw Error(ErrorKind::kCorrupt, "sequence parameter set: ends before vui_parameters_present");
  }
  sps.vui_parameters_present_flag = bits.flag();
  if (sps.vui_parameters_present_flag && !bits.overrun()) parse_vui(bits, sps);
  return sps;
}

int peek_pps_sps_id(std::span<const uint8_t> rbsp) {
  BitReader bits(rbsp);
  pps_ue(bits, "pic_parameter_set_id", 255);
  const int id = pps_ue(bits, "seq_parameter_set_id", 31);
  if (!bits.ok()) throw Error(ErrorKind::kCorrupt, "picture parameter set: ends inside its ids");
  return id;
}

Pps parse_pps(std::span<const uint8_t> rbsp, const Sps& sps) {
  BitReader bits(rbsp);
  Pps pps;
  pps.pic_parameter_set_id = pps_ue(bits, "pic_parameter_set_id", 255);
  pps.seq_parameter_set_id = pps_ue(bits, "seq_parameter_set_id", 31);
  pps.entropy_coding_mode_flag = bits.flag();
  pps.bottom_field_pic_order_in_frame_present_flag = bits.flag();
  pps.num_slice_groups_minus1 = pps_ue(bits, "num_slice_groups_minus1", 7);
  if (pps.num_slice_groups_minus1 > 0) parse_slice_groups(bits, pps);
  pps.num_ref_idx_l0_default_active_minus1 =
      pps_ue(bits, "num_ref_idx_l0_default_active_minus1", 31);
  pps.num_ref_idx_l1_default_active_minus1 =
      pps_ue(bits, "num_ref_idx_l1_default_active_minus1", 31);
  pps.weighted_pred_flag = bits.flag();
  pps.weighted_bipred_idc = static_cast<int>(bits.u(2));
  if (pps.weighted_bipred_idc == 3) fail("picture parameter set", "weighted_bipred_idc", 3);
  const int QpBdOffsetY = 6 * sps.bit_depth_luma_minus8;
  pps.pic_init_qp_minus26 = pps_se(bits, "pic_init_qp_minus26", -26 - QpBdOffsetY, 25);
  pps.pic_init_qs_minus26 = pps_se(bits, "pic_init_qs_minus26", -26, 25);
  pps.chroma_qp_index_offset = pps_se(bits, "chroma_qp_index_offset", -12, 12);
  pps.second_chroma_qp_index_offset = pps.chroma_qp_index_offset;
  pps.deblocking_filter_control_present_flag = bits.flag();
  pps.constrained_intra_pred_flag = bits.flag();
  pps.redundant_pic_cnt_present_flag = bits.flag();
  if (!bits.ok()) {
    throw Error(ErrorKind::kCorrupt,
                "picture parameter set: ends before redundant_pic_cnt_present_flag");
  }

  const ScalingLists sequence{sps.ScalingList4x4, sps.ScalingList8x8};
  ScalingLists lists = sequence;
  // Some Baseline, Main and Extended encoders leave garbage after the last element. Those profiles
  // know nothing that could follow, so what is there is not the FRExt part.
  const bool older_profile =
      sps.profile_idc == 66 || sps.profile_idc == 77 || sps.profile_idc == 88;
  if (bits.more_rbsp_data() && !(older_profile && (sps.constraint_set_flags & 7) != 0)) {
    pps.transform_8x8_mode_flag = bits.flag();
    pps.pic_scaling_matrix_present_flag = bits.flag();
    if (pps.pic_scaling_matrix_present_flag) {
      const int count_8x8 = pps.transform_8x8_mode_flag ? (sps.chroma_format_idc == 3 ? 6 : 2) : 0;
      lists = parse_scaling_lists(bits, count_8x8,
                                  sps.seq_scaling_matrix_present_flag ? &sequence : nullptr);
    }
    pps.second_chroma_qp_index_offset = pps_se(bits, "second_chroma_qp_index_offset", -12, 12);
    if (!bits.ok()) {
      throw Error(ErrorKind::kCorrupt,
                  "picture parameter set: ends before second_chroma_qp_index_offset");
    }
  }
  pps.ScalingList4x4 = lists.ScalingList4x4;
  pps.ScalingList8x8 = lists.ScalingList8x8;
  return pps;
}

}  // namespace cvdecode::h264
