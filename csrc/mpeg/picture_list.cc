#include "mpeg/picture_list.h"

#include <algorithm>
#include <string>

namespace cvdecode::mpeg {
namespace {

// Decode numbers in display order.
std::vector<int32_t> display_order(const std::vector<CodedPicture>& pictures) {
  std::vector<int32_t> order;
  order.reserve(pictures.size());
  int32_t held = -1;
  for (size_t i = 0; i < pictures.size(); ++i) {
    const auto number = static_cast<int32_t>(i);
    if (pictures[i].picture.type == FrameType::kB) {
      order.push_back(number);
    } else {
      if (held >= 0) order.push_back(held);
      held = number;
    }
  }
  if (held >= 0) order.push_back(held);
  return order;
}

void set_decode_starts(const std::vector<CodedPicture>& coded, FrameIndex& index) {
  int32_t start = 0;           // the random access point that holds now
  int32_t previous_start = 0;  // the one before it
  int32_t entry = -1;          // the random access point while no other reference came after it
  bool closed = false;
  for (size_t i = 0; i < coded.size(); ++i) {
    Picture& picture = index.pictures[i];
    const auto number = static_cast<int32_t>(i);
    const bool b = picture.type == FrameType::kB;
    if (coded[i].random_access) {
      previous_start = start;
      start = entry = number;
      closed = coded[i].closed;
      picture.is_idr = true;  // until a leading B says otherwise
    } else if (!b) {
      entry = -1;
    }
    picture.decode_start = start;
    if (b && entry >= 0 && !closed) {  // leading B of an open GOP
      picture.decode_start = previous_start;
      index.pictures[static_cast<size_t>(entry)].is_idr = false;
    }
    picture.is_reference = !b;
    picture.is_key = picture.all_intra;
  }
}

}  // namespace

FrameIndex make_frame_index(const std::vector<CodedPicture>& pictures,
                            const std::vector<Geometry>& geometries, const char* time_element,
                            int64_t time_modulus) {
  FrameIndex index;
  std::vector<uint8_t> discarded;
  int32_t group = 0;
  for (const CodedPicture& coded : pictures) {
    if (coded.group_start && !index.pictures.empty()) ++group;
    Picture picture = coded.picture;
    picture.sequence = group;
    picture.segment = coded.geometry;
    index.pictures.push_back(picture);
    discarded.push_back(coded.discard ? 1 : 0);
  }
  const std::vector<int32_t> order = display_order(pictures);
  int contradictions = 0;
  int64_t first_packet = 0;
  for (size_t i = 0; i < order.size(); ++i) {
    const auto number = static_cast<size_t>(order[i]);
    Picture& picture = index.pictures[number];
    picture.order = static_cast<int32_t>(i);
    // A B-picture before the first reference of its group displays before the reference that the
    // group before has left: never, in a stream that follows the rule. It joins that group then.
    if (i == 0) continue;
    const auto before = static_cast<size_t>(order[i - 1]);
    picture.sequence = std::max(picture.sequence, index.pictures[before].sequence);
    if (pictures[number].picture.damaged || pictures[before].picture.damaged) continue;
    int64_t step = pictures[number].time - pictures[before].time;
    if (step < -time_modulus / 2) step += time_modulus;
    if (picture.sequence == index.pictures[before].sequence && step <= 0) {
      if (contradictions++ == 0) first_packet = picture.first_packet;
    }
  }
  if (contradictions > 0) {
    index.warnings.push_back(std::string(time_element) + " contradicts the coded order " +
                             std::to_string(contradictions) + " times, first at packet " +
                             std::to_string(first_packet) +
                             "; frames are in coded order's display");
  }
  set_decode_starts(pictures, index);
  finish_index(index, discarded, geometries);
  return index;
}

Geometry geometry_of(int width, int height, int row_multiple, int chroma_format_idc) {
  Geometry g;
  g.coded_width = (width + 15) / 16 * 16;
  g.coded_height = (height + row_multiple - 1) / row_multiple * row_multiple;
  g.crop_right = g.coded_width - width;
  g.crop_bottom = g.coded_height - height;
  g.chroma_format_idc = chroma_format_idc;
  return g;
}

int32_t intern(std::vector<Geometry>& geometries, const Geometry& geometry) {
  const auto it = std::find(geometries.begin(), geometries.end(), geometry);
  if (it != geometries.end()) return static_cast<int32_t>(it - geometries.begin());
  geometries.push_back(geometry);
  return static_cast<int32_t>(geometries.size()) - 1;
}

}  // namespace cvdecode::mpeg
