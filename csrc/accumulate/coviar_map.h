// The map of pytorch-coviar's loader: where each pixel of a picture came from in its GOP's first.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "frame/planes.h"

namespace cvdecode {

// What the pixels of a GOP's first picture are taken along by, picture after picture: their places
// or their colours.
// Only the display area exists: a vector counts where both the pixel and its source lie inside it.
template <typename Pixel>
class CoviarField {
 public:
  explicit CoviarField(const Geometry& geometry);

  // The first picture's, to be filled in: (H, W).
  Pixel* start();
  // A pixel takes over what its source has; intra blocks, blocks without motion and sources outside
  // the picture keep what is there. `mv`: list 0 of a picture, the x plane and then the y plane at
  // coded size.
  void step(const int16_t* mv);

  int width() const { return width_; }
  int height() const { return height_; }
  size_t size() const { return at(0, height_); }
  const Pixel* row(int y) const { return &now_[at(0, y)]; }

 private:
  size_t at(int x, int y) const {
    return static_cast<size_t>(y) * static_cast<size_t>(width_) + static_cast<size_t>(x);
  }
  void step_cells(int bx, int end, int by, int next, int dx, int dy);
  void step_run(int x0, int x1, int y0, int y1, int dx, int dy);

  Geometry geometry_;
  int width_, height_;
  std::vector<Pixel> now_, next_;
  std::vector<int16_t> shift_x_, shift_y_;  // (W4): whole samples, of the row of cells at hand
  std::vector<uint8_t> same_;               // (H4, W4): 1 = the cell is in next_ as it is in now_
};

// Where each pixel came from: x | y << 16.
class CoviarMap : public CoviarField<uint32_t> {
 public:
  using CoviarField::CoviarField;

  // Every pixel comes from its own place.
  void start();
  // int32 (H, W, 2): here minus there, (x, y).
  void write_vectors(int32_t* out) const;
};

struct Bgr {
  uint8_t b, g, r;
};

// The pixel of the first picture that each one came from.
class CoviarPixels : public CoviarField<Bgr> {
 public:
  using CoviarField::CoviarField;

  // uint8 (H, W, 3).
  void start(const uint8_t* first);
  // int32 (H, W, 3): `here`, uint8 (H, W, 3), minus the pixels that came from the first picture.
  void write_difference(const uint8_t* here, int32_t* out) const;
};

}  // namespace cvdecode
