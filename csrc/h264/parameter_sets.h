// Sequence and picture parameter sets (7.3.2.1, 7.3.2.2, Annex E). Syntax elements keep the
// standard's spelling; derived variables keep its CamelCase.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <span>

#include "frame/planes.h"

namespace cvdecode::h264 {

// Video usability information (Annex E.1.1) but for its HRD parameters, which are read over. -1 or
// the inferred value stands where nothing was sent.
struct Vui {
  int aspect_ratio_idc = 0;
  int sar_width = 0;
  int sar_height = 0;
  int overscan_appropriate_flag = -1;
  int video_format = 5;
  bool video_full_range_flag = false;
  int colour_primaries = 2;  // 2 = unspecified
  int transfer_characteristics = 2;
  int matrix_coefficients = 2;
  int chroma_sample_loc_type_top_field = 0;
  int chroma_sample_loc_type_bottom_field = 0;
  bool timing_info_present_flag = false;
  uint32_t num_units_in_tick = 0;
  uint32_t time_scale = 0;
  bool fixed_frame_rate_flag = false;
  bool nal_hrd_parameters_present_flag = false;
  bool vcl_hrd_parameters_present_flag = false;
  bool pic_struct_present_flag = false;
};

struct Sps {
  int profile_idc = 0;
  int constraint_set_flags = 0;  // constraint_set0_flag in bit 0
  int level_idc = 0;
  int seq_parameter_set_id = 0;  // 0..31
  int chroma_format_idc = 1;     // 0..3
  bool separate_colour_plane_flag = false;
  int bit_depth_luma_minus8 = 0;    // 0..6
  int bit_depth_chroma_minus8 = 0;  // 0..6
  bool qpprime_y_zero_transform_bypass_flag = false;
  bool seq_scaling_matrix_present_flag = false;
  int log2_max_frame_num_minus4 = 0;  // 0..12
  int pic_order_cnt_type = 0;         // 0..2
  int log2_max_pic_order_cnt_lsb_minus4 = 0;
  bool delta_pic_order_always_zero_flag = false;
  int offset_for_non_ref_pic = 0;
  int offset_for_top_to_bottom_field = 0;
  int num_ref_frames_in_pic_order_cnt_cycle = 0;  // 0..255
  std::array<int32_t, 255> offset_for_ref_frame{};
  int max_num_ref_frames = 0;  // 0..16
  bool gaps_in_frame_num_value_allowed_flag = false;
  int pic_width_in_mbs_minus1 = 0;
  int pic_height_in_map_units_minus1 = 0;
  bool frame_mbs_only_flag = true;
  bool mb_adaptive_frame_field_flag = false;
  bool direct_8x8_inference_flag = false;
  bool frame_cropping_flag = false;
  int frame_crop_left_offset = 0;
  int frame_crop_right_offset = 0;
  int frame_crop_top_offset = 0;
  int frame_crop_bottom_offset = 0;
  // Annex E, the part that matters here
  bool vui_parameters_present_flag = false;
  Vui vui;
  bool bitstream_restriction_flag = false;
  int max_num_reorder_frames = -1;  // -1 = not said
  int max_dec_frame_buffering = -1;
  // Lists after the fall-back rules of Table 7-2 (rule set A), in zig-zag order as transmitted;
  // 4x4: Intra Y, Cb, Cr, Inter Y, Cb, Cr; 8x8: Intra Y, Inter Y (then Cb, Cr for 4:4:4).
  std::array<std::array<uint8_t, 16>, 6> ScalingList4x4{};
  std::array<std::array<uint8_t, 64>, 6> ScalingList8x8{};

  int PicWidthInMbs() const { return pic_width_in_mbs_minus1 + 1; }
  int FrameHeightInMbs() const {
    return (2 - (frame_mbs_only_flag ? 1 : 0)) * (pic_height_in_map_units_minus1 + 1);
  }
  int MaxFrameNum() const { return 1 << (log2_max_frame_num_minus4 + 4); }
  int ChromaArrayType() const { return separate_colour_plane_flag ? 0 : chroma_format_idc; }
  Geometry geometry() const;  // coded size and crop in luma samples (7.4.2.1.1)
};

struct Pps {
  int pic_parameter_set_id = 0;  // 0..255
  int seq_parameter_set_id = 0;
  bool entropy_coding_mode_flag = false;
  bool bottom_field_pic_order_in_frame_present_flag = false;
  int num_slice_groups_minus1 = 0;               // 0..7
  int slice_group_map_type = 0;                  // 0..6
  uint32_t slice_group_change_rate_minus1 = 0;   // for map types 3..5
  int num_ref_idx_l0_default_active_minus1 = 0;  // 0..31
  int num_ref_idx_l1_default_active_minus1 = 0;
  bool weighted_pred_flag = false;
  int weighted_bipred_idc = 0;  // 0..2
  int pic_init_qp_minus26 = 0;
  int pic_init_qs_minus26 = 0;
  int chroma_qp_index_offset = 0;  // -12..12
  int second_chroma_qp_index_offset = 0;
  bool deblocking_filter_control_present_flag = false;
  bool constrained_intra_pred_flag = false;
  bool redundant_pic_cnt_present_flag = false;
  bool transform_8x8_mode_flag = false;
  bool pic_scaling_matrix_present_flag = false;
  // The lists in force for this PPS with its SPS (fall-back rule set B applied), zig-zag order.
  std::array<std::array<uint8_t, 16>, 6> ScalingList4x4{};
  std::array<std::array<uint8_t, 64>, 6> ScalingList8x8{};
};

// A PPS together with the content of its SPS at the time it was activated. Ids are re-sent with new
// content, so every slice's index entry holds one of these: that is what makes "any subset of
// pictures, in any order" right.
struct ParameterSets {
  std::shared_ptr<const Sps> sps;
  std::shared_ptr<const Pps> pps;
};

// Largest picture that is read, in macroblocks: 7.5 times the largest frame of any level. Sizes
// above it are refused as corrupt before any memory is taken.
inline constexpr int kMaxPicSizeInMbs = 1 << 20;

// rbsp: NAL payload after the NAL header, emulation prevention removed. Throw Error(kCorrupt).
Sps parse_sps(std::span<const uint8_t> rbsp);
// The PPS's own syntax depends on chroma_format_idc of the SPS it names (scaling lists, 7.3.2.2).
Pps parse_pps(std::span<const uint8_t> rbsp, const Sps& sps);
// The SPS id inside a PPS, without parsing the rest.
int peek_pps_sps_id(std::span<const uint8_t> rbsp);

}  // namespace cvdecode::h264
