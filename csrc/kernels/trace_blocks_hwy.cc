// The SIMD builds of grid=4: words of four lanes, macroblock by macroblock. Highway compiles this
// file once per target.
#include <algorithm>
#include <cstddef>
#include <cstdlib>
#include <memory>
#include <vector>

#include "kernels/trace.h"
#include "kernels/trace_builds.h"
#include "kernels/trace_pixel.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/trace_blocks_hwy.cc"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include "kernels/trace_lanes-inl.h"
#include "kernels/trace_leaving-inl.h"
#include "kernels/trace_walk-inl.h"

HWY_BEFORE_NAMESPACE();
namespace cvdecode::kernels {
namespace HWY_NAMESPACE {
namespace {

// What a source means to a cell: a word of its map, or one and the same word wherever it is.
struct alignas(64) Origin {
  const uint64_t* words = nullptr;
  uint64_t keep = 0;      // all bits: words[index] counts, none: words[0]
  uint64_t word[4] = {};  // which `words` points to where nothing else is there
  bool careful = false;   // cells may be void
};

// Macroblock by macroblock: one motion is one subtraction a row of cells. In others the places that
// 16 cells look at come from vectors and are read one by one, without a branch: how a macroblock is
// split cannot be foretold.
class BlockTracer {
 public:
  explicit BlockTracer(const TraceJob& job)
      : job_(job),
        out_(job.out),
        width_(job.width / 4),
        height_(job.height / 4),
        leaving_(job.out, width_, height_) {
    // Words that no later picture looks at: two rows of macroblocks, of which one is unpacked.
    if (out_.packed == nullptr) {
      passing_ = std::make_unique_for_overwrite<uint64_t[]>(8 * static_cast<size_t>(width_));
    }
#if HWY_TARGET != HWY_SCALAR
    if (job_.shapes == nullptr) own_shapes_.resize(static_cast<size_t>(width_ / 4));
#endif
  }

  int64_t run() {
    find_origins();
    const uint8_t* shapes = job_.shapes;
    for (int by = job_.top; by < job_.end_row(); by += 4) {
      words_ = passing_ == nullptr ? out_.packed + by * width_ : passing_.get() + (by & 4) * width_;
      top_ = by;
      macroblock_row(job_.blocks + static_cast<ptrdiff_t>(by - job_.top) * width_, shapes);
      leaving_.finish();
      if (out_.x != nullptr) leaving_.start(words_, by * width_, 4 * width_);
      if (shapes != nullptr) shapes += width_ / 4;
    }
    leaving_.finish();
    leaving_.flush();
    return clipped_;
  }

 private:
  static constexpr int kGroup = 16;  // columns of cells
  // Sources are negative too: places in origins_ start here.
  static constexpr int kBefore = 3;

  void find_origins() {
    origins_.resize(static_cast<size_t>(job_.source_count + kBefore));
    int32_t reach = 0;
    for (int32_t source = -kBefore; source < job_.source_count; ++source) {
      Origin& origin = origins_[static_cast<size_t>(source + kBefore)];
      origin.words = origin.word;
      if (source < 0) {
        const uint8_t mask = mask_of_source(source);
        std::fill_n(origin.word, 4, pack_cell(0, 0, is_void(mask) ? -1 : job_.here, mask));
      } else if (job_.sources[source].is_end) {
        std::fill_n(origin.word, 4,
                    pack_cell(0, 0, job_.sources[source].end, job_.sources[source].mask));
      } else {
        origin.words = job_.sources[source].map.packed;
        origin.keep = ~uint64_t{0};
        origin.careful = job_.sources[source].may_void;
        careful_ |= origin.careful;
        reach = std::max(reach, job_.sources[source].reach);
      }
    }
    // Vectors up to this cannot make a sum saturate. -32768 has no counterpart.
    safe_ = std::min(INT16_MAX - reach, INT16_MAX - 1);
    careful_ |= job_.longest > safe_;
  }

