#include "accumulate/plan.h"

#include <algorithm>
#include <map>
#include <set>
#include <string>

#include "accumulate/group.h"
#include "base/error.h"
#include "kernels/cuda/grid.h"

namespace cvdecode {
namespace {

uint8_t code_of(const kernels::BlockMotion& block) {
  switch (block.source) {
    case kernels::kSourceStop: return kernels::kCodeStop;
    case kernels::kSourceBroken: return kernels::kCodeBroken;
    case kernels::kSourceCut: return kernels::kCodeCut;
    default: return static_cast<uint8_t>(block.source);
  }
}

}  // namespace

void TracePlan::expect(size_t pictures, int64_t bytes_each) {
  const int64_t own = static_cast<int64_t>(pictures) * bytes_each;
  if (own > most_bytes - bytes) {
    throw Error(ErrorKind::kMemory,
                "what a GPU needs for these frames and the pictures behind them takes " +
                    std::to_string((bytes + own) / 1000000) +
                    " MB or more, above max_bytes = " + std::to_string(most_bytes / 1000000) +
                    " MB; ask for fewer frames or clips at a time, nearer anchors, or "
                    "device=\"cpu\"");
  }
  bytes += own;
}

int32_t TracePlan::add_end(int64_t row, int32_t end) {
  PlanStep step;
  step.row = row;
  step.here = end;
  step.is_end = true;
  steps.push_back(std::move(step));
  return static_cast<int32_t>(steps.size()) - 1;
}

int32_t TracePlan::add(const kernels::TraceJob& job, int64_t row, std::vector<PlanSource> sources) {
  if (sources.size() > kernels::kMostSources) {
    throw Error(ErrorKind::kUnsupported,
                "a picture refers to " + std::to_string(sources.size()) +
                    " others, and a device tells at most 253 apart; use device=\"cpu\"");
  }
  PlanStep step;
  step.row = row;
  step.here = job.here;
  for (const PlanSource& source : sources) {
    if (source.step < 0) continue;
    step.level = std::max(step.level, steps[static_cast<size_t>(source.step)].level + 1);
  }
  step.sources = std::move(sources);
  const auto cells = static_cast<size_t>(job.width / 4) * static_cast<size_t>(job.height / 4);
  step.vectors.resize(cells);
  step.codes.resize(cells);
  for (size_t i = 0; i < cells; ++i) {
    const kernels::BlockMotion& block = job.blocks[i];
    step.vectors[i] = static_cast<uint32_t>(static_cast<uint16_t>(block.x)) |
                      static_cast<uint32_t>(static_cast<uint16_t>(block.y)) << 16;
    step.codes[i] = code_of(block);
  }
  const auto luma = static_cast<size_t>(job.width) * static_cast<size_t>(job.height);
  if (job.residual_y != nullptr) step.residual_y.assign(job.residual_y, job.residual_y + luma);
  if (job.residual_u != nullptr) {  // v follows u
    step.residual_uv.assign(job.residual_u, job.residual_u + luma / 2);
  }
  steps.push_back(std::move(step));
  return static_cast<int32_t>(steps.size()) - 1;
}

void plan_pixels(MotionProvider& provider, std::span<const WantedFrame> frames, TracePlan& plan) {
  std::map<int32_t, std::vector<int64_t>> rows;  // decode number -> rows of the result
  for (const WantedFrame& frame : frames) rows[frame.picture].push_back(frame.row);
  std::set<int32_t> pictures;
  for (const auto& [picture, unused] : rows) pictures.insert(picture);
  for (const PlanStep& step : plan.steps) {
    if (std::find(step.codes.begin(), step.codes.end(), kernels::kCodeStop) != step.codes.end()) {
      pictures.insert(picture_of_end(provider, step.here));
    }
    for (const PlanSource& source : step.sources) {
      if (source.step < 0) pictures.insert(picture_of_end(provider, source.end));
    }
  }
  const std::vector<int32_t> ascending(pictures.begin(), pictures.end());
  if (ascending.empty()) return;
  const Geometry& g = plan.geometry;
  const size_t bytes = 3 * static_cast<size_t>(g.width()) * static_cast<size_t>(g.height());
  plan.expect(ascending.size(), static_cast<int64_t>(bytes));
  std::vector<std::pair<PlanPixels, int32_t>> read;  // pixels, decode number
  provider.read(ascending, mask_of(Plane::kRgb), [&](int32_t number, const MotionView& view) {
    PlanPixels pixels;
    pixels.end = end_of(provider.picture(number), number);
    pixels.rgb.assign(view.rgb, view.rgb + bytes);
    read.emplace_back(std::move(pixels), number);
  });
  std::sort(read.begin(), read.end(),
            [](const auto& a, const auto& b) { return a.first.end < b.first.end; });
  for (auto& [pixels, number] : read) {
    const auto it = rows.find(number);
    if (it != rows.end()) {
      for (const int64_t row : it->second) {
        plan.wanted.emplace_back(row, static_cast<int32_t>(plan.pixels.size()));
      }
    }
    plan.pixels.push_back(std::move(pixels));
  }
}

TracePlan plan_accumulation(MotionProvider& provider, const AccumulateOptions& options,
                            int64_t most_bytes) {
  if (options.coviar || options.per_frame ||
      (options.one_step && options.residual == ResidualKind::kReconDiff)) {
    throw Error(ErrorKind::kInvalidArgument,
                "mode=\"coviar\", per_frame=True and the residual of hops=1 are computed on the "
                "CPU only: leave device out and move the result");
  }
  TracePlan plan;
  plan.most_bytes = most_bytes;
  AccumulateOptions recorded = options;
  recorded.plan = &plan;
  // All of it goes over, and is held in one place: here until it is in the plan.
  recorded.residual_budget = most_bytes;
  recorded.motion_budget = std::min(options.motion_budget, most_bytes);
  plan.stats = accumulate(provider, recorded).stats;
  return plan;
}

}  // namespace cvdecode
