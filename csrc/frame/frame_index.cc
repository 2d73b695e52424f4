#include "frame/frame_index.h"

#include <algorithm>
#include <numeric>
#include <optional>
#include <string>
#include <tuple>

namespace cvdecode {
namespace {

// Decode numbers in output order (docs/planes.md, Frames), those that are not presented included.
std::vector<int32_t> output_order(const FrameIndex& index) {
  std::vector<int32_t> order(index.pictures.size());
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(), [&](int32_t a, int32_t b) {
    const Picture& p = index.pictures[static_cast<size_t>(a)];
    const Picture& q = index.pictures[static_cast<size_t>(b)];
    return std::tie(p.sequence, p.order) < std::tie(q.sequence, q.order);
  });
  return order;
}

void check_pts_order(FrameIndex& index) {
  static const std::string kWarning = "pts do not rise in output order";
  index.pts_contradict_order = false;
  std::erase_if(index.warnings, [](const std::string& w) { return w.rfind(kWarning, 0) == 0; });
  int64_t last = kNoTimestamp;
  for (size_t i = 0; i < index.presentation.size(); ++i) {
    const int64_t pts = index.pictures[static_cast<size_t>(index.presentation[i])].pts;
    if (pts == kNoTimestamp) continue;
    if (last != kNoTimestamp && pts <= last) {
      if (!index.pts_contradict_order) {
        index.warnings.push_back(kWarning + ": frame " + std::to_string(i) + " has " +
                                 std::to_string(pts) + " after " + std::to_string(last) +
                                 "; frames are numbered in output order");
      }
      index.pts_contradict_order = true;
    }
    last = pts;
  }
}

void make_segments(FrameIndex& index, const std::vector<int32_t>& order,
                   const std::vector<Geometry>& geometries) {
  index.segments.clear();
  const auto geometry_of = [&](const Picture& p) -> const Geometry& {
    return geometries[static_cast<size_t>(p.segment)];
  };
  // Which segment each picture is in is kept apart while Picture::segment still names a geometry.
  std::vector<int32_t> segment(index.pictures.size(), -1);
  for (size_t i = 0; i < index.presentation.size(); ++i) {
    const auto number = static_cast<size_t>(index.presentation[i]);
    const Geometry& geometry = geometry_of(index.pictures[number]);
    if (index.segments.empty() || index.segments.back().geometry != geometry) {
      index.segments.push_back({static_cast<int64_t>(i), static_cast<int64_t>(i), geometry});
    }
    index.segments.back().stop = static_cast<int64_t>(i) + 1;
    segment[number] = static_cast<int32_t>(index.segments.size()) - 1;
  }
  // A picture that is not presented belongs to the next presented one's segment in output order
  // that has its geometry, else to the one before it, else to an empty segment of its own.
  const auto adopt = [&](auto begin, auto end) {
    int32_t near = -1;
    for (auto it = begin; it != end; ++it) {
      const auto number = static_cast<size_t>(*it);
      if (index.pictures[number].presentation >= 0) {
        near = segment[number];
      } else if (segment[number] < 0 && near >= 0 &&
                 index.segments[static_cast<size_t>(near)].geometry ==
                     geometry_of(index.pictures[number])) {
        segment[number] = near;
      }
    }
  };
  adopt(order.rbegin(), order.rend());
  adopt(order.begin(), order.end());
  for (size_t i = 0; i < index.pictures.size(); ++i) {
    Picture& picture = index.pictures[i];
    if (segment[i] < 0) {
      const Geometry& geometry = geometry_of(picture);
      const auto it = std::find_if(index.segments.begin(), index.segments.end(),
                                   [&](const Segment& s) { return s.geometry == geometry; });
      segment[i] = static_cast<int32_t>(it - index.segments.begin());
      if (it == index.segments.end()) {
        index.segments.push_back({index.size(), index.size(), geometry});
      }
    }
    picture.segment = segment[i];
  }
}

void make_gops(FrameIndex& index) {
  index.gops.clear();
  for (size_t i = 0; i < index.pictures.size(); ++i) {
    const Picture& picture = index.pictures[i];
    const auto number = static_cast<int32_t>(i);
    if (picture.all_intra) {
      index.gops.push_back({number, number, picture.presentation, true});
    }
    if (index.gops.empty()) continue;  // pictures before the first I belong to no GOP
    Gop& gop = index.gops.back();
    gop.decode_stop = number + 1;
    // Whoever must be decoded from further back refers, itself or through another, to what lies
    // before this GOP.
    if (picture.decode_start < gop.decode_start) gop.closed = false;
  }
}

}  // namespace