  HWY_INLINE void macroblock_row(const BlockMotion* rows, const uint8_t* shapes) {
#if HWY_TARGET == HWY_SCALAR
    (void)shapes;
    for (int bx = 0; bx < width_; bx += 4) cell_by_cell(rows + bx, bx);
#else
    if (out_.hops != nullptr || safe_ < 0) {
      for (int bx = 0; bx < width_; bx += 4) cell_by_cell(rows + bx, bx);
      return;
    }
    if (shapes == nullptr) {
      for (int bx = 0; bx < width_; bx += 4) {
        own_shapes_[static_cast<size_t>(bx / 4)] =
            is_uniform(rows + bx, ptrdiff_t{width_}) ? kOneMotion : kAnyMotion;
      }
      shapes = own_shapes_.data();
    }
    for (int left = 0; left < width_; left += kGroup) {
      const int right = std::min(left + kGroup, width_);
      for (int bx = left; bx < right; bx += 4) {
        if (job_.longest <= safe_) bx = trace_ones(rows, shapes, bx, right);
        if (bx == right) break;
        if (shapes[bx / 4] == kFourMotions && trace_four(rows + bx, bx)) continue;
        if (!trace_split(rows + bx, bx)) cell_by_cell(rows + bx, bx);
      }
      // While these are computed, as many of the row before can leave.
      leaving_.go_on(4 * kGroup);
    }
#endif
  }

#if HWY_TARGET != HWY_SCALAR
  // Four cells, or two at a time.
  using Words = hn::CappedTag<uint64_t, 4>;
  using Halves = hn::Repartition<uint32_t, Words>;
  using Lanes = hn::Repartition<int16_t, Words>;
  static constexpr int kCells = HWY_MIN(4, HWY_LANES(uint64_t));

  // Where the trace of a square of cells leads, none of them clamped.
  struct Place {
    const uint64_t* words;
    uint64_t first;
    ptrdiff_t stride;
    uint64_t v;  // as the words lie
  };
  // False where cells may be clamped, void or saturate.
  HWY_INLINE bool find_place(const BlockMotion& m, int left, int top, int size,
                             Place& place) const {
    const Origin& origin = origins_[static_cast<size_t>(m.source + kBefore)];
    const int x = left + block_shift(m.x);
    const int y = top + block_shift(m.y);
    const bool inside = static_cast<unsigned>(x) <= static_cast<unsigned>(width_ - size) &&
                        static_cast<unsigned>(y) <= static_cast<unsigned>(height_ - size);
    const auto index = static_cast<uint64_t>(static_cast<ptrdiff_t>(y) * width_ + x);
    place.words = origin.words;
    place.first = index & origin.keep;
    place.stride = static_cast<ptrdiff_t>(static_cast<uint64_t>(width_) & origin.keep);
    // Those that do not leave the picture have none.
    place.v = bits_of(&m) & ~static_cast<uint64_t>(int64_t{m.source} >> 31) & 0xFFFFFFFF;
    if (HWY_UNLIKELY(careful_)) {
      if (origin.careful || std::max(std::abs(int{m.x}), std::abs(int{m.y})) > safe_) return false;
    }
    return inside || origin.keep == 0;
  }

