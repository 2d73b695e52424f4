// What the native parser does not read, found while the headers are indexed.
#include <algorithm>
#include <cstddef>
#include <string>
#include <utility>

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
                            int64_t value, bool plausible, bool readable) {
  if (suspects_.pictures == 0) suspects_.what = describe(packet, nal, element, value);
  suspects_.plausible = suspects_.plausible || plausible;
  if (suspects_.last_picture != picture_number()) ++suspects_.pictures;
  suspects_.last_picture = picture_number();
  if (readable) return;
  auto& slices = suspects_.slices;
  const std::pair<int32_t, size_t> slice{picture_number(), open_slices().size()};
  if (slices.empty() || slices.back() != slice) slices.push_back(slice);
}

// Few pictures among many whose slices fall outside the scope are damaged: slices that cannot be
// read are lost, not the stream; which of those out of order is, only slice data can tell. Streams
// that use a tool use it again; where the profile has no such tool, up to one picture in 16 is more
// likely damage.
void StreamIndexer::judge_suspects() {
  constexpr size_t kManyPictures = 8;
  if (suspects_.pictures == 0 || !native_->unsupported.empty()) return;
  const size_t size = index_.pictures.size();
  const size_t few = suspects_.plausible ? 1 : std::max<size_t>(1, size / 16);
  if (suspects_.pictures > few || size < kManyPictures) {
    native_->unsupported = suspects_.what;
    return;
  }
  warn(suspects_.what + " occurs, or its like, in " + std::to_string(suspects_.pictures) + " of " +
       std::to_string(size) + " pictures: taken for damage");
  for (size_t i = suspects_.slices.size(); i > 0; --i) {
    const auto [picture, slice] = suspects_.slices[i - 1];
    auto& slices = native_->pictures[static_cast<size_t>(picture)].slices;
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
  const auto suspicious = [&](const char* element, int64_t value, bool plausible,
                              bool readable = false) {
    suspect(packet, nal, element, value, plausible, readable);
  };
  const bool extended = sps.profile_idc == 88;
  const bool baseline = sps.profile_idc == 66 && (sps.constraint_set_flags & 2) == 0;
  if (header.nal_unit_type == kNalPartitionA) {
    suspicious("nal_unit_type", kNalPartitionA, extended);
  }
  if (header.field_pic_flag) suspicious("field_pic_flag", 1, true);
  if (header.slice_type == kSliceSP || header.slice_type == kSliceSI) {
    suspicious("slice_type", header.slice_type + (header.slice_type_fixed ? 5 : 0), extended);
  }
  if (open_.open && open_slices().size() > open_.first_slice_of_field &&
      header.first_mb_in_slice < open_.last.first_mb_in_slice &&
      header.colour_plane_id == open_.last.colour_plane_id) {
    suspicious("first_mb_in_slice (not increasing)", header.first_mb_in_slice, extended || baseline,
               true);
  }
}

}  // namespace cvdecode::h264
