// Reads every picture of a stream with the native parser, every plane, segment by segment.
#pragma once

#include <memory>
#include <vector>

#include "backend/backend.h"
#include "h264/stream_indexer.h"
#include "memory_stream.h"

namespace cvdecode::fuzz {

inline constexpr PlaneMask kNativePlanes =
    mask_of(Plane::kMv) | mask_of(Plane::kRef) | mask_of(Plane::kMbType) | mask_of(Plane::kQp) |
    mask_of(Plane::kBits) | mask_of(Plane::kResidualY) | mask_of(Plane::kRefPicture);

struct Opened {
  FrameIndex index;
  std::shared_ptr<const NativeIndex> native;
};

inline Opened open_stream(Stream& stream) {
  Opened opened;
  h264::StreamIndexer indexer(stream.info());
  for (int64_t i = 0; i < stream.packet_count(); ++i) indexer.add_packet(stream.read_packet(i));
  opened.index = indexer.finish(&opened.native);
  return opened;
}

// The rows of one segment, in decode order, at most 8 at a time.
template <typename Visit>
void read_all(Backend& backend, const FrameIndex& index, PlaneMask planes, Visit&& visit) {
  for (size_t s = 0; s < index.segments.size(); ++s) {
    std::vector<Request> requests;
    const auto flush = [&] {
      if (requests.empty()) return;
      Clip clip =
          Clip::allocate(index.segments[s].geometry, static_cast<int64_t>(requests.size()), planes);
      backend.read(requests, planes, clip);
      visit(requests, clip);
      requests.clear();
    };
    for (size_t i = 0; i < index.pictures.size(); ++i) {
      if (static_cast<size_t>(index.pictures[i].segment) != s) continue;
      requests.push_back({static_cast<int32_t>(i), static_cast<int64_t>(requests.size())});
      if (requests.size() == 8) flush();
    }
    flush();
  }
}

inline PlaneMask native_planes(const FrameIndex& index) {
  PlaneMask planes = kNativePlanes | mask_of(Plane::kResidualUv);
  for (const Segment& s : index.segments) {
    if (s.geometry.chroma_format_idc == 0) planes &= ~mask_of(Plane::kResidualUv);
  }
  return planes;
}

}  // namespace cvdecode::fuzz
