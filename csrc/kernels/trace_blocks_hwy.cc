// The SIMD builds of grid=4: words of four lanes, macroblock by macroblock. Highway compiles this
// file once per target.
#include <algorithm>
#include <cstddef>
#include <cstdlib>
#include <cstring>
#include <memory>

#include "kernels/trace.h"
#include "kernels/trace_builds.h"
#include "kernels/trace_pixel.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/trace_blocks_hwy.cc"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include "kernels/trace_lanes-inl.h"

HWY_BEFORE_NAMESPACE();
namespace cvdecode::kernels {
namespace HWY_NAMESPACE {
namespace {

// Whether a 4x4 square of blocks has one motion.
HWY_INLINE bool is_uniform(const BlockMotion* corner, ptrdiff_t blocks) {
  const uint64_t first = bits_of(corner);
  uint64_t differ = 0;
  for (int y = 0; y < 4; ++y, corner += blocks) {
    for (int x = 0; x < 4; ++x) differ |= bits_of(corner + x) ^ first;
  }
  return differ == 0;
}

// Macroblock by macroblock: those of one motion are joined to the right, others go block row by
// block row. Cells are words, so a run is one subtraction per few cells.
class BlockTracer {
 public:
  explicit BlockTracer(const TraceJob& job)
      : job_(job), out_(job.out), width_(job.width / 4), height_(job.height / 4) {
    // Words that no later picture looks at: one row of macroblocks, still warm when it is unpacked.
    if (out_.packed == nullptr) {
      passing_ = std::make_unique_for_overwrite<uint64_t[]>(4 * static_cast<size_t>(width_));
    }
  }

  int64_t run() {
    const uint8_t* whole = job_.whole;
    for (int by = job_.top; by < job_.end_row(); by += 4) {
      words_ = passing_ != nullptr ? passing_.get() : out_.packed + by * width_;
      top_ = by;
      macroblock_row(job_.blocks + static_cast<ptrdiff_t>(by - job_.top) * width_, whole);
      if (out_.x != nullptr) unpack(by * width_, 4 * width_);
      if (whole != nullptr) whole += width_ / 4;
    }
    return clipped_;
  }

 private:
  HWY_INLINE void macroblock_row(const BlockMotion* rows, const uint8_t* whole) {
    int begin = -1;  // of the macroblocks of one motion that wait, -1 = none do
    for (int bx = 0; bx < width_; bx += 4) {
      const bool uniform =
          whole != nullptr ? whole[bx / 4] != 0 : is_uniform(rows + bx, ptrdiff_t{width_});
      if (begin >= 0 && (!uniform || bits_of(rows + bx) != bits_of(rows + begin))) {
        trace(rows[begin], begin, bx, 0, 4);
        begin = -1;
      }
      if (uniform) {
        if (begin < 0) begin = bx;
        continue;
      }
      for (int y = 0; y < 4;) {
        const BlockMotion* cells = rows + static_cast<ptrdiff_t>(y) * width_ + bx;
        // Two rows alike are one of 8x8 blocks.
        const bool pair = y % 2 == 0 && std::memcmp(cells, cells + width_, 4 * sizeof *cells) == 0;
        const int end = y + (pair ? 2 : 1);
        int from = 0;
        for (int x = 1; x <= 4; ++x) {
          if (x < 4 && bits_of(cells + x) == bits_of(cells + from)) continue;
          trace(cells[from], bx + from, bx + x, y, end);
          from = x;
        }
        y = end;
      }
    }
    if (begin >= 0) trace(rows[begin], begin, width_, 0, 4);
  }

  // Cells [left, right) x [top, bottom) of this row of macroblocks, all of one motion.
  HWY_INLINE void trace(const BlockMotion& m, int left, int right, int top, int bottom) {
    const int dx = block_shift(m.x);
    const int dy = top_ + block_shift(m.y);
    const int n = right - left;
    if (m.source >= 0 && !job_.sources[m.source].is_end) {
      const Source& source = job_.sources[m.source];
      const int reach = source.reach + std::max(std::abs(int{m.x}), std::abs(int{m.y}));
      const int from = left + dx;
      if (source.may_void || reach > INT16_MAX || out_.hops != nullptr || from < 0 ||
          from + n > width_) {
        cell_by_cell(m, left, right, top, bottom);
        return;
      }
#if HWY_TARGET != HWY_SCALAR
      const int whole = whole_vectors(n);
      if (left + whole <= width_ && from + whole <= width_ && top + dy >= 0 &&
          bottom + dy <= height_) {
        // Words past the run are written too, and written again: rows go from left to right.
        const auto v = hn::BitCast(Lanes(), hn::Set(Words(), pack_cell(m.x, m.y, 0, 0)));
        const uint64_t* in = source.map.packed + (top + dy) * width_ + from;
        uint64_t* out = words_ + top * width_ + left;
        for (int y = top; y < bottom; ++y, in += width_, out += width_) {
          for (int i = 0; i < whole; i += kCells) {
            const auto cells = hn::LoadU(Lanes(), reinterpret_cast<const int16_t*>(in + i));
            hn::StoreU(hn::Sub(cells, v), Lanes(), reinterpret_cast<int16_t*>(out + i));
          }
        }
        return;
      }
#endif
      for (int y = top; y < bottom; ++y) {
        const uint64_t* in = source.map.packed + clamp_to(y + dy, height_) * width_ + from;
        uint64_t* out = words_ + y * width_ + left;
        for (int i = 0; i < n; ++i) out[i] = next_cell(OneLane{}, in[i], m.x, m.y, clipped_);
      }
      return;
    }
    uint64_t cell = 0;
    int hops = 0;
    if (m.source >= 0) {
      const Source& source = job_.sources[m.source];
      int64_t once = 0;
      cell = next_cell(OneLane{}, pack_cell(0, 0, source.end, source.mask), m.x, m.y, once);
      clipped_ += once * n * (bottom - top);
      hops = 1;
    } else {
      const uint8_t mask = mask_of_source(m.source);
      cell = pack_cell(0, 0, is_void(mask) ? -1 : job_.here, mask);
    }
    for (int y = top; y < bottom; ++y) {
      fill(cell, n, left, words_ + y * width_ + left);
      if (out_.hops == nullptr) continue;
      std::fill_n(out_.hops + (top_ + y) * width_ + left, n, static_cast<uint16_t>(hops));
    }
  }

#if HWY_TARGET != HWY_SCALAR
  using Lanes = hn::CappedTag<int16_t, 16>;
  using Words = hn::Repartition<uint64_t, Lanes>;
  static constexpr int kCells = HWY_MIN(16, HWY_LANES(int16_t)) / 4;
#else
  static constexpr int kCells = 1;
#endif
  static constexpr int whole_vectors(int n) { return (n + kCells - 1) / kCells * kCells; }

