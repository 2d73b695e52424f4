#include "accumulate/selection.h"

#include <algorithm>
#include <cstring>
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
      : t_(t), options_(options), fates_(fates), candidates_(provider, t, fates, out) {}

  const Choice& of(int32_t ref0, int32_t ref1) {
    for (const Choice& known : known_) {
      if (known.ref[0] == ref0 && known.ref[1] == ref1) return known;
    }
    if (known_.size() == kMost) known_.clear();  // damage can name any number of pictures
    known_.push_back(make(ref0, ref1));
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
        choice.source = r < 0 ? kSourceBroken : candidates_.of(r).source;
      }
      return choice;
    }
    if (ref0 == kRefPictureUntrusted || ref1 == kRefPictureUntrusted) {
      choice.untrusted = true;
      choice.source = kSourceBroken;
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
  Candidates candidates_;
  std::vector<Choice> known_;
};

// hops=1 through both lists: the other predictor of bi-predicted blocks.
void select_others(const MotionView& view, const Geometry& geometry, Chooser& chooser,
                   SelectedMotion& out) {
  const size_t cells = out.blocks.size();
  const auto w4 = static_cast<size_t>(geometry.w4());
  out.others.resize(cells);
  for (size_t at = 0; at < cells; ++at) {
    const int32_t ref[2] = {view.ref_picture[at], view.ref_picture[cells + at]};
    if (ref[0] == kRefPictureUnused || ref[1] == kRefPictureUnused) continue;
    if (view.mb_type != nullptr &&
        view.mb_type[at / w4 / 4 * (w4 / 4) + at % w4 / 4] == static_cast<uint8_t>(MbType::kLost)) {
      continue;
    }
    const Choice choice = chooser.of(ref[0], ref[1]);
    if (choice.untrusted) continue;
    const int list = 1 - choice.list;
    const int16_t* mv = view.mv + static_cast<size_t>(list) * 2 * cells;
    const BlockMotion other{mv[at], mv[cells + at], chooser.source_of(ref[list])};
    BlockMotion& block = out.blocks[at];
    if (other.source == kSourceBroken || (other.source < 0 && block.source >= 0)) {
      block = {0, 0, other.source};  // mask 2 wins over everything, 3 over what is known
      out.broken = true;
    } else if (block.source >= 0) {
      out.others[at] = other;
    }
  }
}

}  // namespace

SelectedMotion select_motion(const MotionView& view, const MotionProvider& provider, int32_t t,
                             const Geometry& geometry, const AccumulateOptions& options,
                             Fates& fates, bool both, const std::shared_ptr<Scratch>& scratch) {
  SelectedMotion out;
  const auto w4 = static_cast<size_t>(geometry.w4());
  const auto h4 = static_cast<size_t>(geometry.h4());
  const auto w16 = static_cast<size_t>(geometry.w16());
  const size_t cells = w4 * h4;
  out.blocks = BlockArray(scratch, cells);
  if (view.mb_type == nullptr && view.lost) {
    std::fill_n(out.blocks.data(), cells, BlockMotion{0, 0, kSourceBroken});
    out.broken = true;
    if (both) out.others.resize(cells);
    return out;
  }
  const kernels::TraceKernels& kernels =
      options.kernels != nullptr ? *options.kernels : kernels::trace_best();
  Chooser chooser(provider, t, options, fates, out);
  for (size_t by = 0; by < h4; ++by) {
    for (size_t bx = 0; bx < w4;) {
      const size_t at = by * w4 + bx;
      kernels::SelectJob job;
      job.ref0 = view.ref_picture + at;
      job.ref1 = job.ref0 + cells;
      const Choice& choice = chooser.of(*job.ref0, *job.ref1);
      out.untrusted |= choice.untrusted;
      out.broken |= choice.source < kernels::kSourceStop;
      job.source = choice.source;
      if (choice.list >= 0 && choice.source >= 0) {
        job.x = view.mv + static_cast<size_t>(choice.list) * 2 * cells + at;
        job.y = job.x + cells;
      }
      job.count = static_cast<int>(w4 - bx);
      job.out = out.blocks.data() + at;
      bx += static_cast<size_t>(kernels.select(job, out.longest));
    }
  }
  if (view.mb_type != nullptr) {
    const uint8_t* const stop = view.mb_type + w16 * static_cast<size_t>(geometry.h16());
    const auto next = [stop](const uint8_t* from) {
      return static_cast<const uint8_t*>(
          std::memchr(from, static_cast<int>(MbType::kLost), static_cast<size_t>(stop - from)));
    };
    for (const uint8_t* at = next(view.mb_type); at != nullptr; at = next(at + 1)) {
      const auto mb = static_cast<size_t>(at - view.mb_type);
      out.broken = true;
      for (size_t y = 0; y < 4; ++y) {
        std::fill_n(out.blocks.data() + (mb / w16 * 4 + y) * w4 + mb % w16 * 4, 4,
                    BlockMotion{0, 0, kSourceBroken});
      }
    }
  }
  if (both) select_others(view, geometry, chooser, out);
  return out;
}

}  // namespace cvdecode
