#include "h264/slice_header.h"

#include <bit>
#include <string>

#include "base/error.h"
#include "bitstream/bit_reader.h"

namespace cvdecode::h264 {
namespace {

[[noreturn]] void fail(const char* element, int64_t value) {
  throw Error(ErrorKind::kCorrupt, std::string("slice header: ") + element + " = " +
                                       std::to_string(value) + " is out of range");
}

uint32_t read_ue(BitReader& bits, const char* element, uint32_t max) {
  const uint32_t value = bits.ue();
  if (value > max) fail(element, value);
  return value;
}

int read_se(BitReader& bits, const char* element, int min, int max) {
  const int32_t value = bits.se();
  if (value < min || value > max) fail(element, value);
  return value;
}

// ref_pic_list_modification( ) of 7.3.3.1 for one list.
void parse_modification(BitReader& bits, size_t max_count, int MaxPicNum,
                        std::vector<RefPicListModification>& list) {
  if (!bits.flag()) return;  // ref_pic_list_modification_flag_lX
  for (;;) {
    RefPicListModification entry;
    entry.modification_of_pic_nums_idc =
        static_cast<int>(read_ue(bits, "modification_of_pic_nums_idc", 3));
    if (entry.modification_of_pic_nums_idc == 3) return;
    // 7.4.3.1: at most num_ref_idx_active commands; this also bounds the loop on hostile input.
    if (list.size() == max_count) {
      fail("number of modification_of_pic_nums_idc", static_cast<int64_t>(max_count) + 1);
    }
    const bool long_term = entry.modification_of_pic_nums_idc == 2;
    entry.value =
        long_term ? bits.ue()  // long_term_pic_num
                  : read_ue(bits, "abs_diff_pic_num_minus1", static_cast<uint32_t>(MaxPicNum) - 1);
    list.push_back(entry);
  }
}

// pred_weight_table( ) of 7.3.3.2 with the inferences of 7.4.3.2.
std::shared_ptr<const PredWeightTable> parse_pred_weight_table(BitReader& bits,
                                                               const SliceHeader& header,
                                                               int ChromaArrayType) {
  auto table = std::make_shared<PredWeightTable>();
  table->luma_log2_weight_denom = static_cast<int>(read_ue(bits, "luma_log2_weight_denom", 7));
  if (ChromaArrayType != 0) {
    table->chroma_log2_weight_denom =
        static_cast<int>(read_ue(bits, "chroma_log2_weight_denom", 7));
  }
  for (size_t list = 0; list < 2; ++list) {
    for (size_t i = 0; i < static_cast<size_t>(header.num_ref_idx_active[list]); ++i) {
      PredWeight& entry = table->entry[list][i];
      entry.luma_weight = static_cast<int16_t>(1 << table->luma_log2_weight_denom);
      entry.chroma_weight.fill(static_cast<int16_t>(1 << table->chroma_log2_weight_denom));
      if (bits.flag()) {  // luma_weight_lX_flag
        entry.luma_weight = static_cast<int16_t>(read_se(bits, "luma_weight", -128, 127));
        entry.luma_offset = static_cast<int16_t>(read_se(bits, "luma_offset", -128, 127));
      }
      if (ChromaArrayType != 0 && bits.flag()) {  // chroma_weight_lX_flag
        for (size_t j = 0; j < 2; ++j) {
          entry.chroma_weight[j] = static_cast<int16_t>(read_se(bits, "chroma_weight", -128, 127));
          entry.chroma_offset[j] = static_cast<int16_t>(read_se(bits, "chroma_offset", -128, 127));
        }
      }
    }
  }
  return table;
}

// dec_ref_pic_marking( ) of 7.3.3.3.
void parse_marking(BitReader& bits, SliceHeader& header) {
  if (header.IdrPicFlag()) {
    header.no_output_of_prior_pics_flag = bits.flag();
    header.long_term_reference_flag = bits.flag();
    return;
  }
  header.adaptive_ref_pic_marking_mode_flag = bits.flag();
  if (!header.adaptive_ref_pic_marking_mode_flag) return;
  for (;;) {
    MemoryManagementControl entry;
    const auto operation = read_ue(bits, "memory_management_control_operation", 6);
    if (operation == 0) return;
    // 32 fields marked, 32 assigned, and one each of the others: more is not sensible.
    if (header.mmco.size() == 66) {
      fail("number of memory_management_control_operation", 67);
    }
    entry.memory_management_control_operation = static_cast<int>(operation);
    if (operation == 1 || operation == 3) entry.difference_of_pic_nums_minus1 = bits.ue();
    if (operation == 2) entry.long_term_pic_num = bits.ue();
    if (operation == 3 || operation == 6) {
      entry.long_term_frame_idx = read_ue(bits, "long_term_frame_idx", 15);
    }
    if (operation == 4) {
      entry.max_long_term_frame_idx_plus1 = read_ue(bits, "max_long_term_frame_idx_plus1", 16);
    }
    header.mmco.push_back(entry);
  }
}

void parse_pic_order_cnt(BitReader& bits, const Sps& sps, const Pps& pps, SliceHeader& header) {
  const bool both_fields =
      pps.bottom_field_pic_order_in_frame_present_flag && !header.field_pic_flag;
  if (sps.pic_order_cnt_type == 0) {
    header.pic_order_cnt_lsb = static_cast<int>(bits.u(sps.log2_max_pic_order_cnt_lsb_minus4 + 4));
    if (both_fields) header.delta_pic_order_cnt_bottom = bits.se();
  } else if (sps.pic_order_cnt_type == 1 && !sps.delta_pic_order_always_zero_flag) {
    header.delta_pic_order_cnt[0] = bits.se();
    if (both_fields) header.delta_pic_order_cnt[1] = bits.se();
  }
}

void parse_reference_counts(BitReader& bits, const Pps& pps, SliceHeader& header) {
  const bool b_slice = header.slice_type == kSliceB;
  if (!b_slice && header.slice_type != kSliceP && header.slice_type != kSliceSP) return;
  int minus1[2] = {pps.num_ref_idx_l0_default_active_minus1,
                   pps.num_ref_idx_l1_default_active_minus1};
  if (bits.flag()) {  // num_ref_idx_active_override_flag
    minus1[0] = static_cast<int>(read_ue(bits, "num_ref_idx_l0_active_minus1", 31));
    if (b_slice) minus1[1] = static_cast<int>(read_ue(bits, "num_ref_idx_l1_active_minus1", 31));
  }
  const int max_minus1 = header.field_pic_flag ? 31 : 15;
  if (minus1[0] > max_minus1) fail("num_ref_idx_l0_active_minus1", minus1[0]);
  header.num_ref_idx_active[0] = minus1[0] + 1;
  if (!b_slice) return;
  if (minus1[1] > max_minus1) fail("num_ref_idx_l1_active_minus1", minus1[1]);
  header.num_ref_idx_active[1] = minus1[1] + 1;
}

// From slice_qp_delta to the end of the header.
void parse_quantiser_and_filter(BitReader& bits, const Sps& sps, const Pps& pps,
                                SliceHeader& header) {
  header.slice_qp_delta = read_se(bits, "slice_qp_delta", -115, 115);
  header.SliceQPY = 26 + pps.pic_init_qp_minus26 + header.slice_qp_delta;
  if (header.SliceQPY < -6 * sps.bit_depth_luma_minus8 || header.SliceQPY > 51) {
    fail("SliceQPY", header.SliceQPY);
  }
  if (header.slice_type == kSliceSP || header.slice_type == kSliceSI) {
    if (header.slice_type == kSliceSP) header.sp_for_switch_flag = bits.flag();
    header.slice_qs_delta = read_se(bits, "slice_qs_delta", -77, 77);
  }
  if (pps.deblocking_filter_control_present_flag) {
    header.disable_deblocking_filter_idc =
        static_cast<int>(read_ue(bits, "disable_deblocking_filter_idc", 2));
    if (header.disable_deblocking_filter_idc != 1) {
      header.slice_alpha_c0_offset_div2 = read_se(bits, "slice_alpha_c0_offset_div2", -6, 6);
      header.slice_beta_offset_div2 = read_se(bits, "slice_beta_offset_div2", -6, 6);
    }
  }
  if (pps.num_slice_groups_minus1 > 0 && pps.slice_group_map_type >= 3 &&
      pps.slice_group_map_type <= 5) {
    // Ceil(Log2(PicSizeInMapUnits / SliceGroupChangeRate + 1)) bits, the division exact (7.4.3).
    const int64_t units =
        static_cast<int64_t>(sps.PicWidthInMbs()) * (sps.pic_height_in_map_units_minus1 + 1);
    const int64_t rate = static_cast<int64_t>(pps.slice_group_change_rate_minus1) + 1;
    const auto steps = static_cast<uint64_t>((units + rate - 1) / rate);
    header.slice_group_change_cycle = bits.u(static_cast<int>(std::bit_width(steps)));
  }
}

}  // namespace

SliceHeaderStart peek_slice_header(std::span<const uint8_t> rbsp) {
  BitReader bits(rbsp);
  SliceHeaderStart start;
  start.first_mb_in_slice = bits.ue();
  start.slice_type = bits.ue();
  start.pic_parameter_set_id = bits.ue();
  start.valid = bits.ok() && start.first_mb_in_slice < static_cast<uint32_t>(kMaxPicSizeInMbs) &&
                start.slice_type <= 9 && start.pic_parameter_set_id <= 255;
  return start;
}

SliceHeader parse_slice_header(std::span<const uint8_t> rbsp, int nal_unit_type, int nal_ref_idc,
                               const ParameterSets& sets, bool* truncated) {
  const Sps& sps = *sets.sps;
  const Pps& pps = *sets.pps;
  BitReader bits(rbsp);
  SliceHeader header;
  // A range error met behind the end of a prefix is the prefix's fault.
  struct TruncationReport {
    const BitReader& reader;
    bool* truncated;
    ~TruncationReport() {
      if (truncated != nullptr) *truncated = reader.overrun();
    }
  } report{bits, truncated};

  header.nal_unit_type = nal_unit_type;
  header.nal_ref_idc = nal_ref_idc;
  header.first_mb_in_slice = static_cast<int>(
      read_ue(bits, "first_mb_in_slice", static_cast<uint32_t>(kMaxPicSizeInMbs) - 1));
  const uint32_t slice_type = read_ue(bits, "slice_type", 9);
  header.slice_type = static_cast<SliceType>(slice_type % 5);
  header.slice_type_fixed = slice_type >= 5;
  header.pic_parameter_set_id = static_cast<int>(read_ue(bits, "pic_parameter_set_id", 255));
  if (header.IdrPicFlag() && header.slice_type != kSliceI && header.slice_type != kSliceSI) {
    fail("slice_type in an IDR picture", slice_type);
  }
  if (sps.separate_colour_plane_flag) {
    header.colour_plane_id = static_cast<int>(bits.u(2));
    if (header.colour_plane_id == 3) fail("colour_plane_id", 3);
  }
  header.frame_num = static_cast<int>(bits.u(sps.log2_max_frame_num_minus4 + 4));
  if (!sps.frame_mbs_only_flag) {
    header.field_pic_flag = bits.flag();
    if (header.field_pic_flag) header.bottom_field_flag = bits.flag();
  }
  // 7.4.3: first_mb_in_slice counts pairs in MBAFF frames and macroblocks of the field in fields.
  const int pic_size = sps.PicWidthInMbs() * sps.FrameHeightInMbs();
  const bool halved = header.field_pic_flag || sps.mb_adaptive_frame_field_flag;
  if (header.first_mb_in_slice >= (halved ? pic_size / 2 : pic_size)) {
    fail("first_mb_in_slice", header.first_mb_in_slice);
  }
  if (header.IdrPicFlag()) {
    header.idr_pic_id = static_cast<int>(read_ue(bits, "idr_pic_id", 65535));
  }
  parse_pic_order_cnt(bits, sps, pps, header);
  if (pps.redundant_pic_cnt_present_flag) {
    header.redundant_pic_cnt = static_cast<int>(read_ue(bits, "redundant_pic_cnt", 127));
  }
  if (header.slice_type == kSliceB) header.direct_spatial_mv_pred_flag = bits.flag();
  parse_reference_counts(bits, pps, header);
  for (size_t list = 0; list < 2; ++list) {
    const auto count = static_cast<size_t>(header.num_ref_idx_active[list]);
    // One more than the standard allows: real encoders repeat a command, real decoders read it.
    if (count == 0) continue;
    const int MaxPicNum = sps.MaxFrameNum() * (header.field_pic_flag ? 2 : 1);
    parse_modification(bits, count + 1, MaxPicNum, header.ref_pic_list_modification[list]);
  }
  const bool p_slice = header.slice_type == kSliceP || header.slice_type == kSliceSP;
  if ((pps.weighted_pred_flag && p_slice) ||
      (pps.weighted_bipred_idc == 1 && header.slice_type == kSliceB)) {
    header.pred_weight_table = parse_pred_weight_table(bits, header, sps.ChromaArrayType());
  }
  if (nal_ref_idc != 0) parse_marking(bits, header);
  if (pps.entropy_coding_mode_flag && header.slice_type != kSliceI &&
      header.slice_type != kSliceSI) {
    header.cabac_init_idc = static_cast<int>(read_ue(bits, "cabac_init_idc", 2));
  }
  parse_quantiser_and_filter(bits, sps, pps, header);
  header.header_bits = bits.position();
  if (!bits.ok()) throw Error(ErrorKind::kCorrupt, "slice header: ends before slice_data");
  return header;
}

}  // namespace cvdecode::h264
