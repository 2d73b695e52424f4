#include "accumulate/device_batch.h"

#include <algorithm>
#include <cstring>
#include <map>
#include <string>
#include <tuple>
#include <utility>

#include "base/error.h"

namespace cvdecode {
namespace {

using kernels::DiffStep;
using kernels::EndPixels;
using kernels::GridStep;
using kernels::HideStep;
using kernels::Kernel;
using kernels::Launch;
using kernels::Map;
using kernels::Source;

constexpr size_t kAlign = 256;

size_t aligned(size_t bytes) { return (bytes + kAlign - 1) / kAlign * kAlign; }

template <typename T>
T* pointer(uintptr_t base, size_t offset) {
  return reinterpret_cast<T*>(base + offset);
}

template <typename T>
T* output(uintptr_t base, size_t elements) {
  return base == 0 ? nullptr : pointer<T>(base, elements * sizeof(T));
}

template <typename T>
void write(uint8_t* host, size_t offset, const std::vector<T>& values) {
  if (!values.empty()) std::memcpy(host + offset, values.data(), values.size() * sizeof(T));
}

auto options_of(const TracePlan& plan) {
  const MapLayout& l = plan.layout;
  return std::make_tuple(plan.grid, l.hops, l.positions, l.residual_y, l.residual_uv);
}

}  // namespace

size_t DeviceBatch::reserve(size_t bytes) {
  const size_t at = upload_bytes_;
  upload_bytes_ += aligned(bytes);
  return at;
}

DeviceBatch::DeviceBatch(std::vector<std::shared_ptr<const TracePlan>> plans)
    : plans_(std::move(plans)) {
  size_t rows = 0;
  for (size_t clip = 0; clip < plans_.size(); ++clip) {
    const TracePlan& plan = *plans_[clip];
    if (!(plan.geometry == plans_[0]->geometry) || options_of(plan) != options_of(*plans_[0])) {
      throw Error(ErrorKind::kInvalidArgument,
                  "the clips of a batch have one coded size, crop and set of options");
    }
    places_.emplace_back(plan.steps.size());
    for (size_t step = 0; step < plan.steps.size(); ++step) {
      Item item;
      item.clip = clip;
      item.step = step;
      items_.push_back(item);
    }
    diffs_ += plan.wanted.size();
    rows += static_cast<size_t>(plan.hidden_ends);
  }
  const auto level = [this](const Item& item) { return plans_[item.clip]->steps[item.step].level; };
  std::stable_sort(items_.begin(), items_.end(),
                   [&](const Item& a, const Item& b) { return level(a) < level(b); });
  table_ = reserve(items_.size() * sizeof(GridStep));
  diff_table_ = reserve(diffs_ * sizeof(DiffStep));
  hide_table_ = reserve(rows * sizeof(HideStep));
  for (size_t i = 0; i < items_.size(); ++i) {
    Item& item = items_[i];
    const PlanStep& step = plans_[item.clip]->steps[item.step];
    places_[item.clip][item.step] = i;
    if (step.is_end) continue;
    item.sources = reserve(step.sources.size() * sizeof(Source));
    item.vectors = reserve(step.vectors.size() * sizeof(uint32_t));
    item.codes = reserve(step.codes.size());
    item.residual_y = reserve(step.residual_y.size() * sizeof(int16_t));
    item.residual_uv = reserve(step.residual_uv.size() * sizeof(int16_t));
  }
  for (const auto& plan : plans_) {
    end_tables_.push_back(reserve(plan->pixels.size() * sizeof(EndPixels)));
    std::vector<size_t>& own = pixels_.emplace_back();
    for (const PlanPixels& pixels : plan->pixels) own.push_back(reserve(pixels.rgb.size()));
  }
  place_maps();
}

// Of what a step needs beside the rows of the result.
size_t DeviceBatch::map_bytes(const PlanStep& step) const {
  const MapLayout& layout = plans_[0]->layout;
  const size_t cells = layout.cells();
  if (layout.packed) return cells * (sizeof(uint64_t) + (step.row < 0 && layout.hops ? 2 : 0));
  size_t bytes = cells * 9;
  if (layout.positions) bytes += cells * 4;
  if (layout.hops) bytes += cells * 2;
  if (layout.residual_y) bytes += cells * 2;
  if (layout.residual_uv) bytes += cells / 4 * 5;
  return bytes;
}

// Level by level, a map takes over the place of one that no later level looks at.
void DeviceBatch::place_maps() {
  const MapLayout layout = plans_.empty() ? MapLayout{} : plans_[0]->layout;
  std::vector<int32_t> last(items_.size(), -1);  // level of the last look at a map, -1 = none
  for (const Item& item : items_) {
    const PlanStep& step = plans_[item.clip]->steps[item.step];
    for (const PlanSource& source : step.sources) {
      if (source.step < 0) continue;
      int32_t& of = last[places_[item.clip][static_cast<size_t>(source.step)]];
      of = std::max(of, step.level);
    }
  }
  std::multimap<size_t, size_t> free;                              // bytes -> offset
  std::map<int32_t, std::vector<std::pair<size_t, size_t>>> held;  // until that level
  for (size_t i = 0; i < items_.size(); ++i) {
    Item& item = items_[i];
    const PlanStep& step = plans_[item.clip]->steps[item.step];
    while (!held.empty() && held.begin()->first < step.level) {
      for (const auto& place : held.begin()->second) free.insert(place);
      held.erase(held.begin());
    }
    if (step.row >= 0 && layout.positions) {
      item.positions = scratch_bytes_;
      scratch_bytes_ += aligned(layout.cells() * 4);
    }
    if (step.row >= 0 && !(layout.packed && last[i] >= 0)) continue;
    const size_t bytes = aligned(map_bytes(step));
    const auto it = free.find(bytes);
    if (it == free.end()) {
      item.map = scratch_bytes_;
      scratch_bytes_ += bytes;
    } else {
      item.map = it->second;
      free.erase(it);
    }
    held[std::max(last[i], step.level)].emplace_back(bytes, item.map);
  }
}

Map DeviceBatch::row_of(int64_t row, const DeviceOutputs& out) const {
  const size_t cells = plans_[0]->layout.cells();
  const size_t first = static_cast<size_t>(row) * cells;
  Map map;
  map.x = output<int16_t>(out.displacement, 2 * first);
  map.y = map.x + cells;
  map.end = output<int32_t>(out.anchor, first);
  map.mask = output<uint8_t>(out.mask, first);
  map.hops = output<uint16_t>(out.hops, first);
  map.residual_y = output<int16_t>(out.residual_y, first);
  map.residual_u = output<int16_t>(out.residual_uv, first / 2);
  if (map.residual_u != nullptr) map.residual_v = map.residual_u + cells / 4;
  map.mask_uv = output<uint8_t>(out.mask_uv, first / 4);
  return map;
}

Map DeviceBatch::map_of(const Item& item, uintptr_t scratch, const DeviceOutputs& out) const {
  const MapLayout& layout = plans_[0]->layout;
  const size_t cells = layout.cells();
  const PlanStep& step = plans_[item.clip]->steps[item.step];
  Map map;
  if (step.row >= 0) {
    map = row_of(step.row, out);
    if (item.map != kNowhere) map.packed = pointer<uint64_t>(scratch, item.map);
    if (item.positions != kNowhere) {
      map.at_x = pointer<int16_t>(scratch, item.positions);
      map.at_y = map.at_x + cells;
    }
    return map;
  }
  uintptr_t next = scratch + item.map;
  const auto carve = [&next](size_t count, auto*& plane) {
    plane = reinterpret_cast<std::remove_reference_t<decltype(plane)>>(next);
    next += count * sizeof(*plane);
  };
  // Whole multiples of 16 cells, widest first: every row of four is aligned.
  if (layout.packed) {
    carve(cells, map.packed);
  } else {
    carve(cells, map.end);
    carve(cells, map.x);
    carve(cells, map.y);
  }
  if (layout.positions) {
    carve(cells, map.at_x);
    carve(cells, map.at_y);
  }
  if (layout.hops) carve(cells, map.hops);
  if (layout.residual_y) carve(cells, map.residual_y);
  if (layout.residual_uv) {
    carve(cells / 4, map.residual_u);
    carve(cells / 4, map.residual_v);
  }
  if (!layout.packed) carve(cells, map.mask);
  if (layout.residual_uv) carve(cells / 4, map.mask_uv);
  return map;
}

std::vector<size_t> DeviceBatch::items_of_rows(size_t clip) const {
  std::vector<size_t> items(static_cast<size_t>(plans_[clip]->frames), kNowhere);
  for (const size_t item : places_[clip]) {
    const int64_t row = plans_[clip]->steps[items_[item].step].row;
    if (row >= 0 && row < plans_[clip]->frames) items[static_cast<size_t>(row)] = item;
  }
  return items;
}

std::vector<Launch> DeviceBatch::pack(uint8_t* host, uintptr_t device, uintptr_t scratch,
                                      std::span<const DeviceOutputs> outputs) const {
  if (outputs.size() != plans_.size()) {
    throw Error(ErrorKind::kInvalidArgument, "one set of outputs for each clip");
  }
  if (plans_.empty()) return {};
  const TracePlan& any = *plans_[0];
  const Geometry& g = any.geometry;
  std::vector<Launch> launches;
  std::vector<GridStep> table;
  std::vector<Source> sources;
  int32_t level = -1;
  for (const Item& item : items_) {
    const PlanStep& step = plans_[item.clip]->steps[item.step];
    GridStep grid;
    grid.job.width = g.coded_width;
    grid.job.height = g.coded_height;
    grid.job.here = step.here;
    grid.job.out = map_of(item, scratch, outputs[item.clip]);
    grid.clipped = reinterpret_cast<uint64_t*>(outputs[item.clip].clipped);
    if (!step.is_end) {
      sources.clear();
      for (const PlanSource& from : step.sources) {
        Source source;
        if (from.step < 0) {
          source.is_end = true;
          source.end = from.end;
          source.mask = from.mask;
        } else {
          const size_t place = places_[item.clip][static_cast<size_t>(from.step)];
          source.map = map_of(items_[place], scratch, outputs[item.clip]);
        }
        sources.push_back(source);
      }
      write(host, item.sources, sources);
      write(host, item.vectors, step.vectors);
      write(host, item.codes, step.codes);
      write(host, item.residual_y, step.residual_y);
      write(host, item.residual_uv, step.residual_uv);
      grid.job.sources = pointer<Source>(device, item.sources);
      grid.vectors = pointer<uint32_t>(device, item.vectors);
      grid.codes = pointer<uint8_t>(device, item.codes);
      if (any.layout.residual_y) grid.job.residual_y = pointer<int16_t>(device, item.residual_y);
      if (any.layout.residual_uv) {
        grid.job.residual_u = pointer<int16_t>(device, item.residual_uv);
        grid.job.residual_v = grid.job.residual_u + any.layout.cells() / 4;
      }
    }
    if (step.level != level) {
      level = step.level;
      const uintptr_t first = device + table_ + table.size() * sizeof(GridStep);
      const int wide = g.coded_width / 4;
      if (any.grid == 4) {
        launches.push_back({Kernel::kBlocks, first, 0, wide, g.coded_height / 4});
      } else {
        launches.push_back({Kernel::kLuma, first, 0, wide, g.coded_height});
        if (any.layout.residual_uv) {
          launches.push_back({Kernel::kChroma, first, 0, wide, g.coded_height / 2});
        }
      }
    }
    ++launches.back().count;
    if (any.layout.residual_uv) ++launches[launches.size() - 2].count;
    table.push_back(grid);
  }
  write(host, table_, table);

  std::vector<DiffStep> diffs;
  std::vector<HideStep> hides;
  for (size_t clip = 0; clip < plans_.size(); ++clip) {
    const TracePlan& plan = *plans_[clip];
    std::vector<EndPixels> ends;
    for (size_t i = 0; i < plan.pixels.size(); ++i) {
      write(host, pixels_[clip][i], plan.pixels[i].rgb);
      ends.push_back({plan.pixels[i].end, pointer<uint8_t>(device, pixels_[clip][i])});
    }
    write(host, end_tables_[clip], ends);
    const std::vector<size_t> items =
        plan.wanted.empty() ? std::vector<size_t>{} : items_of_rows(clip);
    for (const auto& [row, place] : plan.wanted) {
      const auto at = static_cast<size_t>(row);
      if (at >= items.size() || items[at] == kNowhere) {
        throw Error(ErrorKind::kState, "internal error: the plan of clip " + std::to_string(clip) +
                                           " makes no map for row " + std::to_string(row) +
                                           ", whose residual is asked for; please report it");
      }
      DiffStep diff;
      diff.map = map_of(items_[items[at]], scratch, outputs[clip]);
      diff.coded_width = g.coded_width;
      diff.crop_left = g.crop_left;
      diff.crop_top = g.crop_top;
      diff.width = g.width();
      diff.height = g.height();
      diff.here = pointer<uint8_t>(device, pixels_[clip][static_cast<size_t>(place)]);
      diff.ends = pointer<EndPixels>(device, end_tables_[clip]);
      diff.end_count = static_cast<int32_t>(ends.size());
      diff.out = output<int16_t>(outputs[clip].residual, static_cast<size_t>(row) * 3 *
                                                             static_cast<size_t>(g.width()) *
                                                             static_cast<size_t>(g.height()));
      diffs.push_back(diff);
    }
    if (plan.hidden_ends) {
      hides.push_back({reinterpret_cast<int32_t*>(outputs[clip].anchor),
                       plan.frames * static_cast<int64_t>(plan.layout.cells())});
    }
  }
  write(host, diff_table_, diffs);
  write(host, hide_table_, hides);
  if (!diffs.empty()) {
    launches.push_back({Kernel::kDiff, device + diff_table_, static_cast<int>(diffs.size()),
                        g.width(), g.height()});
  }
  if (!hides.empty()) {
    int64_t most = 0;
    for (const HideStep& hide : hides) most = std::max(most, hide.count);
    launches.push_back({Kernel::kHide, device + hide_table_, static_cast<int>(hides.size()),
                        kernels::kHideRow,
                        static_cast<int>((most + kernels::kHideRow - 1) / kernels::kHideRow)});
  }
  return launches;
}

}  // namespace cvdecode