  // One word, `n` times from column `column` on; past them too, where the row goes on.
  HWY_INLINE void fill(uint64_t cell, int n, int column, uint64_t* out) {
#if HWY_TARGET != HWY_SCALAR
    const int whole = whole_vectors(n);
    if (column + whole <= width_) {
      const auto cells = hn::Set(Words(), cell);
      for (int i = 0; i < whole; i += kCells) hn::StoreU(cells, Words(), out + i);
      return;
    }
#else
    (void)column;
#endif
    std::fill_n(out, n, cell);
  }

  // Clamped, possibly void or saturating cells, and hops.
  void cell_by_cell(const BlockMotion& m, int left, int right, int top, int bottom) {
    const Map& in = job_.sources[m.source].map;
    for (int y = top; y < bottom; ++y) {
      const int row = clamp_to(top_ + y + block_shift(m.y), height_) * width_;
      for (int x = left; x < right; ++x) {
        const int from = row + clamp_to(x + block_shift(m.x), width_);
        const uint64_t cell = next_cell(OneLane{}, in.packed[from], m.x, m.y, clipped_);
        words_[y * width_ + x] = cell;
        if (out_.hops == nullptr) continue;
        out_.hops[(top_ + y) * width_ + x] = static_cast<uint16_t>(
            next_hops(OneLane{}, int{in.hops[from]}, is_void(cell_mask(cell))));
      }
    }
  }

  // Cells [first, first + n) of the planes from this row's words.
  HWY_INLINE void unpack(int first, int n) {
    const hn::CappedTag<uint32_t, 8> d32;
    const hn::Rebind<uint16_t, decltype(d32)> d16;
    const hn::Rebind<uint8_t, decltype(d32)> d8;
    const hn::RebindToSigned<decltype(d32)> di32;
    const auto lanes = static_cast<int>(hn::Lanes(d32));
    const uint64_t* in = words_;
    auto* x = reinterpret_cast<uint16_t*>(out_.x + first);
    auto* y = reinterpret_cast<uint16_t*>(out_.y + first);
    int i = 0;
    for (; i + lanes <= n; i += lanes) {
      hn::Vec<decltype(d32)> low, high;
      hn::LoadInterleaved2(d32, reinterpret_cast<const uint32_t*>(in + i), low, high);
      hn::StoreU(hn::TruncateTo(d16, low), d16, x + i);
      hn::StoreU(hn::TruncateTo(d16, hn::ShiftRight<16>(low)), d16, y + i);
      hn::StoreU(hn::TruncateTo(d8, high), d8, out_.mask + first + i);
      hn::StoreU(hn::ShiftRight<8>(hn::BitCast(di32, high)), di32, out_.end + first + i);
    }
    for (; i < n; ++i) {
      out_.x[first + i] = cell_x(in[i]);
      out_.y[first + i] = cell_y(in[i]);
      out_.mask[first + i] = cell_mask(in[i]);
      out_.end[first + i] = cell_end(in[i]);
    }
  }

  const TraceJob& job_;
  const Map out_;
  const int width_, height_;
  std::unique_ptr<uint64_t[]> passing_;
  uint64_t* words_ = nullptr;  // of the row of macroblocks at block row top_
  int top_ = 0;
  int64_t clipped_ = 0;
};

int64_t Blocks(const TraceJob& job) { return BlockTracer(job).run(); }

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace cvdecode::kernels
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace cvdecode::kernels {

HWY_EXPORT(Blocks);

TraceKernel chosen_blocks() { return HWY_DYNAMIC_DISPATCH(Blocks); }

}  // namespace cvdecode::kernels
#endif  // HWY_ONCE
