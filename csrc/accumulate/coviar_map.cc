#include "accumulate/coviar_map.h"

#include <algorithm>
#include <cstring>
#include <numeric>
#include <utility>

// Widening bytes takes the baseline of x86-64 many instructions.
#if defined(__x86_64__) && defined(__linux__) && defined(__GNUC__) && !defined(__clang__) && \
    !defined(__SANITIZE_ADDRESS__)
#define CVDECODE_CLONES __attribute__((target_clones("avx2", "default")))
#else
#define CVDECODE_CLONES
#endif

namespace cvdecode {

namespace {

CVDECODE_CLONES
void subtract(const uint8_t* __restrict a, const uint8_t* __restrict b, int32_t* __restrict out,
              size_t count) {
  for (size_t i = 0; i < count; ++i) out[i] = a[i] - b[i];
}

// Rows are a few blocks long: too short for a call of memcpy.
void copy_row(const uint8_t* __restrict from, size_t count, uint8_t* __restrict to) {
  constexpr size_t kStep = 16;
  if (count < kStep) {
    for (size_t i = 0; i < count; ++i) to[i] = from[i];
    return;
  }
  for (size_t i = 0; i + kStep < count; i += kStep) std::memcpy(to + i, from + i, kStep);
  std::memcpy(to + count - kStep, from + count - kStep, kStep);
}

template <typename Pixel>
void copy_rows(const Pixel* from, int columns, int rows, size_t stride, Pixel* to) {
  const auto* source = reinterpret_cast<const uint8_t*>(from);
  auto* out = reinterpret_cast<uint8_t*>(to);
  const size_t step = stride * sizeof(Pixel);
  if (columns == 16) {  // most runs that move are single macroblocks
    for (; rows > 0; --rows, source += step, out += step) {
      std::memcpy(out, source, 16 * sizeof(Pixel));
    }
  } else {
    const size_t count = static_cast<size_t>(columns) * sizeof(Pixel);
    for (; rows > 0; --rows, source += step, out += step) copy_row(source, count, out);
  }
}

}  // namespace

template <typename Pixel>
CoviarField<Pixel>::CoviarField(const Geometry& geometry)
    : geometry_(geometry), width_(geometry.width()), height_(geometry.height()) {}

template <typename Pixel>
Pixel* CoviarField<Pixel>::start() {
  now_.resize(size());
  next_.resize(size());
  shift_x_.resize(static_cast<size_t>(geometry_.w4()));
  shift_y_.resize(static_cast<size_t>(geometry_.w4()));
  same_.assign(static_cast<size_t>(geometry_.w4()) * static_cast<size_t>(geometry_.h4()), 0);
  return now_.data();
}

// The cells [bx, end) of the rows of cells [by, next), which all move alike.
template <typename Pixel>
void CoviarField<Pixel>::step_cells(int bx, int end, int by, int next, int dx, int dy) {
  const auto copy = [&](int from, int to, int first, int last) {
    const int x0 = std::max(0, 4 * from - geometry_.crop_left);
    const int x1 = std::min(width_, 4 * to - geometry_.crop_left);
    const int y0 = std::max(0, 4 * first - geometry_.crop_top);
    const int y1 = std::min(height_, 4 * last - geometry_.crop_top);
    if (x0 < x1) step_run(x0, x1, y0, y1, dx, dy);
  };
  const bool moves = dx != 0 || dy != 0;
  if (moves) copy(bx, end, by, next);
  for (int y = by; y < next; ++y) {
    uint8_t* same = &same_[static_cast<size_t>(y) * static_cast<size_t>(geometry_.w4())];
    if (!moves) {  // what has rested twice is there already
      for (int x = bx; x < end;) {
        const void* other = std::memchr(same + x, 0, static_cast<size_t>(end - x));
        if (other == nullptr) break;
        const auto from = static_cast<int>(static_cast<const uint8_t*>(other) - same);
        for (x = from + 1; x < end && same[x] == 0;) ++x;
        copy(from, x, y, y + 1);
      }
    }
    std::memset(same + bx, moves ? 0 : 1, static_cast<size_t>(end - bx));
  }
}

// Pixels [x0, x1) of the rows [y0, y1), which all move alike.
template <typename Pixel>
void CoviarField<Pixel>::step_run(int x0, int x1, int y0, int y1, int dx, int dy) {
  // Those whose source lies beside the picture keep what they have.
  const int left = std::clamp(-dx, x0, x1);
  const int right = std::clamp(width_ - dx, left, x1);
  const int top = std::clamp(-dy, y0, y1);
  const int bottom = std::clamp(height_ - dy, top, y1);
  const auto copy = [&](int from, int to, int first, int last, int shift_x, int shift_y) {
    if (from >= to || first >= last) return;
    copy_rows(&now_[at(from + shift_x, first + shift_y)], to - from, last - first, at(0, 1),
              &next_[at(from, first)]);
  };
  copy(left, right, top, bottom, dx, dy);
  copy(x0, left, top, bottom, 0, 0);
  copy(right, x1, top, bottom, 0, 0);
  copy(x0, x1, y0, top, 0, 0);
  copy(x0, x1, bottom, y1, 0, 0);
}

template <typename Pixel>
void CoviarField<Pixel>::step(const int16_t* mv) {
  const int w4 = geometry_.w4();
  const auto columns = static_cast<size_t>(w4);
  const size_t cells = columns * static_cast<size_t>(geometry_.h4());
  const int bottom = std::min(geometry_.h4(), (geometry_.crop_top + height_ + 3) / 4);
  int next = 0;
  for (int by = geometry_.crop_top / 4; by < bottom; by = next) {
    const int16_t* mx = mv + static_cast<size_t>(by) * columns;
    const int16_t* my = mx + cells;
    next = by + 1;  // rows of cells that move alike are worked on as one
    const auto alike = [&](const int16_t* first) {
      return std::memcmp(first, first + static_cast<size_t>(next - by) * columns,
                         columns * sizeof(int16_t)) == 0;
    };
    while (next < bottom && alike(mx) && alike(my)) ++next;
    // libavcodec rounds towards zero when it computes src_x and src_y. Where there is no vector
    // the plane holds 0: such a pixel keeps what it has.
    for (int bx = 0; bx < w4; ++bx) {
      shift_x_[static_cast<size_t>(bx)] = static_cast<int16_t>(mx[bx] / 4);
      shift_y_[static_cast<size_t>(bx)] = static_cast<int16_t>(my[bx] / 4);
    }
    const int16_t* dx = shift_x_.data();
    const int16_t* dy = shift_y_.data();
    for (int bx = geometry_.crop_left / 4; bx < w4;) {
      int end = bx + 1;  // blocks that move alike are copied as one
      while (end < w4 && dx[end] == dx[bx] && dy[end] == dy[bx]) ++end;
      step_cells(bx, end, by, next, dx[bx], dy[bx]);
      bx = end;
    }
  }
  std::swap(now_, next_);
}

template class CoviarField<uint32_t>;
template class CoviarField<Bgr>;

void CoviarMap::start() {
  uint32_t* at = CoviarField::start();
  for (int y = 0; y < height(); ++y, at += width()) {
    std::iota(at, at + width(), static_cast<uint32_t>(y) << 16);
  }
}

void CoviarMap::write_vectors(int32_t* out) const {
  for (int y = 0; y < height(); ++y) {
    const uint32_t* from = row(y);
    for (int x = 0; x < width(); ++x, out += 2) {
      out[0] = x - static_cast<int32_t>(from[x] & 0xffff);
      out[1] = y - static_cast<int32_t>(from[x] >> 16);
    }
  }
}

void CoviarPixels::start(const uint8_t* first) {
  std::memcpy(CoviarField::start(), first, size() * sizeof(Bgr));
}

void CoviarPixels::write_difference(const uint8_t* here, int32_t* out) const {
  subtract(here, reinterpret_cast<const uint8_t*>(row(0)), out, size() * sizeof(Bgr));
}

}  // namespace cvdecode
