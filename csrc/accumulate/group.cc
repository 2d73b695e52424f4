#include "accumulate/group.h"

#include <time.h>

#include <algorithm>
#include <string>
#include <utility>

#include "accumulate/plan.h"
#include "base/error.h"

namespace cvdecode {
namespace {

constexpr int32_t kFirstHidden = -16;  // end = kFirstHidden - decode number

constexpr PlaneMask kMotionPlanes =
    mask_of(Plane::kMv) | mask_of(Plane::kRefPicture) | mask_of(Plane::kMbType);

// CPU time of this thread, so that other work on the machine does not count.
class Stopwatch {
 public:
  explicit Stopwatch(double& total) : total_(total), start_(now()) {}
  ~Stopwatch() { total_ += now() - start_; }
  Stopwatch(const Stopwatch&) = delete;
  Stopwatch& operator=(const Stopwatch&) = delete;

 private:
  static double now() {
    timespec t{};
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return static_cast<double>(t.tv_sec) + static_cast<double>(t.tv_nsec) * 1e-9;
  }
  double& total_;
  double start_;
};

[[noreturn]] void throw_untrusted(const MotionProvider& provider, int32_t picture) {
  const MotionPicture p = provider.picture(picture);
  const std::string name = p.presentation >= 0 ? "frame " + std::to_string(p.presentation)
                                               : "picture " + std::to_string(picture);
  throw Error(ErrorKind::kPlaneUnavailable,
              "cannot accumulate through " + name +
                  (p.type == FrameType::kB ? " (a B picture)" : "") +
                  ": this backend does not know which picture its vectors refer to (ref -32768). "
                  "Use backend=\"native\" where it reads the stream, or ask for other frames");
}

}  // namespace

int32_t end_of(const MotionPicture& picture, int32_t number) {
  return picture.presentation >= 0 ? picture.presentation : kFirstHidden - number;
}

int32_t picture_of_end(const MotionProvider& provider, int32_t end) {
  return end <= kFirstHidden ? kFirstHidden - end : provider.find(end);
}

TraceGroup::TraceGroup(MotionProvider& provider, const AccumulateOptions& options, int32_t segment,
                       int32_t wanted_anchor, AccumulateResult& result, const ResultRows& rows,
                       MapPool& pool)
    : provider_(provider),
      options_(options),
      fates_(provider, options, segment, wanted_anchor),
      result_(result),
      rows_(rows),
      pool_(pool),
      kernels_(options.kernels != nullptr ? *options.kernels : kernels::trace_best()) {}

void TraceGroup::run(std::span<const WantedFrame> frames) {
  for (const WantedFrame& frame : frames) {
    const bool at_end = fates_.start(frame.picture).fate == Fate::kEnd;
    if (options_.plan != nullptr && at_end) {
      options_.plan->add_end(frame.row, end_of(provider_.picture(frame.picture), frame.picture));
      continue;
    }
    const kernels::Map map =
        options_.plan != nullptr ? kernels::Map{} : rows_.row(result_, frame.row);
    if (at_end) {
      kernels::fill_end(map, rows_.layout.width, rows_.layout.height,
                        end_of(provider_.picture(frame.picture), frame.picture),
                        kernels::kMaskAnchor);
      continue;
    }
    Node& node = nodes_[frame.picture];
    node.row = frame.row;
    node.map = map;
    node.needed = true;
  }
  gather(frames);
  // What was read on suspicion and is not needed after all.
  std::erase_if(nodes_, [](const auto& entry) { return !entry.second.needed; });
  for (auto it = nodes_.begin(); it != nodes_.end(); ++it) {
    if (it->second.motion.untrusted) throw_untrusted(provider_, it->first);
    if (options_.residual == ResidualKind::kCoded) ensure_residual(it);
    trace(it->first, it->second);
    release(it->second);
    Node& node = it->second;
    residual_held_ -=
        static_cast<int64_t>((node.residual_y.size() + node.residual_uv.size()) * sizeof(int16_t));
    node.residual_y = {};
    node.residual_uv = {};
    node.motion = {};
    if (node.uses == 0) pool_.give_back(std::move(node.loan));
  }
  nodes_.clear();
}

// Reads in waves: the frames asked for, the references that their blocks use, those of these ...
// Only what some selected predictor points to is ever added.
void TraceGroup::gather(std::span<const WantedFrame> frames) {
  std::vector<int32_t> wave;
  for (const WantedFrame& frame : frames) {
    if (nodes_.contains(frame.picture)) wave.push_back(frame.picture);
  }
  while (!wave.empty()) {
    std::vector<int32_t> pictures;
    for (int32_t picture : wave) {
      if (!nodes_[picture].read) pictures.push_back(picture);
    }
    if (!pictures.empty()) {
      if (!provider_.random_access()) add_hints(pictures);
      read(std::move(pictures), true, options_.residual == ResidualKind::kCoded);
    }
    std::vector<int32_t> next;
    for (int32_t picture : wave) {
      for (const SelectedSource& source : nodes_[picture].motion.sources) {
        if (source.verdict.fate != Fate::kTrace) continue;
        Node& node = nodes_[source.picture];
        ++node.uses;
        if (!node.needed) {
          node.needed = true;
          next.push_back(source.picture);
        }
      }
    }
    std::sort(next.begin(), next.end());
    wave = std::move(next);
  }
}

// Where one picture cannot be read without all before it, the rest of its chain is read with it.
void TraceGroup::add_hints(std::vector<int32_t>& wave) {
  std::vector<int32_t> hints;
  for (int32_t picture : wave) {
    for (int32_t r = picture - 1; r >= 0; --r) {
      const auto it = nodes_.find(r);
      if (it != nodes_.end() && it->second.read) break;
      if (!provider_.picture(r).is_reference) continue;
      if (fates_.step(picture, r).fate != Fate::kTrace) break;
      if (std::find(hints.begin(), hints.end(), r) != hints.end()) break;
      hints.push_back(r);
    }
  }
  wave.insert(wave.end(), hints.begin(), hints.end());
  std::sort(wave.begin(), wave.end());
  wave.erase(std::unique(wave.begin(), wave.end()), wave.end());
}

void TraceGroup::read(std::vector<int32_t> pictures, bool motion, bool residual) {
  const Geometry& g = result_.geometry;
  const size_t luma = static_cast<size_t>(g.coded_width) * static_cast<size_t>(g.coded_height);
  const bool chroma = rows_.layout.residual_uv;
  const auto bytes = static_cast<int64_t>((luma + (chroma ? luma / 2 : 0)) * sizeof(int16_t));
  // Residual planes are large: beyond the budget they are read again when their turn comes.
  // At least one always fits, or there would be no progress.
  const int64_t room =
      std::max<int64_t>((options_.residual_budget - residual_held_) / bytes, motion ? 0 : 1);
  const PlaneMask residual_planes =
      mask_of(Plane::kResidualY) | (chroma ? mask_of(Plane::kResidualUv) : 0);
  const auto sink = [&](int32_t number, const MotionView& view) {
    Node& node = nodes_[number];
    if (motion) {
      const Stopwatch watch(result_.stats.cpu_seconds);
      node.motion =
          select_motion(view, provider_, number, g, options_, fates_, false, pool_.scratch());
      node.read = true;
      ++result_.stats.pictures_read;
    }
    if (view.residual_y == nullptr) return;
    node.residual_y.assign(view.residual_y, view.residual_y + luma);
    if (chroma) node.residual_uv.assign(view.residual_uv, view.residual_uv + luma / 2);
    residual_held_ += bytes;
  };
  const PlaneMask planes = motion ? kMotionPlanes : 0;
  if (!residual) {
    provider_.read(pictures, planes, sink);
    return;
  }
  // The earliest pictures are traced first, so theirs are the residuals worth holding.
  const auto held =
      std::min<size_t>(static_cast<size_t>(std::max<int64_t>(room, 0)), pictures.size());
  const std::span<const int32_t> all(pictures);
  if (held > 0) provider_.read(all.first(held), planes | residual_planes, sink);
  if (held < pictures.size() && motion) provider_.read(all.subspan(held), planes, sink);
}

// Reads the residual of this picture, and of those after it that fit, unless it is held already.
void TraceGroup::ensure_residual(Nodes::iterator first) {
  if (!first->second.residual_y.empty()) return;
  std::vector<int32_t> pictures;
  for (auto it = first; it != nodes_.end(); ++it) {
    if (it->second.residual_y.empty()) pictures.push_back(it->first);
  }
  read(std::move(pictures), false, true);
}

void TraceGroup::trace(int32_t picture, Node& node) {
  const Stopwatch watch(result_.stats.cpu_seconds);
  const MotionPicture info = provider_.picture(picture);
  if (options_.plan != nullptr) {
    // No map is made here.
  } else if (node.row < 0) {
    node.loan = pool_.take();
    node.map = node.loan.map;
  } else if (rows_.layout.packed) {
    node.loan = pool_.take();
    node.map.packed = node.loan.map.packed;
  }
  sources_.clear();
  node.may_void = node.motion.broken;
  node.reach = node.motion.longest;
  for (const SelectedSource& selected : node.motion.sources) {
    kernels::Source source;
    if (selected.verdict.fate == Fate::kEnd) {
      source.is_end = true;
      source.end = end_of(provider_.picture(selected.picture), selected.picture);
      result_.hidden_ends |= source.end < 0;
      source.mask = selected.verdict.mask;
    } else {
      const Node& from = nodes_.at(selected.picture);
      source.map = from.map;
      source.may_void = from.may_void;
      source.reach = from.reach;
      node.may_void |= from.may_void;
      // Saturation keeps every sum within 16 bits.
      node.reach = std::max(node.reach, std::min(from.reach + node.motion.longest, 32768));
    }
    sources_.push_back(source);
  }
  const Geometry& g = result_.geometry;
  kernels::TraceJob job;
  job.width = g.coded_width;
  job.height = g.coded_height;
  job.blocks = node.motion.blocks.data();
  job.sources = sources_.data();
  job.here = end_of(info, picture);
  result_.hidden_ends |= job.here < 0;
  job.out = node.map;
  if (rows_.layout.residual_y) job.residual_y = node.residual_y.data();
  if (rows_.layout.residual_uv) {
    job.residual_u = node.residual_uv.data();
    job.residual_v = job.residual_u + node.residual_uv.size() / 2;
  }
  if (options_.plan != nullptr) {
    record(job, node);
  } else if (options_.grid == 4) {
    result_.stats.saturated += kernels_.blocks(job);
  } else {
    result_.stats.saturated += kernels_.pixels(job);
    if (rows_.layout.residual_uv) result_.stats.saturated += kernels_.chroma(job);
  }
  ++result_.stats.pictures_traced;
}

// The same work, for a device to do.
void TraceGroup::record(const kernels::TraceJob& job, Node& node) {
  std::vector<PlanSource> sources;
  for (size_t i = 0; i < sources_.size(); ++i) {
    PlanSource source;
    if (sources_[i].is_end) {
      source.end = sources_[i].end;
      source.mask = sources_[i].mask;
    } else {
      source.step = nodes_.at(node.motion.sources[i].picture).step;
    }
    sources.push_back(source);
  }
  node.step = options_.plan->add(job, node.row, std::move(sources));
}

void TraceGroup::release(const Node& node) {
  for (const SelectedSource& source : node.motion.sources) {
    if (source.verdict.fate != Fate::kTrace) continue;
    Node& used = nodes_.at(source.picture);
    if (--used.uses == 0) pool_.give_back(std::move(used.loan));
  }
}

}  // namespace cvdecode
