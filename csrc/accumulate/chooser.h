// What the references of a block come to: which list counts, and where its trace goes.
#pragma once

#include <algorithm>
#include <cstdint>
#include <limits>
#include <vector>

#include "accumulate/fate.h"
#include "accumulate/motion.h"
#include "accumulate/selection.h"
#include "kernels/trace.h"

namespace cvdecode {

// What one reference picture means to the picture at hand; looked up once per distinct reference.
struct Candidate {
  int32_t picture = 0;
  int64_t distance = std::numeric_limits<int64_t>::max();  // unknown: farther than any known one
  int32_t source = kernels::kSourceBroken;
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
    } else if (picture < kAway) {
      candidate.distance = kAway - picture;
    }
    switch (verdict.fate) {
      case Fate::kBroken: candidate.source = kernels::kSourceBroken; break;
      case Fate::kCut: candidate.source = kernels::kSourceCut; break;
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

// What a pair of references comes to.
struct Choice {
  int32_t ref[2] = {0, 0};
  int list = -1;  // the list whose vector counts, -1 = intra
  int32_t source = kernels::kSourceStop;
  bool untrusted = false;
};

class Chooser {
 public:
  Chooser(const MotionProvider& provider, int32_t t, const AccumulateOptions& options, Fates& fates,
          SelectedMotion& out)
      : t_(t), options_(options), fates_(fates), out_(out), candidates_(provider, t, fates, out) {
    known_.reserve(kMost);
  }

  // Valid until the next call.
  const Choice& of(int32_t ref0, int32_t ref1) {
    const auto is_it = [&](const Choice& known) {
      return known.ref[0] == ref0 && known.ref[1] == ref1;
    };
    if (last_ < known_.size() && is_it(known_[last_])) return known_[last_];
    last_ = static_cast<size_t>(std::find_if(known_.begin(), known_.end(), is_it) - known_.begin());
    if (last_ < known_.size()) return known_[last_];
    if (known_.size() == kMost) known_.clear();  // damage can name any number of pictures
    last_ = known_.size();
    known_.push_back(make(ref0, ref1));
    out_.untrusted |= known_.back().untrusted;
    out_.broken |= known_.back().source < kernels::kSourceStop;
    return known_.back();
  }
  int32_t source_of(int32_t ref) { return candidates_.of(ref).source; }

 private:
  static constexpr size_t kMost = 64;

  Choice make(int32_t ref0, int32_t ref1) {
    Choice choice;
    choice.ref[0] = ref0;
    choice.ref[1] = ref1;
    const bool used[2] = {ref0 != kRefPictureUnused, ref1 != kRefPictureUnused};
    if (!used[0] && !used[1]) {
      if (options_.intra == IntraPolicy::kCoviar) {
        const int32_t r = fates_.previous_reference(t_);
        choice.source = r < 0 ? kernels::kSourceBroken : candidates_.of(r).source;
      }
      return choice;
    }
    if (ref0 == kRefPictureUntrusted || ref1 == kRefPictureUntrusted) {
      choice.untrusted = true;
      choice.source = kernels::kSourceBroken;
      return choice;
    }
    choice.list = used[0] ? 0 : 1;
    if (used[0] && used[1] && options_.select == Select::kNearest) {
      const int64_t distance0 = candidates_.of(ref0).distance;
      if (candidates_.of(ref1).distance < distance0) choice.list = 1;
    }
    choice.source = candidates_.of(choice.ref[choice.list]).source;
    return choice;
  }

  int32_t t_;
  const AccumulateOptions& options_;
  Fates& fates_;
  SelectedMotion& out_;
  Candidates candidates_;
  std::vector<Choice> known_;
  size_t last_ = 0;
};

}  // namespace cvdecode
