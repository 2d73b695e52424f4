// Whether an index that came from a file can be what an indexer made: nothing in it may lead a
// reader out of its arrays. Values that are merely wrong give wrong frames, as a wrong file would.
#include <cstring>

#include "backend/index_archive.h"
#include "h264/native_index.h"

namespace cvdecode {
namespace {

using h264::ParameterSets;
using h264::Pps;
using h264::SliceEntry;
using h264::SliceHeader;
using h264::Sps;

// A byte that is neither 0 nor 1 is no bool: looked at before the language is told that it is one.
template <typename... Bools>
bool are_bools(const Bools&... values) {
  const auto byte = [](const bool& value) {
    uint8_t raw = 0;
    std::memcpy(&raw, &value, 1);
    return raw;
  };
  return ((byte(values) <= 1) && ...);
}

bool within(int64_t value, int64_t least, int64_t most) { return value >= least && value <= most; }

bool is_good(const Geometry& g) {
  return within(g.coded_width, 1, 1 << 16) && within(g.coded_height, 1, 1 << 16) &&
         g.coded_width % 16 == 0 && g.coded_height % 16 == 0 &&
         within(g.crop_left, 0, g.coded_width) && within(g.crop_right, 0, g.coded_width) &&
         within(g.crop_top, 0, g.coded_height) && within(g.crop_bottom, 0, g.coded_height) &&
         g.width() > 0 && g.height() > 0 && within(g.chroma_format_idc, -1, 3) &&
         within(g.bit_depth, 1, 32);
}

bool is_good(const FrameIndex& index, int64_t n, int64_t packets) {
  const Picture& p = index.pictures[static_cast<size_t>(n)];
  uint8_t type = 0;
  std::memcpy(&type, &p.type, 1);
  if (!are_bools(p.is_key, p.is_idr, p.all_intra, p.is_reference, p.field_coded, p.damaged) ||
      type > static_cast<uint8_t>(FrameType::kB) || !within(p.first_packet, 0, packets - 1) ||
      !within(p.last_packet, p.first_packet, packets - 1) ||
      !within(p.presentation, -1, index.size() - 1) ||
      !within(p.segment, 0, static_cast<int64_t>(index.segments.size()) - 1) ||
      p.decode_start > n) {
    return false;
  }
  return p.presentation < 0 || index.presentation[static_cast<size_t>(p.presentation)] == n;
}

bool is_good(const Sps& s) {
  return are_bools(s.separate_colour_plane_flag, s.qpprime_y_zero_transform_bypass_flag,
                   s.seq_scaling_matrix_present_flag, s.delta_pic_order_always_zero_flag,
                   s.gaps_in_frame_num_value_allowed_flag, s.frame_mbs_only_flag,
                   s.mb_adaptive_frame_field_flag, s.direct_8x8_inference_flag,
                   s.frame_cropping_flag, s.vui_parameters_present_flag,
                   s.bitstream_restriction_flag) &&
         within(s.chroma_format_idc, 0, 3) && within(s.bit_depth_luma_minus8, 0, 6) &&
         within(s.bit_depth_chroma_minus8, 0, 6) && within(s.log2_max_frame_num_minus4, 0, 12) &&
         within(s.pic_order_cnt_type, 0, 2) && within(s.log2_max_pic_order_cnt_lsb_minus4, 0, 12) &&
         within(s.num_ref_frames_in_pic_order_cnt_cycle, 0, 255) &&
         within(s.pic_width_in_mbs_minus1, 0, 1 << 12) &&
         within(s.pic_height_in_map_units_minus1, 0, 1 << 12);
}

bool is_good(const Pps& p) {
  return are_bools(p.entropy_coding_mode_flag, p.bottom_field_pic_order_in_frame_present_flag,
                   p.weighted_pred_flag, p.deblocking_filter_control_present_flag,
                   p.constrained_intra_pred_flag, p.redundant_pic_cnt_present_flag,
                   p.transform_8x8_mode_flag, p.pic_scaling_matrix_present_flag) &&
         within(p.num_slice_groups_minus1, 0, 7) && within(p.weighted_bipred_idc, 0, 2) &&
         within(p.chroma_qp_index_offset, -12, 12) &&
         within(p.second_chroma_qp_index_offset, -12, 12);
}

bool is_good(const SliceHeader& h, int64_t macroblocks) {
  return are_bools(h.slice_type_fixed, h.field_pic_flag, h.bottom_field_flag,
                   h.direct_spatial_mv_pred_flag, h.no_output_of_prior_pics_flag,
                   h.long_term_reference_flag, h.adaptive_ref_pic_marking_mode_flag,
                   h.sp_for_switch_flag) &&
         within(h.first_mb_in_slice, 0, macroblocks - 1) &&
         within(static_cast<uint8_t>(h.slice_type), 0, 4) &&
         within(h.num_ref_idx_active[0], 0, 32) && within(h.num_ref_idx_active[1], 0, 32) &&
         within(h.cabac_init_idc, 0, 2) && within(h.SliceQPY, -36, 51) && h.header_bits >= 0 &&
         (h.pred_weight_table == nullptr ||
          (within(h.pred_weight_table->luma_log2_weight_denom, 0, 7) &&
           within(h.pred_weight_table->chroma_log2_weight_denom, 0, 7)));
}

// A slice of picture n, which the native parser may be asked for.
bool is_good(const SliceEntry& slice, int64_t n, const Geometry& geometry, int64_t packets) {
  const ParameterSets& sets = slice.sets;
  if (sets.sps == nullptr || sets.pps == nullptr || !is_good(*sets.sps) || !is_good(*sets.pps)) {
    return false;
  }
  const int64_t macroblocks = int64_t{sets.sps->PicWidthInMbs()} * sets.sps->FrameHeightInMbs();
  if (sets.sps->PicWidthInMbs() != geometry.w16() ||
      sets.sps->FrameHeightInMbs() != geometry.h16() || !is_good(slice.header, macroblocks) ||
      !within(slice.packet, 0, packets - 1)) {
    return false;
  }
  for (size_t list = 0; list < 2; ++list) {
    const auto& entries = slice.RefPicList[list];
    if (static_cast<int64_t>(entries.size()) != slice.header.num_ref_idx_active[list]) return false;
    for (const h264::RefEntry& entry : entries) {
      if (!are_bools(entry.long_term) || !within(entry.picture, h264::kMissingPicture, n - 1)) {
        return false;
      }
    }
  }
  return true;
}

}  // namespace

bool is_plausible(const FrameIndex& index, const NativeIndex* native, int64_t packets) {
  const auto pictures = static_cast<int64_t>(index.pictures.size());
  int64_t covered = 0;
  for (const Segment& s : index.segments) {
    if (s.start != covered || s.stop < s.start || !is_good(s.geometry)) return false;
    covered = s.stop;
  }
  if (covered != index.size() || index.size() == 0) return false;
  for (const int32_t n : index.presentation) {
    if (!within(n, 0, pictures - 1)) return false;
  }
  for (int64_t n = 0; n < pictures; ++n) {
    if (!is_good(index, n, packets)) return false;
  }
  for (const Gop& gop : index.gops) {
    if (!are_bools(gop.closed) || gop.decode_start < 0 || gop.decode_stop <= gop.decode_start ||
        gop.decode_stop > pictures || !within(gop.key_frame, -1, index.size() - 1)) {
      return false;
    }
  }
  for (const int64_t packet : index.parameter_packets) {
    if (!within(packet, 0, packets - 1)) return false;
  }
  if (!are_bools(index.pts_contradict_order)) return false;
  if (native == nullptr || !native->unsupported.empty()) return true;
  if (static_cast<int64_t>(native->pictures.size()) != pictures) return false;
  for (int64_t n = 0; n < pictures; ++n) {
    const auto at = static_cast<size_t>(n);
    const auto segment = static_cast<size_t>(index.pictures[at].segment);
    const h264::PictureEntry& entry = native->pictures[at];
    if (!are_bools(entry.references_sure, entry.used_for_reference)) return false;
    for (const SliceEntry& slice : entry.slices) {
      if (!is_good(slice, n, index.segments[segment].geometry, packets)) return false;
    }
  }
  return true;
}

}  // namespace cvdecode
