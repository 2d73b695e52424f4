// What the native parser does not read, found while the headers are indexed.
#include <cstddef>
#include <string>

#include "h264/stream_indexer.h"

namespace cvdecode::h264 {
namespace {

constexpr int kNalPartitionA = 2;

}  // namespace

void StreamIndexer::unsupported(const Packet& packet, const Nal& nal, const char* element,
                                int64_t value) {
  if (native_->unsupported.empty()) native_->unsupported = describe(packet, nal, element, value);
}

std::string StreamIndexer::describe(const Packet& packet, const Nal& nal, const char* element,
                                    int64_t value) const {
  return std::string(element) + " = " + std::to_string(value) + " in NAL unit " +
         std::to_string(nals_) + " (nal_unit_type " + std::to_string(nal.nal_unit_type) +
         ", packet " + std::to_string(packet.number) + ")";
}

void StreamIndexer::suspect(const Packet& packet, const Nal& nal, const char* element,
                            int64_t value) {
  if (suspects_.picture < 0) {
    suspects_.what = describe(packet, nal, element, value);
    suspects_.picture = picture_number();
  }
  if (suspects_.picture != picture_number()) {
    suspects_.elsewhere = true;
  } else if (suspects_.slices.empty() || suspects_.slices.back() != open_slices().size()) {
    suspects_.slices.push_back(open_slices().size());
  }
}

// A single picture of many whose slices fall outside the scope is damaged: its slices are lost, not
// the stream. Streams that use a tool use it again.
void StreamIndexer::judge_suspects() {
  constexpr size_t kManyPictures = 8;
  if (suspects_.picture < 0 || !native_->unsupported.empty()) return;
  if (suspects_.elsewhere || index_.pictures.size() < kManyPictures) {
    native_->unsupported = suspects_.what;
    return;
  }
  warn(suspects_.what + " occurs in one picture only: taken for damage; its slices are lost");
  auto& slices = native_->pictures[static_cast<size_t>(suspects_.picture)].slices;
  for (size_t i = suspects_.slices.size(); i > 0; --i) {
    const size_t slice = suspects_.slices[i - 1];
    if (slice < slices.size()) slices.erase(slices.begin() + static_cast<ptrdiff_t>(slice));
  }
}

// docs/design.md: what the native parser does not read, by syntax alone.
void StreamIndexer::check_scope(const Packet& packet, const Nal& nal, const SliceHeader& header,
                                const ParameterSets& sets) {
  if (!native_->unsupported.empty()) return;
  const Sps& sps = *sets.sps;
  const auto refuse = [&](const char* element, int64_t value) {
    unsupported(packet, nal, element, value);
  };
  if (sps.chroma_format_idc > 1) refuse("chroma_format_idc", sps.chroma_format_idc);
  if (sps.separate_colour_plane_flag) refuse("separate_colour_plane_flag", 1);
  if (sps.bit_depth_luma_minus8 > 0) refuse("bit_depth_luma_minus8", sps.bit_depth_luma_minus8);
  if (sps.bit_depth_chroma_minus8 > 0 && sps.chroma_format_idc != 0) {
    refuse("bit_depth_chroma_minus8", sps.bit_depth_chroma_minus8);
  }
  if (sets.pps->num_slice_groups_minus1 > 0) {
    refuse("num_slice_groups_minus1", sets.pps->num_slice_groups_minus1);
  }
  if (sps.mb_adaptive_frame_field_flag && !header.field_pic_flag) {
    refuse("mb_adaptive_frame_field_flag", 1);
  }
  const auto suspicious = [&](const char* element, int64_t value) {
    suspect(packet, nal, element, value);
  };
  if (header.nal_unit_type == kNalPartitionA) suspicious("nal_unit_type", kNalPartitionA);
  if (header.field_pic_flag) suspicious("field_pic_flag", 1);
  if (header.slice_type == kSliceSP || header.slice_type == kSliceSI) {
    suspicious("slice_type", header.slice_type + (header.slice_type_fixed ? 5 : 0));
  }
  if (open_.open && open_slices().size() > open_.first_slice_of_field &&
      header.first_mb_in_slice < open_.last.first_mb_in_slice &&
      header.colour_plane_id == open_.last.colour_plane_id) {
    suspicious("first_mb_in_slice (not increasing)", header.first_mb_in_slice);
  }
}

}  // namespace cvdecode::h264
