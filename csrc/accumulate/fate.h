// Where a trace ends: the anchors, the wanted anchor of a frame, and what becomes of a step from
// one picture to another (docs/accumulation.md).
#pragma once

#include <cstdint>

#include "accumulate/accumulate.h"
#include "accumulate/motion.h"

namespace cvdecode {

inline constexpr int32_t kNoPicture = -1;

enum class Fate : uint8_t {
  kTrace,   // goes on through that picture's map
  kEnd,     // ends there, with Verdict::mask
  kBroken,  // no such picture here
  kCut,     // cross="mask"
};

struct Verdict {
  Fate fate = Fate::kBroken;
  uint8_t mask = kernels::kMaskAnchor;
};

class Fates {
 public:
  // `wanted` is the wanted anchor of every frame of the group for a given set of anchors
  // as wanted_anchor() gives it; unused otherwise.
  Fates(const MotionProvider& provider, const AccumulateOptions& options, int32_t segment,
        int32_t wanted)
      : provider_(provider), options_(options), segment_(segment), wanted_(wanted) {
    if (wanted >= 0) floor_ = provider.picture(wanted).time;
    if (wanted <= kAway) floor_ = kAway - wanted;
  }

  // The fate of a trace that starts in picture t.
  Verdict start(int32_t t) const;
  // The fate of a step from picture t to its reference r.
  Verdict step(int32_t t, int32_t r);
  // The nearest reference picture before t in decode order, kNoPicture = none.
  int32_t previous_reference(int32_t t) const;

  // The wanted anchor of the picture with this presentation index, for a given set: the last one
  // of the set at or before it in time. A set can name frames that are not in a clip: kAway minus
  // the presentation index, which is the time there. kNoPicture: no anchor, or in another segment.
  static int32_t wanted_anchor(const MotionProvider& provider, const AccumulateOptions& options,
                               int64_t presentation);

 private:
  bool in_set(const MotionPicture& picture) const;
  // The last all-intra picture at or before t in decode order, kNoPicture = none.
  int32_t last_intra(int32_t t);

  const MotionProvider& provider_;
  const AccumulateOptions& options_;
  int32_t segment_;
  int32_t wanted_;
  int64_t floor_ = INT64_MIN;
  int32_t cached_from_ = -2;  // last_intra(cached_from_) == cached_intra_
  int32_t cached_intra_ = kNoPicture;
};

// |r - t| in presentation order; over all pictures in output order where one is not presented.
int64_t reference_distance(const MotionPicture& t, const MotionPicture& r);

}  // namespace cvdecode
