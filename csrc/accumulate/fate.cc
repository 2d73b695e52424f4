#include "accumulate/fate.h"

#include <algorithm>
#include <cstdlib>

namespace cvdecode {

bool Fates::in_set(const MotionPicture& picture) const {
  return picture.presentation >= 0 &&
         std::binary_search(options_.anchors.begin(), options_.anchors.end(),
                            int64_t{picture.presentation});
}

Verdict Fates::start(int32_t t) const {
  const MotionPicture picture = provider_.picture(t);
  if (picture.all_intra) return {Fate::kEnd, kernels::kMaskAnchor};
  if (options_.has_anchors && in_set(picture)) return {Fate::kEnd, kernels::kMaskAnchor};
  return {Fate::kTrace, kernels::kMaskAnchor};
}

Verdict Fates::step(int32_t t, int32_t r) {
  // Only earlier pictures in decode order can be references: this also keeps a damaged stream, or
  // a clip whose references run in a circle, from looping.
  if (r < 0 || r >= t) return {Fate::kBroken};
  const MotionPicture reference = provider_.picture(r);
  if (reference.segment != segment_) return {Fate::kBroken};
  if (!options_.has_anchors) {
    if (options_.cross == Cross::kMask && r < last_intra(t)) return {Fate::kCut};
    if (options_.one_step || reference.all_intra) return {Fate::kEnd, kernels::kMaskAnchor};
    return {Fate::kTrace};
  }
  if (in_set(reference)) {
    if (options_.cross == Cross::kMask && r != wanted_) return {Fate::kCut};
    return {Fate::kEnd, kernels::kMaskAnchor};
  }
  if (reference.time < floor_) return {Fate::kEnd, kernels::kMaskPassed};
  if (reference.all_intra) return {Fate::kEnd, kernels::kMaskAnchor};
  return {Fate::kTrace};
}

int32_t Fates::previous_reference(int32_t t) const {
  const int32_t told = provider_.picture(t).previous_reference;
  if (told != kNotTold) return told;
  for (int32_t r = t - 1; r >= 0; --r) {
    const MotionPicture picture = provider_.picture(r);
    if (picture.segment != segment_) return kNoPicture;
    if (picture.is_reference) return r;
  }
  return kNoPicture;
}

int32_t Fates::last_intra(int32_t t) {
  // Steps come picture by picture, so a short cache makes this linear over a whole clip.
  if (cached_from_ == t) return cached_intra_;
  int32_t found = kNoPicture;
  const int32_t told = provider_.picture(t).from_last_intra;
  if (told != kNotTold) return told;
  for (int32_t r = t; r >= 0; --r) {
    const MotionPicture picture = provider_.picture(r);
    if (picture.segment != segment_) break;
    if (picture.all_intra) {
      found = r;
      break;
    }
  }
  cached_from_ = t;
  cached_intra_ = found;
  return found;
}

int32_t Fates::wanted_anchor(const MotionProvider& provider, const AccumulateOptions& options,
                             int64_t presentation) {
  auto it = std::upper_bound(options.anchors.begin(), options.anchors.end(), presentation);
  if (it == options.anchors.begin()) return kNoPicture;
  const int32_t wanted = provider.find(*--it);
  if (wanted < 0) return kAway - static_cast<int32_t>(*it);
  const int32_t frame = provider.find(presentation);
  if (provider.picture(wanted).segment != provider.picture(frame).segment) return kNoPicture;
  return wanted;
}

int64_t reference_distance(const MotionPicture& t, const MotionPicture& r) {
  if (t.presentation >= 0 && r.presentation >= 0) return std::abs(r.presentation - t.presentation);
  return std::llabs(r.time - t.time);
}

}  // namespace cvdecode
