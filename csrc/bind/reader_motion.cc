#include "bind/reader_motion.h"

#include <algorithm>
#include <numeric>
#include <string>
#include <tuple>
#include <utility>

#include "base/error.h"

namespace cvdecode::bind {
namespace {

// Planes held at a time while they are handed on: enough for many small pictures in one call,
// so that threads have work, and for few large ones.
constexpr size_t kChunkBytes = size_t{32} << 20;

// use(), whose refusals say who asked: the planes are not those that the reader was opened for.
template <typename Use>
auto for_accumulation(const VideoReader& reader, const Use& use) {
  try {
    return use();
  } catch (const Error& e) {
    if (e.kind() != ErrorKind::kPlaneUnavailable && e.kind() != ErrorKind::kUnsupported) throw;
    const std::string prefix = reader.info().path + ": ";
    std::string text = e.what();
    if (text.starts_with(prefix)) text = text.substr(prefix.size());
    throw Error(e.kind(), prefix + "accumulate() needs more than this video gives: " + text);
  }
}

}  // namespace

ReaderMotion::ReaderMotion(VideoReader& reader, std::shared_ptr<BufferPool> pool)
    : reader_(reader),
      pool_(pool != nullptr ? std::move(pool) : std::make_shared<BufferPool>()),
      index_(reader.index()) {
  native_ = for_accumulation(reader, [&] {
    try {
      return std::string(reader.backend_of(Plane::kMv)) == "native";
    } catch (const Error&) {
      // Advice on vectors alone would not help: the pictures that they refer to are needed too.
      reader.backend_of(Plane::kRefPicture);
      throw;
    }
  });
  shared_ = native_ && reader.info().codec == "h264";
  const auto count = static_cast<int64_t>(index_.pictures.size());
  if (index_.size() == count) return;
  std::vector<int32_t> order(index_.pictures.size());
  std::iota(order.begin(), order.end(), 0);
  std::sort(order.begin(), order.end(), [this](int32_t a, int32_t b) {
    const Picture& p = index_.pictures[static_cast<size_t>(a)];
    const Picture& q = index_.pictures[static_cast<size_t>(b)];
    return std::tie(p.sequence, p.order, a) < std::tie(q.sequence, q.order, b);
  });
  rank_.resize(order.size());
  for (size_t i = 0; i < order.size(); ++i) {
    rank_[static_cast<size_t>(order[i])] = static_cast<int32_t>(i);
  }
}

int32_t ReaderMotion::picture_count() const { return static_cast<int32_t>(index_.pictures.size()); }

MotionPicture ReaderMotion::picture(int32_t number) const {
  const Picture& p = index_.pictures[static_cast<size_t>(number)];
  MotionPicture picture;
  picture.presentation = p.presentation;
  picture.time = rank_.empty() ? p.presentation : rank_[static_cast<size_t>(number)];
  picture.segment = p.segment;
  picture.type = p.type;
  picture.all_intra = p.all_intra;
  picture.is_reference = p.is_reference;
  picture.decode = number;
  return picture;
}

int32_t ReaderMotion::find(int64_t presentation) const {
  if (presentation < 0 || presentation >= index_.size()) return -1;
  return index_.presentation[static_cast<size_t>(presentation)];
}

Geometry ReaderMotion::geometry(int32_t segment) const {
  if (index_.segments.empty()) return {};
  return index_.segments[static_cast<size_t>(segment)].geometry;
}

PlaneMask ReaderMotion::motion_planes() const {
  return shared_ ? mask_of(Plane::kMotion) : MotionProvider::motion_planes();
}

void ReaderMotion::read(std::span<const int32_t> pictures, PlaneMask planes, const Sink& sink) {
  if (pictures.empty()) return;
  const Geometry g = geometry(index_.pictures[static_cast<size_t>(pictures.front())].segment);
  size_t bytes = 1;
  for (int p = 0; p < kPlaneCount; ++p) {
    if (has(planes, static_cast<Plane>(p))) bytes += plane_row_bytes(g, static_cast<Plane>(p));
  }
  const size_t chunk = std::max<size_t>(1, kChunkBytes / bytes);
  for (size_t first = 0; first < pictures.size(); first += chunk) {
    const auto some = pictures.subspan(first, std::min(chunk, pictures.size() - first));
    Clip clip =
        for_accumulation(reader_, [&] { return reader_.read_pictures(some, planes, pool_.get()); });
    for (size_t i = 0; i < some.size(); ++i) {
      const auto row = static_cast<int64_t>(i);
      const auto plane = [&](Plane p) -> const void* {
        return clip.has_plane(p) ? clip.row<uint8_t>(p, row) : nullptr;
      };
      MotionView view;
      view.mv = static_cast<const int16_t*>(plane(Plane::kMv));
      view.ref_picture = static_cast<const int32_t*>(plane(Plane::kRefPicture));
      view.mb_type = static_cast<const uint8_t*>(plane(Plane::kMbType));
      if (clip.has_plane(Plane::kMotion)) {
        view.motion = MotionRow::of(clip.row<uint8_t>(Plane::kMotion, row), g);
      }
      view.lost = clip.lost[i] != 0;
      view.residual_y = static_cast<const int16_t*>(plane(Plane::kResidualY));
      view.residual_uv = static_cast<const int16_t*>(plane(Plane::kResidualUv));
      view.rgb = static_cast<const uint8_t*>(plane(Plane::kRgb));
      sink(some[i], view);
    }
  }
}

}  // namespace cvdecode::bind
