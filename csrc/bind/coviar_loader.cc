#include "bind/coviar_loader.h"

#include <algorithm>
#include <numeric>
#include <string>
#include <utility>

#include "accumulate/coviar.h"
#include "base/error.h"

namespace cvdecode::bind {

int32_t CoviarLoader::number_of(int64_t frame) const {
  if (frame < 0 || frame >= reader_.index().size()) {
    throw Error(ErrorKind::kIndex, "there is no frame " + std::to_string(frame));
  }
  return reader_.index().presentation[static_cast<size_t>(frame)];
}

const Picture& CoviarLoader::picture_of(int32_t number) const {
  return reader_.index().pictures[static_cast<size_t>(number)];
}

const Geometry& CoviarLoader::geometry_of(int32_t number) const {
  return reader_.index().segments[static_cast<size_t>(picture_of(number).segment)].geometry;
}

// Their memory is used again: fresh pages are dear.
template <typename Unwanted>
void CoviarLoader::drop_pixels(const Unwanted& unwanted) {
  for (auto it = pixels_.begin(); it != pixels_.end();) {
    if (unwanted(it->first)) {
      spare_.push_back(std::move(it->second));
      it = pixels_.erase(it);
    } else {
      ++it;
    }
  }
}

// Finds the GOP of a picture; what is kept of another one goes.
void CoviarLoader::enter(int32_t picture) {
  if (!motion_) {
    ReaderMotion motion(reader_);
    refuse_b_pictures(motion);
    motion_.emplace(std::move(motion));
  }
  int32_t first = picture;
  const auto inside = [&] {
    return first >= 0 && picture_of(first).segment == picture_of(picture).segment;
  };
  while (inside() && !picture_of(first).all_intra) --first;
  if (!inside()) {
    throw Error(ErrorKind::kCorrupt,
                reader_.info().path + ": no intra picture precedes the frame asked for");
  }
  if (first == first_) return;
  first_ = at_ = -1;
  vectors_.clear();
  kept_ = 0;
  drop_pixels([](int32_t) { return true; });
  const Geometry& g = geometry_of(first);
  if (!(g == shape_)) {
    map_ = single_ = CoviarMap(g);
    shape_ = g;
    spare_.clear();
  }
  first_ = first;
}

// Elements of list 0 of the mv plane.
size_t CoviarLoader::vector_count() const {
  const Geometry& g = geometry_of(first_);
  return 2 * static_cast<size_t>(g.w4()) * static_cast<size_t>(g.h4());
}

// Reads the vectors of the pictures from `from` to `to` that are not at hand.
void CoviarLoader::need_vectors(int32_t from, int32_t to) {
  std::vector<int32_t> missing;
  for (int32_t n = from; n <= to; ++n) {
    if (!vectors_.contains(n)) missing.push_back(n);
  }
  if (missing.empty()) return;
  const size_t size = vector_count();
  if (kept_ + missing.size() * size * sizeof(int16_t) > kMostKept) {
    vectors_.clear();
    kept_ = 0;
    missing.resize(static_cast<size_t>(to - from + 1));
    std::iota(missing.begin(), missing.end(), from);
  }
  const auto keep = [&](int32_t n, const MotionView& view) {
    std::vector<int16_t>& own = vectors_[n];
    if (!view.lost) own.assign(view.mv, view.mv + size);
    kept_ += own.size() * sizeof(int16_t);
  };
  // One at a time: their planes are copied while they are in the processor's cache.
  for (const int32_t& n : missing) motion_->read({&n, 1}, mask_of(Plane::kMv), keep);
}

const std::vector<int16_t>& CoviarLoader::vectors_of(int32_t picture) {
  const std::vector<int16_t>& own = vectors_.at(picture);
  if (own.empty()) {
    throw Error(ErrorKind::kCorrupt,
                reader_.info().path + ": no vectors for position " +
                    std::to_string(picture - first_) +
                    " of the GOP: the frame is damaged, or is the last of the file, for which "
                    "libavcodec exports none");
  }
  return own;
}

const CoviarMap& CoviarLoader::map_of(int32_t picture, bool accumulate) {
  enter(picture);
  if (!accumulate) {
    single_.start();
    if (picture == first_) return single_;
    need_vectors(picture, picture);
    single_.step(vectors_of(picture).data());
    return single_;
  }
  if (at_ < 0 || at_ > picture) {
    map_.start();
    at_ = first_;
  }
  // Of a long GOP, as many at a time as may be kept.
  const size_t most = std::max<size_t>(1, kMostKept / (vector_count() * sizeof(int16_t)));
  while (at_ < picture) {
    const auto some = std::min(most, static_cast<size_t>(picture - at_));
    const int32_t to = at_ + static_cast<int32_t>(some);
    need_vectors(at_ + 1, to);
    for (; at_ < to; ++at_) map_.step(vectors_of(at_ + 1).data());
  }
  return map_;
}

void CoviarLoader::read_pixels(std::span<const int32_t> pictures, std::span<uint8_t* const> out) {
  if (!reader_.read_bgr(pictures, out)) {
    throw Error(ErrorKind::kCorrupt,
                reader_.info().path + ": no pixels for a frame up to the position asked for");
  }
}

void CoviarLoader::picture(int64_t frame, uint8_t* out) {
  const int32_t number = number_of(frame);
  uint8_t* const rows[] = {out};
  read_pixels({&number, 1}, rows);
}

void CoviarLoader::vectors(int64_t frame, bool accumulate, int32_t* out) {
  map_of(number_of(frame), accumulate).write_vectors(out);
}

void CoviarLoader::residual(int64_t frame, bool accumulate, int32_t* out) {
  const int32_t here = number_of(frame);
  const CoviarMap& map = map_of(here, accumulate);
  const int32_t there = accumulate || here == first_ ? first_ : here - 1;
  drop_pixels([&](int32_t n) { return n != first_ && n != here && n != there; });
  const size_t bytes = 3 * static_cast<size_t>(map.width()) * static_cast<size_t>(map.height());
  std::vector<int32_t> missing;
  std::vector<std::vector<uint8_t>> fresh;
  for (const int32_t n : {there, here}) {
    if (pixels_.contains(n) || (!missing.empty() && missing.back() == n)) continue;
    missing.push_back(n);
    if (spare_.empty()) {
      fresh.emplace_back(bytes);
    } else {
      fresh.push_back(std::move(spare_.back()));
      spare_.pop_back();
    }
  }
  if (!missing.empty()) {
    std::vector<uint8_t*> rows;
    for (auto& pixels : fresh) rows.push_back(pixels.data());
    read_pixels(missing, rows);
    for (size_t i = 0; i < missing.size(); ++i) pixels_[missing[i]] = std::move(fresh[i]);
  }
  map.write_difference(pixels_.at(here).data(), pixels_.at(there).data(), out);
}

}  // namespace cvdecode::bind
