// The slice header (7.3.3), reference list modification (7.3.3.1), weights (7.3.3.2), marking
// (7.3.3.3).
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "h264/parameter_sets.h"

namespace cvdecode::h264 {

enum SliceType : uint8_t { kSliceP = 0, kSliceB = 1, kSliceI = 2, kSliceSP = 3, kSliceSI = 4 };

struct RefPicListModification {
  int modification_of_pic_nums_idc = 3;  // 0..3
  uint32_t value = 0;                    // abs_diff_pic_num_minus1 or long_term_pic_num
};

struct MemoryManagementControl {
  int memory_management_control_operation = 0;  // 1..6
  uint32_t difference_of_pic_nums_minus1 = 0;
  uint32_t long_term_pic_num = 0;
  uint32_t long_term_frame_idx = 0;
  uint32_t max_long_term_frame_idx_plus1 = 0;
};

struct PredWeight {  // 7.4.3.2; what is not sent is inferred: weight = 1 << denom, offset 0
  int16_t luma_weight = 0;
  int16_t luma_offset = 0;
  std::array<int16_t, 2> chroma_weight{};
  std::array<int16_t, 2> chroma_offset{};
};

struct PredWeightTable {
  int luma_log2_weight_denom = 0;                     // 0..7
  int chroma_log2_weight_denom = 0;                   // 0..7
  std::array<std::array<PredWeight, 32>, 2> entry{};  // [list][ref_idx]
};

struct SliceHeader {
  int nal_unit_type = 0;
  int nal_ref_idc = 0;
  int first_mb_in_slice = 0;
  SliceType slice_type = kSliceI;  // slice_type % 5
  bool slice_type_fixed = false;   // slice_type >= 5
  int pic_parameter_set_id = 0;
  int colour_plane_id = 0;
  int frame_num = 0;
  bool field_pic_flag = false;
  bool bottom_field_flag = false;
  int idr_pic_id = 0;
  int pic_order_cnt_lsb = 0;
  int delta_pic_order_cnt_bottom = 0;
  std::array<int, 2> delta_pic_order_cnt{};
  int redundant_pic_cnt = 0;
  bool direct_spatial_mv_pred_flag = false;
  std::array<int, 2> num_ref_idx_active{};  // 0 where the list is not used
  std::array<std::vector<RefPicListModification>, 2> ref_pic_list_modification;
  std::shared_ptr<const PredWeightTable> pred_weight_table;  // null when not explicit
  bool no_output_of_prior_pics_flag = false;
  bool long_term_reference_flag = false;
  bool adaptive_ref_pic_marking_mode_flag = false;
  std::vector<MemoryManagementControl> mmco;
  int cabac_init_idc = 0;
  int slice_qp_delta = 0;
  bool sp_for_switch_flag = false;        // SP
  int slice_qs_delta = 0;                 // SP, SI
  uint32_t slice_group_change_cycle = 0;  // FMO, map types 3..5
  int SliceQPY = 26;
  int disable_deblocking_filter_idc = 0;
  int slice_alpha_c0_offset_div2 = 0;
  int slice_beta_offset_div2 = 0;
  int64_t header_bits =
      0;  // bits of the RBSP up to the first bit after the header: where slice_data starts

  bool IdrPicFlag() const { return nal_unit_type == 5; }
};

// The elements in front of everything that depends on parameter sets.
struct SliceHeaderStart {
  uint32_t first_mb_in_slice = 0;
  uint32_t slice_type = 0;            // as sent, 0..9 where valid
  uint32_t pic_parameter_set_id = 0;  // 0..255 where valid
  bool valid = false;
};
SliceHeaderStart peek_slice_header(std::span<const uint8_t> rbsp);

// rbsp: NAL payload after the NAL header, emulation prevention removed; a prefix of it is enough
// where it holds the header. nal_unit_type 1, 2 (data partition A) or 5. Throws Error(kCorrupt)
// naming the syntax element. `truncated`, where given, says whether the bytes ended inside the
// header: then a longer prefix may do better.
SliceHeader parse_slice_header(std::span<const uint8_t> rbsp, int nal_unit_type, int nal_ref_idc,
                               const ParameterSets& sets, bool* truncated = nullptr);

}  // namespace cvdecode::h264
