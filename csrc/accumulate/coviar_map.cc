#include "accumulate/coviar_map.h"

#include <algorithm>
#include <cstring>
#include <numeric>
#include <utility>

namespace cvdecode {

namespace {

void subtract(const uint8_t* __restrict a, const uint8_t* __restrict b, int32_t* __restrict out,
              size_t count) {
  for (size_t i = 0; i < count; ++i) out[i] = a[i] - b[i];
}

}  // namespace

CoviarMap::CoviarMap(const Geometry& geometry)
    : geometry_(geometry), width_(geometry.width()), height_(geometry.height()) {}

void CoviarMap::start() {
  trace_.resize(at(0, height_));
  next_.resize(trace_.size());
  for (int y = 0; y < height_; ++y) {
    std::iota(&trace_[at(0, y)], &trace_[at(0, y)] + width_, static_cast<uint32_t>(y) << 16);
  }
}

// Pixels [x0, x1) of the rows [y0, y1), which all move alike.
void CoviarMap::step_run(int x0, int x1, int y0, int y1, int dx, int dy) {
  // Those whose source lies beside the picture keep their trace.
  const int from = std::clamp(-dx, x0, x1);
  const int to = std::clamp(width_ - dx, from, x1);
  for (int y = y0; y < y1; ++y) {
    const uint32_t* own = &trace_[at(0, y)];
    uint32_t* out = &next_[at(0, y)];
    if (y + dy < 0 || y + dy >= height_) {
      std::copy(own + x0, own + x1, out + x0);
      continue;
    }
    std::copy(own + x0, own + from, out + x0);
    std::copy(own + to, own + x1, out + to);
    if (from == to) continue;
    const uint32_t* source = &trace_[at(from + dx, y + dy)];
    std::copy(source, source + (to - from), out + from);
  }
}

void CoviarMap::step(const int16_t* mv) {
  const int w4 = geometry_.w4();
  const int left = geometry_.crop_left;
  const auto columns = static_cast<size_t>(w4);
  const size_t cells = columns * static_cast<size_t>(geometry_.h4());
  int next = 0;
  for (int by = geometry_.crop_top / 4; by < geometry_.h4(); by = next) {
    const int16_t* mx = mv + static_cast<size_t>(by) * columns;
    const int16_t* my = mx + cells;
    next = by + 1;  // rows of cells that move alike are worked on as one
    const auto alike = [&](const int16_t* first) {
      return std::memcmp(first, first + static_cast<size_t>(next - by) * columns,
                         columns * sizeof(int16_t)) == 0;
    };
    while (next < geometry_.h4() && alike(mx) && alike(my)) ++next;
    const int y0 = std::max(0, 4 * by - geometry_.crop_top);
    const int y1 = std::min(height_, 4 * next - geometry_.crop_top);
    if (y0 >= y1) break;
    for (int bx = left / 4; bx < w4;) {
      int end = bx + 1;  // blocks that move alike are copied as one
      while (end < w4 && mx[end] == mx[bx] && my[end] == my[bx]) ++end;
      const int x0 = std::max(0, 4 * bx - left);
      const int x1 = std::min(width_, 4 * end - left);
      // libavcodec rounds towards zero when it computes src_x and src_y. Where there is no vector
      // the plane holds 0: such a pixel takes over its own trace.
      if (x0 < x1) step_run(x0, x1, y0, y1, mx[bx] / 4, my[bx] / 4);
      bx = end;
    }
  }
  std::swap(trace_, next_);
}

void CoviarMap::write_vectors(int32_t* out) const {
  for (int y = 0; y < height_; ++y) {
    const uint32_t* from = row(y);
    for (int x = 0; x < width_; ++x, out += 2) {
      out[0] = x - static_cast<int32_t>(from[x] & 0xffff);
      out[1] = y - static_cast<int32_t>(from[x] >> 16);
    }
  }
}

void CoviarMap::write_difference(const uint8_t* here, const uint8_t* there, int32_t* out) const {
  for (int y = 0; y < height_; ++y) {
    const uint32_t* from = row(y);
    for (int x = 0; x < width_;) {
      int end = x + 1;  // neighbours that came from neighbours are subtracted as one
      while (end < width_ && from[end] == from[end - 1] + 1) ++end;
      const size_t source =
          3 * at(static_cast<int>(from[x] & 0xffff), static_cast<int>(from[x] >> 16));
      const size_t count = 3 * static_cast<size_t>(end - x);
      subtract(here, there + source, out, count);
      here += count;
      out += count;
      x = end;
    }
  }
}

}  // namespace cvdecode