  // Macroblocks of one motion in columns [left, right), up to the first that is another or has
  // cells that are clamped or may be void. Returns its column. No sum saturates.
  HWY_NOINLINE int trace_ones(const BlockMotion* rows, const uint8_t* shapes, int left,
                              int right) const {
    // Kept in registers: what is written might be members, as far as the compiler knows.
    const Origin* const origins = origins_.data() + kBefore;
    const ptrdiff_t width = width_;
    const ptrdiff_t top = top_;
    const auto most_x = static_cast<size_t>(width_ - 4);
    const auto most_y = static_cast<size_t>(height_ - 4);
    uint64_t* const words = words_;
    ptrdiff_t bx = left;
    for (; bx < right && shapes[bx / 4] == kOneMotion; bx += 4) {
      const uint64_t m = bits_of(rows + bx);
      const int64_t source = static_cast<int64_t>(m) >> 32;
      const Origin& origin = origins[source];
      const ptrdiff_t x = bx + block_shift(static_cast<int16_t>(m));
      const ptrdiff_t y = top + block_shift(static_cast<int16_t>(m >> 16));
      const bool plain =
          static_cast<size_t>(x) <= most_x && static_cast<size_t>(y) <= most_y && !origin.careful;
      if (!plain && origin.keep != 0) break;
      const uint64_t* const in =
          origin.words + (static_cast<uint64_t>(y * width + x) & origin.keep);
      const auto stride = static_cast<ptrdiff_t>(static_cast<uint64_t>(width) & origin.keep);
      // Those that do not leave the picture have no vector.
      const auto v = hn::BitCast(
          Lanes(), hn::Set(Words(), m & ~static_cast<uint64_t>(source >> 63) & 0xFFFFFFFF));
      for (ptrdiff_t cell = 0; cell < 4; ++cell) {
        for (ptrdiff_t i = 0; i < 4; i += kCells) {
          store(hn::Sub(hn::BitCast(Lanes(), hn::LoadU(Words(), in + cell * stride + i)), v),
                words + bx + cell * width + i);
        }
      }
    }
    return static_cast<int>(bx);
  }

  // A motion for each 2x2 cells.
  HWY_INLINE bool trace_four(const BlockMotion* cells, int left) {
    const hn::CappedTag<uint64_t, 2> d64;
    const hn::Repartition<int16_t, decltype(d64)> d16;
    Place places[4];
    bool plain = true;
    for (int q = 0; q < 4; ++q) {
      const int x = q % 2 * 2;
      const int y = q / 2 * 2;
      const BlockMotion& m = cells[static_cast<ptrdiff_t>(y) * width_ + x];
      plain &= find_place(m, left + x, top_ + y, 2, places[q]);
    }
    if (!plain) return false;
    uint64_t* out = words_ + left;
    for (int q = 0; q < 4; ++q) {
      const Place& place = places[q];
      uint64_t* to = out + static_cast<ptrdiff_t>(q / 2 * 2) * width_ + q % 2 * 2;
      const uint64_t* in = place.words + place.first;
      const auto v = hn::BitCast(d16, hn::Set(d64, place.v));
      for (int y = 0; y < 2; ++y, to += width_, in += place.stride) {
        const auto words = hn::LoadU(d64, in);
        hn::StoreU(hn::BitCast(d64, hn::Sub(hn::BitCast(d16, words), v)), d64, to);
      }
    }
    return true;
  }

