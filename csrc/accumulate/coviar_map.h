// The map of pytorch-coviar's loader: where each pixel of a picture came from in its GOP's first.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "frame/planes.h"

namespace cvdecode {

// Only the display area exists: a vector counts where both the pixel and its source lie inside it.
class CoviarMap {
 public:
  explicit CoviarMap(const Geometry& geometry);

  // Every pixel comes from its own place.
  void start();
  // A pixel takes over the trace of its source; intra blocks, blocks without motion and sources
  // outside the picture keep the trace that is there. `mv`: list 0 of a picture, the x plane and
  // then the y plane at coded size.
  void step(const int16_t* mv);

  int width() const { return width_; }
  int height() const { return height_; }
  // x | y << 16 of the pixel that this one came from.
  uint32_t trace(int x, int y) const { return trace_[at(x, y)]; }
  const uint32_t* row(int y) const { return &trace_[at(0, y)]; }

  // int32 (H, W, 2): here minus there, (x, y).
  void write_vectors(int32_t* out) const;
  // int32 (H, W, 3): `here` minus `there` where the pixel came from; both uint8 (H, W, 3).
  void write_difference(const uint8_t* here, const uint8_t* there, int32_t* out) const;

 private:
  size_t at(int x, int y) const {
    return static_cast<size_t>(y) * static_cast<size_t>(width_) + static_cast<size_t>(x);
  }
  void step_run(int x0, int x1, int y0, int y1, int dx, int dy);

  Geometry geometry_;
  int width_, height_;
  std::vector<uint32_t> trace_, next_;
};

}  // namespace cvdecode
