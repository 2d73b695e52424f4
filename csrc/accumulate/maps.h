// Memory of maps: rows of the result for the frames asked for, recycled blocks for the rest.
#pragma once

#include <cstdint>
#include <memory>
#include <utility>
#include <vector>

#include "accumulate/accumulate.h"
#include "accumulate/scratch.h"
#include "base/buffer.h"
#include "kernels/trace.h"

namespace cvdecode {

// Which planes a map has and how large they are.
struct MapLayout {
  int width = 0;  // cells: samples, or 4x4 blocks for grid=4
  int height = 0;
  bool packed = false;  // grid=4: words instead of the planes x, y, end, mask
  bool hops = false;
  bool positions = false;
  bool residual_y = false;
  bool residual_uv = false;

  size_t cells() const { return static_cast<size_t>(width) * static_cast<size_t>(height); }
};

// The largest component of a displacement, absolute.
int32_t largest_displacement(const kernels::Map& map, size_t cells);

// Lends maps; given back, they are lent again.
class MapPool {
 public:
  MapPool(const MapLayout& layout, std::shared_ptr<Scratch> scratch)
      : layout_(layout), scratch_(std::move(scratch)) {}
  MapPool(const MapPool&) = delete;
  MapPool& operator=(const MapPool&) = delete;

  struct Loan {
    kernels::Map map;
    std::unique_ptr<Buffer> memory;
  };
  // A whole map, or (grid=4) the words that go with planes which are the result's.
  Loan take();
  const std::shared_ptr<Scratch>& scratch() const { return scratch_; }
  void give_back(Loan loan);
  int64_t peak() const { return peak_; }

 private:
  MapLayout layout_;
  std::shared_ptr<Scratch> scratch_;
  int64_t out_ = 0;
  int64_t peak_ = 0;
};

// What a frame of a result takes.
struct RowBytes {
  size_t kept = 0;  // planes that the caller gets
  size_t work = 0;  // beside them until the call returns
};
RowBytes row_bytes(const AccumulateOptions& options, const Geometry& geometry);

// The buffers of a result, what is carried beside them, and its rows as maps.
struct ResultRows {
  MapLayout layout;
  BufferPtr positions;  // int16 (T, 2, h, w)

  // Allocates what the options ask for, or takes it from `reuse`.
  static ResultRows allocate(const AccumulateOptions& options, AccumulateResult& result,
                             AccumulateResult* reuse);
  kernels::Map row(const AccumulateResult& result, int64_t t) const;
  // Repeats row `from` as row `to` (a frame asked for twice).
  void copy(const AccumulateResult& result, int64_t from, int64_t to) const;
};

}  // namespace cvdecode