void finish_index(FrameIndex& index, const std::vector<uint8_t>& discarded,
                  const std::vector<Geometry>& geometries) {
  const std::vector<int32_t> order = output_order(index);
  index.presentation.clear();
  for (const int32_t number : order) {
    const auto i = static_cast<size_t>(number);
    const bool shown = i >= discarded.size() || discarded[i] == 0;
    index.pictures[i].presentation = shown ? static_cast<int32_t>(index.presentation.size()) : -1;
    if (shown) index.presentation.push_back(number);
  }
  make_segments(index, order, geometries);
  make_gops(index);
  check_pts_order(index);
}

void fill_missing_pts(FrameIndex& index, const std::vector<int64_t>& packet_dts) {
  const bool missing = std::any_of(index.pictures.begin(), index.pictures.end(),
                                   [](const Picture& p) { return p.pts == kNoTimestamp; });
  if (!missing) return;
  // How many pictures start in each packet.
  std::vector<int32_t> starts(packet_dts.size(), 0);
  for (const Picture& picture : index.pictures) {
    if (picture.first_packet < 0 ||
        picture.first_packet >= static_cast<int64_t>(packet_dts.size())) {
      return;
    }
    ++starts[static_cast<size_t>(picture.first_packet)];
  }
  // Time slots: one for each packet that starts a picture; a packet without one lends its slot to
  // an earlier packet that started several.
  std::vector<int64_t> slots;
  int64_t owed = 0;
  for (size_t i = 0; i < packet_dts.size(); ++i) {
    if (starts[i] > 0) {
      owed += starts[i] - 1;
    } else if (owed > 0) {
      --owed;
    } else {
      continue;
    }
    if (packet_dts[i] == kNoTimestamp) return;
    slots.push_back(packet_dts[i]);
  }
  // A packed stream that ends without its last placeholder owes one slot: the next regular time.
  if (owed == 1 && slots.size() >= 2) {
    slots.push_back(2 * slots[slots.size() - 1] - slots[slots.size() - 2]);
  }
  if (slots.size() != index.pictures.size()) return;
  std::sort(slots.begin(), slots.end());
  const std::vector<int32_t> order = output_order(index);
  // The times that are there show by how much presentation is later than decoding.
  std::optional<int64_t> delay;
  for (size_t i = 0; i < order.size(); ++i) {
    const int64_t pts = index.pictures[static_cast<size_t>(order[i])].pts;
    if (pts == kNoTimestamp) continue;
    if (delay && *delay != pts - slots[i]) return;  // an uneven rate: no way to tell
    delay = pts - slots[i];
  }
  int64_t filled = 0;
  for (size_t i = 0; i < order.size(); ++i) {
    Picture& picture = index.pictures[static_cast<size_t>(order[i])];
    if (picture.pts != kNoTimestamp) continue;
    picture.pts = slots[i] + delay.value_or(0);
    ++filled;
  }
  index.warnings.push_back(std::to_string(filled) + " of " + std::to_string(order.size()) +
                           " pictures have no presentation time in the container; theirs follow "
                           "from the decode times");
  check_pts_order(index);
}

}  // namespace cvdecode
