#include "accumulate/selection.h"

#include <algorithm>
#include <cstdlib>
#include <limits>

namespace cvdecode {
namespace {

using kernels::BlockMotion;
using kernels::kSourceBroken;
using kernels::kSourceCut;
using kernels::kSourceStop;

// What one reference picture means to the picture at hand; looked up once per distinct reference.
struct Candidate {
  int32_t picture = 0;
  int64_t distance = std::numeric_limits<int64_t>::max();  // unknown: farther than any known one
  int32_t source = kSourceBroken;
};

class Candidates {
 public:
  Candidates(const MotionProvider& provider, int32_t t, Fates& fates, SelectedMotion& out)
      : provider_(provider), t_(t), here_(provider.picture(t)), fates_(fates), out_(out) {}

  const Candidate& of(int32_t picture) {
    if (last_ < seen_.size() && seen_[last_].picture == picture) return seen_[last_];
    for (last_ = 0; last_ < seen_.size(); ++last_) {
      if (seen_[last_].picture == picture) return seen_[last_];
    }
    seen_.push_back(make(picture));
    return seen_.back();
  }

 private:
  Candidate make(int32_t picture) {
    Candidate candidate;
    candidate.picture = picture;
    const Verdict verdict = fates_.step(t_, picture);
    if (picture >= 0 && picture < t_) {
      candidate.distance = reference_distance(here_, provider_.picture(picture));
    }
    switch (verdict.fate) {
      case Fate::kBroken: candidate.source = kSourceBroken; break;
      case Fate::kCut: candidate.source = kSourceCut; break;
      case Fate::kTrace:
      case Fate::kEnd:
        candidate.source = static_cast<int32_t>(out_.sources.size());
        out_.sources.push_back({picture, verdict});
        break;
    }
    return candidate;
  }

  const MotionProvider& provider_;
  int32_t t_;
  MotionPicture here_;
  Fates& fates_;
  SelectedMotion& out_;
  std::vector<Candidate> seen_;
  size_t last_ = 0;
};

}  // namespace

SelectedMotion select_motion(const MotionView& view, const MotionProvider& provider, int32_t t,
                             const Geometry& geometry, const AccumulateOptions& options,
                             Fates& fates, bool both) {
  SelectedMotion out;
  const auto w4 = static_cast<size_t>(geometry.w4());
  const auto h4 = static_cast<size_t>(geometry.h4());
  const auto w16 = static_cast<size_t>(geometry.w16());
  const size_t cells = w4 * h4;
  out.blocks.resize(cells);
  if (both) out.others.resize(cells);
  Candidates candidates(provider, t, fates, out);
  int32_t previous = kRefPictureUnused;  // the source of intra="coviar", found when first needed
  bool previous_known = false;

  for (size_t by = 0; by < h4; ++by) {
    for (size_t bx = 0; bx < w4; ++bx) {
      const size_t at = by * w4 + bx;
      BlockMotion& block = out.blocks[at];
      const int32_t ref[2] = {view.ref_picture[at], view.ref_picture[cells + at]};
      const bool lost = view.mb_type == nullptr ? view.lost
                                                : view.mb_type[by / 4 * w16 + bx / 4] ==
                                                      static_cast<uint8_t>(MbType::kLost);
      if (lost) {
        block.source = kSourceBroken;
        out.broken = true;
        continue;
      }
      const bool used[2] = {ref[0] != kRefPictureUnused, ref[1] != kRefPictureUnused};
      if (!used[0] && !used[1]) {  // intra
        if (options.intra == IntraPolicy::kStop) continue;
        if (!previous_known) {
          previous_known = true;
          const int32_t r = fates.previous_reference(t);
          previous = r < 0 ? kSourceBroken : candidates.of(r).source;
        }
        block.source = previous;
        out.broken |= previous < 0;
        continue;
      }
      if ((used[0] && ref[0] == kRefPictureUntrusted) ||
          (used[1] && ref[1] == kRefPictureUntrusted)) {
        out.untrusted = true;
        block.source = kSourceBroken;
        continue;
      }
      const auto vector_of = [&](int list) {
        BlockMotion m;
        m.x = view.mv[static_cast<size_t>(list) * 2 * cells + at];
        m.y = view.mv[static_cast<size_t>(list) * 2 * cells + cells + at];
        m.source = candidates.of(ref[list]).source;
        return m;
      };
      int list = used[0] ? 0 : 1;
      if (used[0] && used[1] && options.select == Select::kNearest) {
        const int64_t distance0 = candidates.of(ref[0]).distance;
        if (candidates.of(ref[1]).distance < distance0) list = 1;
      }
      block = vector_of(list);
      if (both && used[0] && used[1]) {
        const BlockMotion other = vector_of(1 - list);
        if (other.source == kSourceBroken || (other.source < 0 && block.source >= 0)) {
          block.source = other.source;  // mask 2 wins over everything, 3 over what is known
        } else if (block.source >= 0) {
          out.others[at] = other;
        }
      }
      out.broken |= block.source < 0;
      out.longest = std::max({out.longest, std::abs(int32_t{block.x}), std::abs(int32_t{block.y})});
    }
  }
  return out;
}

}  // namespace cvdecode
