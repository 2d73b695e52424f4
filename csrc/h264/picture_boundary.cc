#include "h264/picture_boundary.h"

namespace cvdecode::h264 {

Boundary compare_slices(const SliceHeader& previous, const Sps& previous_sps,
                        const SliceHeader& current, const Sps& current_sps) {
  const bool differ = &previous_sps != &current_sps || previous.frame_num != current.frame_num ||
                      previous.field_pic_flag != current.field_pic_flag ||
                      previous.bottom_field_flag != current.bottom_field_flag ||
                      (previous.nal_ref_idc == 0) != (current.nal_ref_idc == 0) ||
                      previous.IdrPicFlag() != current.IdrPicFlag() ||
                      previous.idr_pic_id != current.idr_pic_id ||
                      // Elements of the other pic_order_cnt_types are 0 in both.
                      previous.pic_order_cnt_lsb != current.pic_order_cnt_lsb ||
                      previous.delta_pic_order_cnt_bottom != current.delta_pic_order_cnt_bottom ||
                      previous.delta_pic_order_cnt != current.delta_pic_order_cnt;
  if (differ) return Boundary::kNewPicture;
  return previous.pic_parameter_set_id == current.pic_parameter_set_id
             ? Boundary::kSamePicture
             : Boundary::kOtherParameterSet;
}

}  // namespace cvdecode::h264
