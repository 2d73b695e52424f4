#include "backend/index_archive.h"

#include <type_traits>

#include "base/error.h"
#include "h264/native_index.h"

namespace cvdecode {
namespace h264 {

// As many weights as the slice has references; those behind hold nothing. About half of an index,
// were they all kept.
template <class A>
void archive_weights(A& a, SliceHeader& h) {
  uint8_t present = h.pred_weight_table != nullptr ? 1 : 0;
  a(present);
  if (present == 0) return;
  PredWeightTable table;
  if (h.pred_weight_table != nullptr) table = *h.pred_weight_table;
  a(table.luma_log2_weight_denom), a(table.chroma_log2_weight_denom);
  for (size_t list = 0; list < 2; ++list) {
    const int count = h.num_ref_idx_active[list];
    if (count < 0 || count > 32) throw Error(ErrorKind::kCorrupt, "the saved index is damaged");
    for (int i = 0; i < count; ++i) a(table.entry[list][static_cast<size_t>(i)]);
  }
  if constexpr (std::is_same_v<A, ArchiveReader>) {
    h.pred_weight_table = std::make_shared<const PredWeightTable>(table);
  }
}

template <class A>
void archive(A& a, SliceHeader& h) {
  a(h.nal_unit_type), a(h.nal_ref_idc), a(h.first_mb_in_slice), a(h.slice_type);
  a(h.slice_type_fixed), a(h.pic_parameter_set_id), a(h.colour_plane_id), a(h.frame_num);
  a(h.field_pic_flag), a(h.bottom_field_flag), a(h.idr_pic_id), a(h.pic_order_cnt_lsb);
  a(h.delta_pic_order_cnt_bottom), a(h.delta_pic_order_cnt), a(h.redundant_pic_cnt);
  a(h.direct_spatial_mv_pred_flag), a(h.num_ref_idx_active), a(h.ref_pic_list_modification);
  archive_weights(a, h), a(h.no_output_of_prior_pics_flag), a(h.long_term_reference_flag);
  a(h.adaptive_ref_pic_marking_mode_flag), a(h.mmco), a(h.cabac_init_idc), a(h.slice_qp_delta);
  a(h.sp_for_switch_flag), a(h.slice_qs_delta), a(h.slice_group_change_cycle), a(h.SliceQPY);
  a(h.disable_deblocking_filter_idc), a(h.slice_alpha_c0_offset_div2);
  a(h.slice_beta_offset_div2), a(h.header_bits);
}

template <class A>
void archive(A& a, SliceEntry& s) {
  archive(a, s.header);
  a(s.sets.sps), a(s.sets.pps), a(s.packet), a(s.offset), a(s.size), a(s.RefPicList);
}

template <class A>
void archive(A& a, PictureEntry& p) {
  a(p.slices), a(p.TopFieldOrderCnt), a(p.BottomFieldOrderCnt), a(p.tempPicOrderCnt);
  a(p.FrameNum), a(p.max_long_term_frame_idx), a(p.references_sure), a(p.used_for_reference);
}

}  // namespace h264

namespace {

template <class A>
void fields(A& a, FrameIndex& index) {
  a(index.pictures), a(index.presentation), a(index.segments), a(index.gops), a(index.sar_num);
  a(index.sar_den), a(index.parameter_packets), a(index.pts_contradict_order), a(index.warnings);
}

template <class A>
void fields(A& a, NativeIndex& native) {
  a(native.pictures), a(native.unsupported), a(native.nals_skipped), a(native.redundant_skipped);
}

}  // namespace

void archive_index(ArchiveWriter& out, const FrameIndex& index, const NativeIndex* native) {
  fields(out, const_cast<FrameIndex&>(index));  // the writer changes nothing
  bool has_native = native != nullptr;
  out(has_native);
  if (has_native) fields(out, const_cast<NativeIndex&>(*native));
}

void archive_index(ArchiveReader& in, FrameIndex& index,
                   std::shared_ptr<const NativeIndex>* native) {
  fields(in, index);
  bool has_native = false;
  in(has_native);
  if (!has_native) return;
  auto fresh = std::make_shared<NativeIndex>();
  fields(in, *fresh);
  *native = fresh;
}

std::string index_layout() {
  std::string text;
  for (const size_t size :
       {sizeof(Picture), sizeof(Segment), sizeof(Gop), sizeof(FrameIndex), sizeof(NativeIndex),
        sizeof(h264::PictureEntry), sizeof(h264::SliceEntry), sizeof(h264::SliceHeader),
        sizeof(h264::Sps), sizeof(h264::Pps), sizeof(h264::PredWeightTable)}) {
    text += std::to_string(size) + ".";
  }
  return text;
}

}  // namespace cvdecode
