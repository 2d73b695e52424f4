#include "accumulate/accumulate.h"

#include <algorithm>
#include <map>
#include <string>
#include <utility>

#include "accumulate/coviar.h"
#include "accumulate/fate.h"
#include "accumulate/group.h"
#include "accumulate/maps.h"
#include "accumulate/pixels.h"
#include "accumulate/plan.h"
#include "base/error.h"

namespace cvdecode {
namespace {

[[noreturn]] void refuse(const std::string& message) {
  throw Error(ErrorKind::kInvalidArgument, message);
}

void check_options(const AccumulateOptions& o) {
  if (o.grid != 1 && o.grid != 4) refuse("grid must be \"pixel\" or 4");
  if (o.grid == 4 && o.residual != ResidualKind::kNone) {
    refuse("residuals have one value per sample: grid=4 goes with residual=None only");
  }
  if (o.one_step && o.has_anchors) {
    refuse("hops=1 takes one step to the true reference and has no anchors; drop one of the two");
  }
  if (o.per_frame && !o.one_step) {
    refuse("per_frame=True divides the vectors of hops=1; pass hops=1 as well");
  }
  if (!o.coviar) return;
  if (o.has_anchors || o.select != Select::kNearest || o.intra != IntraPolicy::kStop ||
      o.cross != Cross::kFollow || o.grid != 1 || o.per_frame ||
      o.residual == ResidualKind::kCoded) {
    refuse(
        "mode=\"coviar\" fixes everything but frames, hops=1 and residual=\"recon_diff\": leave "
        "the other arguments at their defaults");
  }
}

// The segment of all frames; throws when there are two.
int32_t common_segment(const MotionProvider& provider, const std::vector<int64_t>& frames) {
  int32_t segment = -1;
  int64_t first = 0;
  for (const int64_t frame : frames) {
    const int32_t number = provider.find(frame);
    if (number < 0) {
      throw Error(ErrorKind::kIndex, "frame " + std::to_string(frame) + " is not there");
    }
    const int32_t own = provider.picture(number).segment;
    if (segment < 0) {
      segment = own;
      first = frame;
    } else if (own != segment) {
      int64_t boundary = std::min(first, frame) + 1;
      const int32_t low = first < frame ? segment : own;
      for (; boundary < std::max(first, frame); ++boundary) {
        const int32_t at = provider.find(boundary);
        if (at >= 0 && provider.picture(at).segment != low) break;
      }
      refuse("frames " + std::to_string(std::min(first, frame)) + " and " +
             std::to_string(std::max(first, frame)) +
             " lie in different segments (the coded size, crop or chroma format changes at frame " +
             std::to_string(boundary) + "): accumulate each segment by itself");
    }
  }
  return segment;
}

// hops=1 needs the blocks themselves: for the distances, and for both predictors.
void finish_one_step(MotionProvider& provider, const AccumulateOptions& options, int32_t segment,
                     const std::vector<WantedFrame>& frames, AccumulateResult& result,
                     const std::shared_ptr<Scratch>& scratch) {
  const Geometry& g = result.geometry;
  const bool both = options.residual == ResidualKind::kReconDiff;
  Fates fates(provider, options, segment, kNoPicture);
  std::vector<OneStepMotion> motions;
  std::vector<int32_t> pictures;
  for (const WantedFrame& frame : frames) {
    motions.push_back({frame, {}});
    if (fates.start(frame.picture).fate == Fate::kTrace) pictures.push_back(frame.picture);
  }
  size_t next = 0;
  if (!pictures.empty()) {
    provider.read(pictures, provider.motion_planes(), [&](int32_t number, const MotionView& view) {
      while (motions[next].frame.picture != number) ++next;
      motions[next].motion =
          select_motion(view, provider, number, g, options, fates, both, scratch);
    });
  }
  if (both) fill_one_step_diff(provider, motions, result, options.residual_budget);
  const size_t cell_width = static_cast<size_t>(g.coded_width / options.grid);
  const size_t cells = cell_width * static_cast<size_t>(g.coded_height / options.grid);
  const auto per_block = static_cast<size_t>(4 / options.grid);
  for (const OneStepMotion& one : motions) {
    const auto row = static_cast<size_t>(one.frame.row);
    auto* d = static_cast<int16_t*>(result.displacement->data()) + row * 2 * cells;
    auto* end = static_cast<int32_t*>(result.anchor->data()) + row * cells;
    auto* mask = static_cast<uint8_t*>(result.mask->data()) + row * cells;
    uint16_t* hops = result.hops == nullptr
                         ? nullptr
                         : static_cast<uint16_t*>(result.hops->data()) + row * cells;
    float* out = nullptr;
    if (options.per_frame) {
      out = static_cast<float*>(result.displacement_per_frame->data()) + row * 2 * cells;
      std::fill_n(out, 2 * cells, 0.0F);
    }
    if (one.motion.blocks.empty()) continue;
    const MotionPicture here = provider.picture(one.frame.picture);
    std::vector<float> distance;  // frames from the source to here, negative for the future
    for (const SelectedSource& source : one.motion.sources) {
      const MotionPicture r = provider.picture(source.picture);
      const auto frames_apart = static_cast<float>(reference_distance(here, r));
      distance.push_back(r.time < here.time ? frames_apart : -frames_apart);
    }
    for (size_t at = 0; at < cells; ++at) {
      const size_t by = at / cell_width / per_block;
      const size_t bx = at % cell_width / per_block;
      const kernels::BlockMotion& block = one.motion.blocks[by * static_cast<size_t>(g.w4()) + bx];
      if (block.source >= 0) {
        if (out == nullptr) continue;
        const float apart = distance[static_cast<size_t>(block.source)];
        if (apart == 0.0F) continue;
        out[at] = static_cast<float>(d[at]) / apart;
        out[cells + at] = static_cast<float>(d[cells + at]) / apart;
      } else if (block.source != kernels::kSourceStop) {
        // A bi-predicted block with one broken reference has no prediction: mask 2 wins.
        d[at] = d[cells + at] = 0;
        if (hops != nullptr) hops[at] = 0;
        end[at] = -1;
        mask[at] = block.source == kernels::kSourceCut ? kernels::kMaskCut : kernels::kMaskBroken;
      }
    }
  }
}

void check_box(const AccumulateOptions& options, const Geometry& g) {
  const auto [x, y, width, height] = options.box;
  if (width == 0 && height == 0) return;
  if (x >= 0 && y >= 0 && width > 0 && height > 0 && x <= g.width() - width &&
      y <= g.height() - height) {
    return;
  }
  refuse("the box (" + std::to_string(x) + ", " + std::to_string(y) + ", " + std::to_string(width) +
         ", " + std::to_string(height) + ") does not lie inside the " + std::to_string(g.width()) +
         "x" + std::to_string(g.height()) + " samples that are shown");
}

// Which frames are broken all over.
void find_lost(AccumulateResult& result) {
  const Geometry& g = result.geometry;
  const int width = g.coded_width / result.grid;
  const int height = g.coded_height / result.grid;
  const int left = g.crop_left / result.grid;
  const int top = g.crop_top / result.grid;
  const int right = (g.crop_left + g.width() - 1) / result.grid + 1;
  const int bottom = (g.crop_top + g.height() - 1) / result.grid + 1;
  for (size_t t = 0; t < result.lost.size(); ++t) {
    if (result.lost[t] != kAskMask) continue;
    const auto* mask = static_cast<const uint8_t*>(result.mask->data()) +
                       t * static_cast<size_t>(width) * static_cast<size_t>(height);
    bool lost = true;
    for (int y = top; lost && y < bottom; ++y) {
      const uint8_t* row = mask + static_cast<ptrdiff_t>(y) * width;
      lost = std::all_of(row + left, row + right,
                         [](uint8_t cell) { return cell == kernels::kMaskBroken; });
    }
    result.lost[t] = lost ? 1 : 0;
  }
}

}  // namespace

std::vector<std::string> trace_builds() {
  std::vector<std::string> names{kernels::trace_scalar().name};
  for (const kernels::TraceKernels& target : kernels::trace_targets()) {
    names.push_back(target.name);
  }
  return names;
}

const kernels::TraceKernels& trace_build(const std::string& name) {
  if (name == kernels::trace_scalar().name) return kernels::trace_scalar();
  for (const kernels::TraceKernels& target : kernels::trace_targets()) {
    if (target.name == name) return target;
  }
  throw Error(ErrorKind::kInvalidArgument, "this CPU runs no build of the kernels named " + name);
}

AccumulateResult accumulate(MotionProvider& provider, const AccumulateOptions& options,
                            AccumulateResult* reuse) {
  check_options(options);
  AccumulateResult result;
  result.frames = static_cast<int64_t>(options.frames.size());
  result.grid = options.grid;
  const int32_t segment = common_segment(provider, options.frames);
  result.geometry = provider.geometry(std::max(segment, 0));
  const Geometry& g = result.geometry;
  if (g.coded_width > 32767 || g.coded_height > 32767) {
    throw Error(ErrorKind::kUnsupported, "pictures larger than 32767 samples cannot be traced");
  }
  check_box(options, g);
  result.ends = options.ends;
  if (!options.ends) result.lost.assign(options.frames.size(), kAskMask);
  if (options.grid == 4) {
    // References lie at most 32767 frames away.
    int64_t most = provider.picture_count() + int64_t{16};
    for (const int64_t frame : options.frames) most = std::max(most, frame + 32768);
    if (most > kernels::PackedCell::kMostEnd) {
      throw Error(ErrorKind::kUnsupported,
                  "grid=4 names pictures in 24 bits: frames past 8 million need grid=\"pixel\"");
    }
  }
  // The memory of the work stays with a result that is used again, and with no other.
  auto scratch = reuse != nullptr && reuse->scratch != nullptr ? std::move(reuse->scratch)
                                                               : std::make_shared<Scratch>();
  if (reuse != nullptr) result.scratch = scratch;
  const ResultRows rows = ResultRows::allocate(options, result, reuse);
  // Unique pictures in decode order; repeats are copied at the end.
  std::map<int32_t, int64_t> row_of;
  std::vector<std::pair<int64_t, int64_t>> repeats;  // from row, to row
  for (int64_t row = 0; row < result.frames; ++row) {
    const int32_t number = provider.find(options.frames[static_cast<size_t>(row)]);
    const auto [it, fresh] = row_of.emplace(number, row);
    if (!fresh) repeats.emplace_back(it->second, row);
  }
  std::vector<WantedFrame> frames;
  for (const auto& [number, row] : row_of) frames.push_back({number, row});

  if (options.coviar) {
    trace_coviar(provider, options, segment, frames, result, rows);
  } else {
    // A given set of anchors: frames that share a wanted anchor share their maps.
    std::map<int32_t, std::vector<WantedFrame>> groups;
    for (const WantedFrame& frame : frames) {
      const int32_t wanted =
          options.has_anchors ? Fates::wanted_anchor(provider, options,
                                                     provider.picture(frame.picture).presentation)
                              : kNoPicture;
      groups[wanted].push_back(frame);
    }
    MapPool pool(rows.layout, scratch);
    for (const auto& [wanted, members] : groups) {
      TraceGroup group(provider, options, segment, wanted, result, rows, pool);
      group.run(members);
    }
    result.stats.peak_maps = pool.peak();
  }

  const bool recon = options.residual == ResidualKind::kReconDiff;
  if (options.plan != nullptr) {
    TracePlan& plan = *options.plan;
    plan.geometry = g;
    plan.grid = options.grid;
    plan.frames = result.frames;
    plan.layout = rows.layout;
    plan.repeats = std::move(repeats);
    plan.hidden_ends = result.hidden_ends;
    if (recon) plan_pixels(provider, frames, plan);
    return result;
  }
  if (options.one_step && !options.coviar && (recon || options.per_frame)) {
    finish_one_step(provider, options, segment, frames, result, scratch);
  } else if (recon) {
    fill_recon_diff(provider, frames, result, rows.positions,
                    options.kernels != nullptr ? *options.kernels : kernels::trace_best(),
                    options.residual_budget);
  }
  for (const auto& [from, to] : repeats) {
    rows.copy(result, from, to);
    if (!options.ends)
      result.lost[static_cast<size_t>(to)] = result.lost[static_cast<size_t>(from)];
  }

  if (!options.ends) {
    find_lost(result);
    return result;
  }
  if (!result.hidden_ends) return result;
  // Pictures that are not presented have no index to tell.
  auto* end = static_cast<int32_t*>(result.anchor->data());
  const size_t cells = static_cast<size_t>(result.frames) * rows.layout.cells();
  for (size_t i = 0; i < cells; ++i) {
    if (end[i] < -1) end[i] = -2;
  }
  return result;
}

}  // namespace cvdecode
