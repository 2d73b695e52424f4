#include "accumulate/group.h"

#include <time.h>

#include <algorithm>
#include <cstring>
#include <string>
#include <utility>

#include "accumulate/plan.h"
#include "base/error.h"
#include "kernels/trace_pixel.h"

namespace cvdecode {
namespace {

constexpr int32_t kFirstHidden = -16;  // end = kFirstHidden - decode number

// Pictures that a stream can refer to, and one to spare. Words of maps before them are made again
// from the result in the rare case.
constexpr size_t kRecent = 17;
// The bound of a map's displacements grows by every picture's longest vector, and near 16 bits sums
// have to be checked one by one. From here on the map itself is looked at: few really go so far.
constexpr int32_t kFarReach = 24576;
// Of blocks selected at a time: they stay in the nearer caches until they are traced.
constexpr size_t kSomeBytes = 96 << 10;

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

uint64_t bits_of(const kernels::BlockMotion& block) {
  uint64_t bits = 0;
  std::memcpy(&bits, &block, sizeof bits);
  return bits;
}

// Whether a square of blocks has one motion; `first` is its first block.
template <size_t kSide>
bool is_one_motion(const kernels::BlockMotion* first, size_t stride) {
  uint64_t differ = 0;
  for (size_t y = 0; y < kSide; ++y) {
    for (size_t x = 0; x < kSide; ++x) differ |= bits_of(first[y * stride + x]) ^ bits_of(*first);
  }
  return differ == 0;
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
      kernels_(options.kernels != nullptr ? *options.kernels : kernels::trace_best()),
      may_be_bare_(!options.ends && options.grid == 1 && options.plan == nullptr &&
                   !rows.layout.positions && !rows.layout.hops && !options.per_frame) {}

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
  bare_ = may_be_bare_ && is_bare();
  if (bare_) want_box();
  for (auto it = nodes_.begin(); it != nodes_.end();) {
    Node& node = it->second;
    if (node.traced && node.uses == 0) pool_.give_back(std::move(node.loan));
    // What was read on suspicion and is not needed after all.
    if (!node.needed) let_go(node);
    it = node.needed ? std::next(it) : nodes_.erase(it);
  }
  for (auto it = nodes_.begin(); it != nodes_.end(); ++it) {
    Node& node = it->second;
    if (node.traced) continue;
    if (node.motion.untrusted) throw_untrusted(provider_, it->first);
    ensure_motion(it);
    if (options_.residual == ResidualKind::kCoded) ensure_residual(it);
    trace_later(it->first, node);
    release(node);
    let_go(node);
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
  const bool coded = options_.residual == ResidualKind::kCoded;
  const auto cells = static_cast<int64_t>(result_.geometry.w4()) * result_.geometry.h4();
  for (bool first = true; !wave.empty(); first = false) {
    if (options_.plan != nullptr) {
      // A vector and a code for each block.
      options_.plan->expect(wave.size(), cells * 5 + (coded ? residual_bytes() : 0));
    }
    std::vector<int32_t> pictures;
    for (int32_t picture : wave) {
      if (!nodes_[picture].read) pictures.push_back(picture);
    }
    if (!provider_.random_access()) add_hints(pictures);
    // The frames asked for mostly use their residual at once. It is large: of others, only as many
    // are read with it as can be held.
    const int64_t room = (options_.residual_budget - residual_held_) / residual_bytes();
    const size_t with = !coded  ? 0
                        : first ? pictures.size()
                                : static_cast<size_t>(std::clamp<int64_t>(
                                      room, 0, static_cast<int64_t>(pictures.size())));
    const std::span<const int32_t> all(pictures);
    if (with > 0) read(all.first(with), {.residual = true});
    if (with < pictures.size()) read(all.subspan(with), {});
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

void TraceGroup::read(std::span<const int32_t> pictures, const Reading& what) {
  const PlaneMask residual =
      mask_of(Plane::kResidualY) | (rows_.layout.residual_uv ? mask_of(Plane::kResidualUv) : 0);
  const PlaneMask planes =
      (what.motion ? provider_.motion_planes() : 0) | (what.residual ? residual : 0);
  provider_.read(pictures, planes, [&](int32_t number, const MotionView& view) {
    const Stopwatch watch(result_.stats.cpu_seconds);
    Node& node = nodes_[number];
    if (what.motion) {
      const bool again = std::exchange(node.read, true);
      if (!again) ++result_.stats.pictures_read;
      if (!again && node.row >= 0 && trace_now(number, node, view)) return;
      hold_motion(number, node, view, what.must_hold);
    }
    if (view.residual_y != nullptr) hold_residual(node, view, what.must_hold);
  });
}

void TraceGroup::hold_motion(int32_t picture, Node& node, const MotionView& view, bool must) {
  node.motion = select_motion(view, provider_, picture, result_.geometry, options_, fates_, false,
                              pool_.scratch());
  if (must || motion_held_ + motion_bytes() <= options_.motion_budget) {
    motion_held_ += motion_bytes();
  } else {
    node.motion.blocks = {};  // read again when its turn comes
  }
}

void TraceGroup::hold_residual(Node& node, const MotionView& view, bool must) {
  if (!must && residual_held_ + residual_bytes() > options_.residual_budget) return;
  node.residual_y.assign(view.residual_y, view.residual_y + luma());
  if (rows_.layout.residual_uv) {
    node.residual_uv.assign(view.residual_uv, view.residual_uv + luma() / 2);
  }
  residual_held_ += residual_bytes();
}

void TraceGroup::let_go(Node& node) {
  if (!node.motion.blocks.empty()) motion_held_ -= motion_bytes();
  if (!node.residual_y.empty()) residual_held_ -= residual_bytes();
  node.motion = {};
  node.residual_y = {};
  node.residual_uv = {};
}

// Reads the motion of this picture, and of those after it that fit, unless it is held already.
void TraceGroup::ensure_motion(Nodes::iterator first) {
  if (!first->second.motion.blocks.empty()) return;
  const int64_t room = (options_.motion_budget - motion_held_) / motion_bytes();
  std::vector<int32_t> pictures;
  for (auto it = first; it != nodes_.end(); ++it) {
    if (!pictures.empty() && static_cast<int64_t>(pictures.size()) >= room) break;
    if (!it->second.traced && it->second.motion.blocks.empty()) pictures.push_back(it->first);
  }
  read(pictures, {.must_hold = true});
}

void TraceGroup::ensure_residual(Nodes::iterator first) {
  if (!first->second.residual_y.empty()) return;
  const int64_t room = (options_.residual_budget - residual_held_) / residual_bytes();
  std::vector<int32_t> pictures;
  for (auto it = first; it != nodes_.end(); ++it) {
    if (!pictures.empty() && static_cast<int64_t>(pictures.size()) >= room) break;
    if (!it->second.traced && it->second.residual_y.empty()) pictures.push_back(it->first);
  }
  read(pictures, {.motion = false, .residual = true, .must_hold = true});
}

bool TraceGroup::is_bare() const {
  return std::none_of(nodes_.begin(), nodes_.end(), [](const auto& item) {
    const SelectedMotion& motion = item.second.motion;
    return motion.broken ||
           std::any_of(
               motion.sources.begin(), motion.sources.end(), [](const SelectedSource& source) {
                 return source.verdict.fate == Fate::kEnd && kernels::is_void(source.verdict.mask);
               });
  });
}

// Of the frames asked for the box is wanted, of others what these lead to.
void TraceGroup::want_box() {
  const auto [x, y, width, height] = options_.box;
  if (width == 0) return;
  const Geometry& g = result_.geometry;
  const int left = (x + g.crop_left) / 16;
  const int right = (x + g.crop_left + width - 1) / 16;
  const int top = (y + g.crop_top) / 16;
  const int bottom = (y + g.crop_top + height - 1) / 16;
  for (auto& [picture, node] : nodes_) {
    node.wanted.assign(static_cast<size_t>(g.w16()) * static_cast<size_t>(g.h16()), 0);
    if (node.row < 0) continue;
    for (int mb_y = top; mb_y <= bottom; ++mb_y) {
      std::fill_n(node.wanted.begin() + mb_y * g.w16() + left, right - left + 1, uint8_t{1});
    }
  }
  for (auto it = nodes_.rbegin(); it != nodes_.rend(); ++it) want_sources(it->second);
}

// The macroblocks that the traces of a picture's wanted ones lead to are wanted too.
void TraceGroup::want_sources(const Node& node) {
  const Geometry& g = result_.geometry;
  std::vector<Node*> sources;
  for (const SelectedSource& source : node.motion.sources) {
    const bool traced = source.verdict.fate == Fate::kTrace;
    sources.push_back(traced ? &nodes_.at(source.picture) : nullptr);
  }
  if (node.motion.blocks.empty()) {  // they are read again later
    for (Node* source : sources) {
      if (source != nullptr) std::fill(source->wanted.begin(), source->wanted.end(), uint8_t{1});
    }
    return;
  }
  const auto w4 = static_cast<size_t>(g.w4());
  // Chroma rounds in another place: its trace may lie two luma samples off.
  const int margin = rows_.layout.residual_uv ? 2 : 0;
  // Blocks [bx, bx + n) x [by, by + n), all of one motion.
  const auto want = [&](const kernels::BlockMotion& block, int bx, int by, int n) {
    if (block.source < 0) return;
    Node* source = sources[static_cast<size_t>(block.source)];
    if (source == nullptr) return;
    const int x = 4 * bx + kernels::luma_shift(block.x);
    const int y = 4 * by + kernels::luma_shift(block.y);
    const int left = kernels::clamp_to(x - margin, g.coded_width) >> 4;
    const int right = kernels::clamp_to(x + 4 * n - 1 + margin, g.coded_width) >> 4;
    const int top = kernels::clamp_to(y - margin, g.coded_height) >> 4;
    const int bottom = kernels::clamp_to(y + 4 * n - 1 + margin, g.coded_height) >> 4;
    for (int mb_y = top; mb_y <= bottom; ++mb_y) {
      uint8_t* row = source->wanted.data() + mb_y * g.w16();
      for (int mb_x = left; mb_x <= right; ++mb_x) row[mb_x] = 1;
    }
  };
  for (int mb_y = 0; mb_y < g.h16(); ++mb_y) {
    for (int mb_x = 0; mb_x < g.w16(); ++mb_x) {
      if (node.wanted[static_cast<size_t>(mb_y * g.w16() + mb_x)] == 0) continue;
      const kernels::BlockMotion* first =
          node.motion.blocks.data() + static_cast<size_t>(4 * mb_y) * w4 + 4 * mb_x;
      if (is_one_motion<4>(first, w4)) {
        want(*first, 4 * mb_x, 4 * mb_y, 4);
        continue;
      }
      for (int y = 0; y < 4; y += 2) {
        for (int x = 0; x < 4; x += 2) {
          const kernels::BlockMotion* corner =
              first + static_cast<size_t>(y) * w4 + static_cast<size_t>(x);
          const int bx = 4 * mb_x + x;
          const int by = 4 * mb_y + y;
          if (is_one_motion<2>(corner, w4)) {
            want(*corner, bx, by, 2);
            continue;
          }
          want(corner[0], bx, by, 1);
          want(corner[1], bx + 1, by, 1);
          want(corner[w4], bx, by + 1, 1);
          want(corner[w4 + 1], bx + 1, by + 1, 1);
        }
      }
    }
  }
}

// A frame asked for, from the planes as they come: true if all its references are traced already.
bool TraceGroup::trace_now(int32_t picture, Node& node, const MotionView& view) {
  if (options_.plan != nullptr || may_be_bare_) return false;
  if (view.residual_y == nullptr && rows_.layout.residual_y) return false;
  const Geometry& g = result_.geometry;
  const auto w4 = static_cast<size_t>(g.w4());
  if (some_rows_.empty()) {
    some_ =
        static_cast<int>(std::max<size_t>(1, kSomeBytes / sizeof(kernels::BlockMotion) / w4 / 4)) *
        4;
    some_rows_ = BlockArray(pool_.scratch(), static_cast<size_t>(some_) * w4);
    shapes_.resize(some_rows_.size() / 16);
  }
  SelectedMotion met;
  Selector selector(view, provider_, picture, g, options_, fates_, met);
  sources_.clear();
  node.may_void = false;
  node.reach = 0;
  // Words are kept for pictures to come.
  if (rows_.layout.packed && provider_.picture(picture).is_reference) {
    node.loan = pool_.take();
    node.map.packed = node.loan.map.packed;
  }
  share(node);
  kernels::TraceJob job = make_job(picture, node, view.residual_y, view.residual_uv);
  int64_t clipped = 0;
  for (int top = 0; top < g.h4(); top += some_) {
    const int bottom = std::min(top + some_, g.h4());
    const bool told = selector.rows(top, bottom, some_rows_.data(), shapes_.data());
    bool ready = !met.untrusted;
    for (size_t i = sources_.size(); ready && i < met.sources.size(); ++i) {
      const SelectedSource& source = met.sources[i];
      if (source.verdict.fate == Fate::kTrace) {
        const auto from = nodes_.find(source.picture);
        ready = from != nodes_.end() && from->second.traced;
      }
      if (ready) add_source(source, node);
    }
    if (!ready) {
      drop_words(node);
      return false;
    }
    job.sources = sources_.data();
    job.source_count = static_cast<int>(sources_.size());
    job.blocks = some_rows_.data();
    job.shapes = told ? shapes_.data() : nullptr;
    job.longest = met.longest;
    job.top = top;
    job.bottom = bottom;
    clipped += trace_rows(job);
  }
  finish(node, met, clipped);
  if (node.map.packed != nullptr) packed_.push_back(picture);
  for (; packed_.size() > kRecent; packed_.pop_front()) drop_words(nodes_.at(packed_.front()));
  return true;
}

void TraceGroup::trace_later(int32_t picture, Node& node) {
  const Stopwatch watch(result_.stats.cpu_seconds);
  if (options_.plan != nullptr) {
    // No map is made here.
  } else if (node.row < 0) {
    node.loan = pool_.take();
    node.map = node.loan.map;
  } else if (rows_.layout.packed && node.uses > 0) {
    node.loan = pool_.take();
    node.map.packed = node.loan.map.packed;
  }
  if (bare_) {
    node.map.end = nullptr;
    node.map.mask = nullptr;
    node.map.mask_uv = nullptr;
    if (node.row >= 0) result_.lost[static_cast<size_t>(node.row)] = 0;
  }
  sources_.clear();
  node.may_void = false;
  node.reach = 0;
  for (const SelectedSource& source : node.motion.sources) add_source(source, node);
  if (!bare_) share(node);
  kernels::TraceJob job = make_job(picture, node, node.residual_y.data(), node.residual_uv.data());
  job.sources = sources_.data();
  job.source_count = static_cast<int>(sources_.size());
  job.blocks = node.motion.blocks.data();
  job.longest = node.motion.longest;
  if (!node.wanted.empty()) job.wanted = node.wanted.data();
  if (options_.plan != nullptr) record(job, node);
  finish(node, node.motion, options_.plan != nullptr ? 0 : trace_rows(job));
}

void TraceGroup::add_source(const SelectedSource& selected, Node& node) {
  kernels::Source source;
  if (selected.verdict.fate == Fate::kEnd) {
    source.is_end = true;
    source.end = end_of(provider_.picture(selected.picture), selected.picture);
    result_.hidden_ends |= source.end < 0;
    source.mask = selected.verdict.mask;
  } else {
    Node& from = nodes_.at(selected.picture);
    if (options_.plan == nullptr && rows_.layout.packed && from.map.packed == nullptr) {
      repack(from);
      packed_.push_back(selected.picture);
    }
    source.map = from.map;
    source.may_void = from.may_void;
    source.reach = from.reach;
    node.may_void |= from.may_void;
    node.reach = std::max(node.reach, from.reach);
  }
  sources_.push_back(source);
}

kernels::TraceJob TraceGroup::make_job(int32_t picture, const Node& node, const int16_t* residual_y,
                                       const int16_t* residual_uv) {
  const Geometry& g = result_.geometry;
  kernels::TraceJob job;
  job.width = g.coded_width;
  job.height = g.coded_height;
  job.here = end_of(provider_.picture(picture), picture);
  result_.hidden_ends |= job.here < 0;
  job.out = node.map;
  if (rows_.layout.residual_y) job.residual_y = residual_y;
  if (rows_.layout.residual_uv) {
    job.residual_u = residual_uv;
    job.residual_v = residual_uv + luma() / 4;
  }
  return job;
}

int64_t TraceGroup::trace_rows(const kernels::TraceJob& job) const {
  if (options_.grid == 4) return kernels_.blocks(job);
  const int64_t clipped = kernels_.pixels(job);
  return rows_.layout.residual_uv ? clipped + kernels_.chroma(job) : clipped;
}

void TraceGroup::finish(Node& node, const SelectedMotion& motion, int64_t clipped) {
  node.may_void |= motion.broken;
  // Saturation keeps every sum within 16 bits.
  node.reach = std::min(node.reach + motion.longest, 32768);
  if (options_.plan == nullptr && node.reach > kFarReach) {
    node.reach = largest_displacement(node.map, rows_.layout.cells());
  }
  node.traced = true;
  result_.stats.saturated += clipped;
  ++result_.stats.pictures_traced;
}

// Memory for what the macroblocks of a map share.
void TraceGroup::share(Node& node) const {
  if (options_.plan != nullptr || options_.grid != 1) return;
  const Geometry& g = result_.geometry;
  node.shared = std::make_unique_for_overwrite<kernels::Shared[]>(static_cast<size_t>(g.w16()) *
                                                                  static_cast<size_t>(g.h16()));
  node.map.shared = node.shared.get();
}

// The words of a map whose planes are all that is left.
void TraceGroup::repack(Node& node) {
  node.loan = pool_.take();
  node.map.packed = node.loan.map.packed;
  const size_t cells = rows_.layout.cells();
  for (size_t i = 0; i < cells; ++i) {
    node.map.packed[i] =
        kernels::pack_cell(node.map.x[i], node.map.y[i], node.map.end[i], node.map.mask[i]);
  }
}

void TraceGroup::drop_words(Node& node) {
  pool_.give_back(std::move(node.loan));
  node.loan = {};
  node.map.packed = nullptr;
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
