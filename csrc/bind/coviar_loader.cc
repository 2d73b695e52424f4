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

namespace {

// Memory of `size` elements, of which those that were there before keep their values.
template <typename T>
std::vector<T> take(std::vector<std::vector<T>>& spare, size_t size) {
  std::vector<T> taken;
  if (!spare.empty()) {
    taken = std::move(spare.back());
    spare.pop_back();
  }
  taken.resize(size);
  return taken;
}

}  // namespace

template <typename Unwanted>
void CoviarLoader::drop_pixels(const Unwanted& unwanted) {
  for (auto it = pixels_.begin(); it != pixels_.end();) {
    if (unwanted(it->first)) {
      spare_pixels_.push_back(std::move(it->second));
      it = pixels_.erase(it);
    } else {
      ++it;
    }
  }
}

void CoviarLoader::drop_vectors() {
  for (auto& [n, own] : vectors_) {
    if (!own.empty()) spare_vectors_.push_back(std::move(own));
  }
  vectors_.clear();
  kept_ = 0;
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
  first_ = at_ = carried_at_ = -1;
  drop_vectors();
  drop_pixels([](int32_t) { return true; });
  const Geometry& g = geometry_of(first);
  if (!(g == shape_)) {
    map_ = single_ = CoviarMap(g);
    carried_ = single_carried_ = CoviarPixels(g);
    shape_ = g;
    spare_pixels_.clear();
    spare_vectors_.clear();
  }
  first_ = first;
}

// Elements of list 0 of the mv plane.
size_t CoviarLoader::vector_count() const {
  const Geometry& g = geometry_of(first_);
  return 2 * static_cast<size_t>(g.w4()) * static_cast<size_t>(g.h4());
}

// The pictures from `from` to `to` whose vectors are not at hand; there is room for them then.
std::vector<int32_t> CoviarLoader::missing_vectors(int32_t from, int32_t to) {
  std::vector<int32_t> missing;
  for (int32_t n = from; n <= to; ++n) {
    if (!vectors_.contains(n)) missing.push_back(n);
  }
  if (missing.empty()) return missing;
  if (kept_ + missing.size() * vector_count() * sizeof(int16_t) > kMostKept) {
    drop_vectors();
    missing.resize(static_cast<size_t>(to - from + 1));
    std::iota(missing.begin(), missing.end(), from);
  }
  return missing;
}

// Reads the vectors of the pictures from `from` to `to` that are not at hand.
void CoviarLoader::need_vectors(int32_t from, int32_t to) {
  const std::vector<int32_t> missing = missing_vectors(from, to);
  const size_t size = vector_count();
  const auto keep = [&](int32_t n, const MotionView& view) {
    std::vector<int16_t>& own = vectors_[n];
    if (!view.lost) {
      own = take(spare_vectors_, size);
      std::copy_n(view.mv, size, own.begin());
    }
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

// Takes a map, or pixels, from the picture `from` on to the picture `to`.
template <typename Field>
void CoviarLoader::follow(Field& field, int32_t from, int32_t to) {
  while (from < to) {
    const int32_t end = step_limit(from, to);
    need_vectors(from + 1, end);
    for (; from < end; ++from) field.step(vectors_of(from + 1).data());
  }
}

// Of a long GOP, as many pictures after `from` at a time as may be kept.
int32_t CoviarLoader::step_limit(int32_t from, int32_t to) const {
  const size_t most = std::max<size_t>(1, kMostKept / (vector_count() * sizeof(int16_t)));
  return from + static_cast<int32_t>(std::min(most, static_cast<size_t>(to - from)));
}

const CoviarMap& CoviarLoader::map_of(int32_t picture, bool accumulate) {
  enter(picture);
  if (!accumulate) {
    single_.start();
    follow(single_, std::max(first_, picture - 1), picture);
    return single_;
  }
  const bool goes_on = at_ >= 0 && at_ <= picture;
  const int32_t from = goes_on ? at_ : first_;
  at_ = -1;
  if (!goes_on) map_.start();
  follow(map_, from, picture);
  at_ = picture;
  return map_;
}

void CoviarLoader::read_pixels(std::span<BgrRequest> requests) {
  decoded_to_ = -1;
  if (!reader_.read_bgr(requests)) {
    throw Error(ErrorKind::kCorrupt,
                reader_.info().path + ": no pixels for a frame up to the position asked for");
  }
  decoded_to_ = requests.back().picture;
}

void CoviarLoader::picture(int64_t frame, uint8_t* out) {
  BgrRequest request{number_of(frame), out};
  read_pixels({&request, 1});
}

void CoviarLoader::vectors(int64_t frame, bool accumulate, int32_t* out) {
  map_of(number_of(frame), accumulate).write_vectors(out);
}

// Has the pixels of two pictures at hand, and of the vectors from `from` to `to` those that come
// along: of pictures that the decoder has yet to pass by.
void CoviarLoader::decode(int32_t there, int32_t here, int32_t from, int32_t to) {
  std::map<int32_t, BgrRequest> requests;
  std::map<int32_t, std::vector<uint8_t>> pixels;
  for (const int32_t n : {there, here}) {
    if (pixels_.contains(n) || pixels.contains(n)) continue;
    pixels[n] = take(spare_pixels_, carried_.size() * sizeof(Bgr));
    requests[n] = {n, pixels[n].data()};
  }
  if (requests.empty()) return;
  const int32_t begin = requests.begin()->first;
  const int32_t end = requests.rbegin()->first;
  const int32_t passed = begin > decoded_to_ ? decoded_to_ : first_;
  std::map<int32_t, std::vector<int16_t>> vectors;
  for (const int32_t n : missing_vectors(from, to)) {
    if (n <= passed || n > end) continue;
    vectors[n] = take(spare_vectors_, vector_count());
    requests[n].picture = n;
    requests[n].mv = vectors[n].data();
  }
  std::vector<BgrRequest> sorted;
  for (const auto& [n, request] : requests) sorted.push_back(request);
  read_pixels(sorted);
  pixels_.merge(pixels);
  for (const BgrRequest& request : sorted) {
    if (request.mv == nullptr) continue;
    std::vector<int16_t>& own = vectors[request.picture];
    if (request.has_mv) {
      kept_ += own.size() * sizeof(int16_t);
      vectors_[request.picture] = std::move(own);
    } else {
      spare_vectors_.push_back(std::move(own));
    }
  }
}

void CoviarLoader::residual(int64_t frame, bool accumulate, int32_t* out) {
  const int32_t here = number_of(frame);
  enter(here);
  const int32_t there = accumulate ? first_ : std::max(first_, here - 1);
  drop_pixels([&](int32_t n) { return n != first_ && n != here && n != there; });
  CoviarPixels& field = accumulate ? carried_ : single_carried_;
  const bool goes_on = accumulate && carried_at_ >= 0 && carried_at_ <= here;
  const int32_t from = goes_on ? carried_at_ : there;
  if (accumulate) carried_at_ = -1;
  decode(there, here, from + 1, step_limit(from, here));
  if (!goes_on) field.start(pixels_.at(there).data());
  follow(field, from, here);
  if (accumulate) carried_at_ = here;
  field.write_difference(pixels_.at(here).data(), out);
}

}  // namespace cvdecode::bind
