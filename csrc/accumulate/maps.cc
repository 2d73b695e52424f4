#include "accumulate/maps.h"

#include <algorithm>
#include <cstring>
#include <utility>

namespace cvdecode {
namespace {

template <typename T>
T* at(const BufferPtr& buffer, size_t offset) {
  return buffer == nullptr ? nullptr : static_cast<T*>(buffer->data()) + offset;
}

// Rows of `bytes` each in `old`, if it is large enough, or in new memory.
BufferPtr make(size_t rows, size_t bytes, BufferPtr AccumulateResult::*which,
               AccumulateResult* reuse) {
  const size_t need = std::max<size_t>(rows * bytes, 1);
  if (reuse != nullptr && reuse->*which != nullptr && (reuse->*which)->size() >= need) {
    return std::move(reuse->*which);
  }
  return std::make_shared<Buffer>(need, false);
}

void copy_rows(const BufferPtr& buffer, size_t bytes, int64_t from, int64_t to) {
  if (buffer == nullptr) return;
  auto* base = static_cast<uint8_t*>(buffer->data());
  std::memcpy(base + static_cast<size_t>(to) * bytes, base + static_cast<size_t>(from) * bytes,
              bytes);
}

MapLayout layout_of(const AccumulateOptions& options, const Geometry& g) {
  MapLayout layout;
  layout.width = g.coded_width / options.grid;
  layout.height = g.coded_height / options.grid;
  layout.packed = options.grid == 4;
  layout.hops = options.count_hops;
  layout.positions = options.residual == ResidualKind::kReconDiff;
  layout.residual_y = options.residual == ResidualKind::kCoded;
  layout.residual_uv = layout.residual_y && g.chroma_format_idc == 1;
  return layout;
}

constexpr BufferPtr AccumulateResult::*kPositions = nullptr;  // which are no plane of a result

// Calls use(bytes of a row, the plane) for all that a call allocates by the frame.
template <typename Use>
void each_plane(const AccumulateOptions& options, const Geometry& g, const MapLayout& layout,
                const Use& use) {
  using R = AccumulateResult;
  const size_t cells = layout.cells();
  use(cells * 2 * sizeof(int16_t), &R::displacement);
  use(cells * sizeof(int32_t), &R::anchor);
  use(cells, &R::mask);
  if (layout.hops) use(cells * sizeof(uint16_t), &R::hops);
  if (layout.residual_y) use(cells * sizeof(int16_t), &R::residual_y);
  if (layout.residual_uv) {
    use(cells / 2 * sizeof(int16_t), &R::residual_uv);
    use(cells / 4, &R::mask_uv);
  }
  if (options.per_frame) use(cells * 2 * sizeof(float), &R::displacement_per_frame);
  if (layout.positions) {
    const size_t display = static_cast<size_t>(g.width()) * static_cast<size_t>(g.height());
    use(display * 3 * sizeof(int16_t), &R::residual);
    use(cells * 2 * sizeof(int16_t), kPositions);
  }
}

}  // namespace

int32_t largest_displacement(const kernels::Map& map, size_t cells) {
  int16_t most = 0;
  int16_t least = 0;
  const auto meet = [&](int16_t v) {
    most = std::max(most, v);
    least = std::min(least, v);
  };
  if (map.packed != nullptr) {
    for (size_t i = 0; i < cells; ++i) {
      meet(kernels::cell_x(map.packed[i]));
      meet(kernels::cell_y(map.packed[i]));
    }
  } else {
    for (size_t i = 0; i < cells; ++i) meet(map.x[i]);
    for (size_t i = 0; i < cells; ++i) meet(map.y[i]);
  }
  return std::max(int32_t{most}, -int32_t{least});
}

MapPool::Loan MapPool::take() {
  peak_ = std::max(peak_, ++out_);
  const size_t cells = layout_.cells();
  const size_t chroma = cells / 4;
  size_t bytes = layout_.packed ? cells * sizeof(uint64_t)
                                : cells * (2 * sizeof(int16_t) + sizeof(int32_t) + sizeof(uint8_t));
  if (layout_.positions) bytes += cells * 2 * sizeof(int16_t);
  if (layout_.hops) bytes += cells * sizeof(uint16_t);
  if (layout_.residual_y) bytes += cells * sizeof(int16_t);
  if (layout_.residual_uv) bytes += chroma * (2 * sizeof(int16_t) + sizeof(uint8_t));

  Loan loan;
  loan.memory = scratch_->take(bytes);
  auto* next = static_cast<uint8_t*>(loan.memory->data());
  const auto carve = [&next](size_t count, auto*& plane) {
    plane = reinterpret_cast<std::remove_reference_t<decltype(plane)>>(next);
    next += count * sizeof(*plane);
  };
  // Widest first, so that every plane is aligned to its own elements.
  if (layout_.packed) {
    carve(cells, loan.map.packed);
  } else {
    carve(cells, loan.map.end);
    carve(cells, loan.map.x);
    carve(cells, loan.map.y);
  }
  if (layout_.positions) {
    carve(cells, loan.map.at_x);
    carve(cells, loan.map.at_y);
  }
  if (layout_.hops) carve(cells, loan.map.hops);
  if (layout_.residual_y) carve(cells, loan.map.residual_y);
  if (layout_.residual_uv) {
    carve(chroma, loan.map.residual_u);
    carve(chroma, loan.map.residual_v);
  }
  if (!layout_.packed) carve(cells, loan.map.mask);
  if (layout_.residual_uv) carve(chroma, loan.map.mask_uv);
  return loan;
}

void MapPool::give_back(Loan loan) {
  if (loan.memory == nullptr) return;
  --out_;
  scratch_->give_back(std::move(loan.memory));
}

RowBytes row_bytes(const AccumulateOptions& options, const Geometry& geometry) {
  RowBytes sum;
  each_plane(options, geometry, layout_of(options, geometry),
             [&](size_t bytes, BufferPtr AccumulateResult::*which) {
               // per_frame gives the quotients alone.
               const bool work = which == kPositions ||
                                 (options.per_frame && which == &AccumulateResult::displacement);
               (work ? sum.work : sum.kept) += bytes;
             });
  return sum;
}

ResultRows ResultRows::allocate(const AccumulateOptions& options, AccumulateResult& result,
                                AccumulateResult* reuse) {
  ResultRows rows;
  rows.layout = layout_of(options, result.geometry);
  if (options.plan != nullptr) return rows;  // nothing is computed here
  const auto frames = static_cast<size_t>(result.frames);
  each_plane(
      options, result.geometry, rows.layout, [&](size_t bytes, BufferPtr AccumulateResult::*which) {
        if (which == kPositions) {
          rows.positions = std::make_shared<Buffer>(std::max<size_t>(1, frames * bytes), false);
        } else {
          result.*which = make(frames, bytes, which, reuse);
        }
      });
  return rows;
}

kernels::Map ResultRows::row(const AccumulateResult& result, int64_t t) const {
  const size_t cells = layout.cells();
  const size_t first = static_cast<size_t>(t) * cells;
  kernels::Map map;
  map.x = at<int16_t>(result.displacement, 2 * first);
  map.y = map.x + cells;
  map.end = at<int32_t>(result.anchor, first);
  map.mask = at<uint8_t>(result.mask, first);
  map.hops = at<uint16_t>(result.hops, first);
  map.residual_y = at<int16_t>(result.residual_y, first);
  map.residual_u = at<int16_t>(result.residual_uv, first / 2);
  if (map.residual_u != nullptr) map.residual_v = map.residual_u + cells / 4;
  map.mask_uv = at<uint8_t>(result.mask_uv, first / 4);
  map.at_x = at<int16_t>(positions, 2 * first);
  if (map.at_x != nullptr) map.at_y = map.at_x + cells;
  return map;
}

void ResultRows::copy(const AccumulateResult& result, int64_t from, int64_t to) const {
  const size_t cells = layout.cells();
  copy_rows(result.displacement, cells * 2 * sizeof(int16_t), from, to);
  copy_rows(result.displacement_per_frame, cells * 2 * sizeof(float), from, to);
  copy_rows(result.anchor, cells * sizeof(int32_t), from, to);
  copy_rows(result.mask, cells, from, to);
  copy_rows(result.hops, cells * sizeof(uint16_t), from, to);
  copy_rows(result.residual_y, cells * sizeof(int16_t), from, to);
  copy_rows(result.residual_uv, cells / 2 * sizeof(int16_t), from, to);
  copy_rows(result.mask_uv, cells / 4, from, to);
  const size_t display =
      static_cast<size_t>(result.geometry.width()) * static_cast<size_t>(result.geometry.height());
  copy_rows(result.residual, 3 * display * sizeof(int16_t), from, to);
}

}  // namespace cvdecode