  // 16 cells of any motion; false where some may be void or saturate.
  HWY_INLINE bool trace_split(const BlockMotion* cells, int left) {
    const Words d64;
    const Halves d32;
    const hn::RebindToSigned<Halves> di;
    const hn::RebindToSigned<Words> di64;
    HWY_ALIGN uint64_t place[16];
    HWY_ALIGN uint64_t vectors[16];
    HWY_ALIGN static constexpr int32_t kColumn[8] = {0, 0, 1, 0, 2, 0, 3, 0};
    const auto ten = hn::Set(di, 10);
    const auto most_x = hn::Set(di, width_ - 1);
    const auto most_y = hn::Set(di, height_ - 1);
    const auto safe = hn::Set(di, safe_);
    const auto low = hn::Set(d64, 0xFFFFFFFFU);
    auto largest = hn::Zero(di);
    for (int y = 0; y < 4; ++y) {
      for (int i = 0; i < 4; i += kCells) {
        // In the lower half of each word a vector, in the upper one its source.
        const auto motion = hn::LoadU(
            d64, reinterpret_cast<const uint64_t*>(cells + static_cast<ptrdiff_t>(y) * width_ + i));
        // Those that do not leave the picture have none.
        const auto stays = hn::BitCast(d64, hn::BroadcastSignBit(hn::BitCast(di64, motion)));
        const auto v = hn::And(hn::AndNot(stays, motion), low);
        hn::Store(v, d64, vectors + 4 * y + i);
        const auto xy = hn::BitCast(di, v);
        const auto vx = hn::ShiftRight<16>(hn::ShiftLeft<16>(xy));
        const auto vy = hn::ShiftRight<16>(xy);
        largest = hn::Max(largest, hn::Max(hn::Abs(vx), hn::Abs(vy)));
        // block_shift()
        const auto dx = hn::ShiftRight<4>(hn::Add(vx, ten));
        const auto dy = hn::ShiftRight<4>(hn::Add(vy, ten));
        const auto column = hn::Add(hn::Load(di, kColumn + 2 * i), hn::Set(di, left));
        const auto x = hn::Min(hn::Max(hn::Add(column, dx), hn::Zero(di)), most_x);
        const auto row = hn::Min(hn::Max(hn::Add(hn::Set(di, top_ + y), dy), hn::Zero(di)), most_y);
        const auto first =
            hn::MulEven(hn::BitCast(d32, row), hn::Set(d32, static_cast<uint32_t>(width_)));
        hn::Store(hn::Add(first, hn::And(hn::BitCast(d64, x), low)), d64, place + 4 * y + i);
      }
    }
    if (!hn::AllFalse(di, hn::Gt(largest, safe))) return false;
    HWY_ALIGN uint64_t found[16];
    bool careful = false;
    for (int y = 0; y < 4; ++y) {
      for (int i = 0; i < 4; ++i) {
        const int32_t source = cells[static_cast<ptrdiff_t>(y) * width_ + i].source;
        const Origin& origin = origins_[static_cast<size_t>(source + kBefore)];
        found[4 * y + i] = origin.words[place[4 * y + i] & origin.keep];
        careful |= origin.careful;
      }
    }
    if (careful) return false;
    uint64_t* out = words_ + left;
    for (int y = 0; y < 4; ++y, out += width_) {
      for (int i = 0; i < 4; i += kCells) {
        store(hn::Sub(hn::BitCast(Lanes(), hn::Load(d64, found + 4 * y + i)),
                      hn::BitCast(Lanes(), hn::Load(d64, vectors + 4 * y + i))),
              out + i);
      }
    }
    return true;
  }

  static HWY_INLINE void store(hn::Vec<Lanes> cells, uint64_t* to) {
    hn::StoreU(hn::BitCast(Words(), cells), Words(), to);
  }
#endif

  // A macroblock with clamped, possibly void or saturating cells, or hops.
  HWY_NOINLINE void cell_by_cell(const BlockMotion* cells, int left) {
    for (int y = 0; y < 4; ++y, cells += width_) {
      for (int i = 0; i < 4; ++i) {
        const BlockMotion& m = cells[i];
        uint64_t& to = words_[y * width_ + left + i];
        uint16_t* hops =
            out_.hops == nullptr ? nullptr : out_.hops + (top_ + y) * width_ + left + i;
        const Origin& origin = origins_[static_cast<size_t>(m.source + kBefore)];
        if (m.source < 0) {
          to = origin.word[0];
          if (hops != nullptr) *hops = 0;
          continue;
        }
        const int x = clamp_to(left + i + block_shift(m.x), width_);
        const ptrdiff_t from =
            static_cast<ptrdiff_t>(clamp_to(top_ + y + block_shift(m.y), height_)) * width_ + x;
        to = next_cell(OneLane{}, origin.words[static_cast<uint64_t>(from) & origin.keep], m.x, m.y,
                       clipped_);
        if (hops == nullptr) continue;
        const int before = origin.keep == 0 ? 0 : job_.sources[m.source].map.hops[from];
        *hops = static_cast<uint16_t>(next_hops(OneLane{}, before, is_void(cell_mask(to))));
      }
    }
  }

  static constexpr int kAll = 1 << 30;
  static constexpr int kSome = 32;

  const TraceJob& job_;
  const Map out_;
  const int width_, height_;
  std::vector<Origin> origins_;  // by source + kBefore
  int32_t safe_ = 0;
  bool careful_ = false;             // cells may be void, or sums saturate
  std::vector<uint8_t> own_shapes_;  // of a row of macroblocks, where the job does not say
  std::unique_ptr<uint64_t[]> passing_;
  WordsLeaving leaving_;       // of the row of macroblocks before
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
