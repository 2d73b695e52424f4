// From the words of grid=4 to the planes of the result.

// Per-target include guard of Highway.
#if defined(CVDECODE_KERNELS_TRACE_LEAVING_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef CVDECODE_KERNELS_TRACE_LEAVING_INL_H_
#undef CVDECODE_KERNELS_TRACE_LEAVING_INL_H_
#else
#define CVDECODE_KERNELS_TRACE_LEAVING_INL_H_
#endif

#include <hwy/cache_control.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>

#include "kernels/trace.h"
#include "kernels/trace_lanes-inl.h"

HWY_BEFORE_NAMESPACE();
namespace cvdecode::kernels {
namespace HWY_NAMESPACE {
namespace {

// Words on their way to the planes x, y, end and mask. These are not in the nearer caches and take
// them slowly: they get some cells at a time, while others are computed.
class WordsLeaving {
 public:
  // The size in cells.
  WordsLeaving(const Map& out, int width, int height) : out_(out) {
#if HWY_TARGET != HWY_SCALAR
    streams_ = may_stream(width, height);
#else
    (void)width;
    (void)height;
#endif
  }

  // `count` words, a multiple of 16, that belong to the cells from `first` on. They stay where they
  // are until finish().
  void start(const uint64_t* words, int first, int count) {
    words_ = words;
    first_ = first;
    count_ = count;
    done_ = 0;
  }

  // At most so many more cells.
  HWY_INLINE void go_on(int most) {
    if (done_ == count_) return;
    const int n = std::min(count_, done_ + most);
    int i = done_;
#if HWY_TARGET != HWY_SCALAR
    if (streams_) {
      i = unpack<true>(hn::ScalableTag<uint32_t>(), i, n);
    } else {
      i = unpack<false>(hn::ScalableTag<uint32_t>(), i, n);
    }
    if (n == count_) i = unpack<false>(hn::CappedTag<uint32_t, 8>(), i, n);
#endif
    if (n == count_) {
      for (; i < n; ++i) {
        out_.x[first_ + i] = cell_x(words_[i]);
        out_.y[first_ + i] = cell_y(words_[i]);
        out_.mask[first_ + i] = cell_mask(words_[i]);
        out_.end[first_ + i] = cell_end(words_[i]);
      }
    }
    done_ = i;
  }

  void finish() { go_on(count_); }
  // After the last finish().
  void flush() const {
#if HWY_TARGET != HWY_SCALAR
    if (streams_) hwy::FlushStream();
#endif
  }

 private:
#if HWY_TARGET != HWY_SCALAR
  // From cell i on, two for each 32-bit lane at a time; returns how far it came.
  template <bool kStream, class D>
  HWY_INLINE int unpack(D d32, int i, int n) const {
    const hn::Repartition<uint16_t, D> d16;
    const hn::Rebind<uint8_t, decltype(d16)> d8;
    const hn::RebindToSigned<D> di32;
    const auto lanes = static_cast<int>(hn::Lanes(d32));
    const auto* in = reinterpret_cast<const uint32_t*>(words_);
    auto* x = reinterpret_cast<uint16_t*>(out_.x + first_);
    auto* y = reinterpret_cast<uint16_t*>(out_.y + first_);
    auto* end = out_.end + first_;
    auto* mask = out_.mask + first_;
    const auto put = [](auto v, auto d, auto* to) HWY_ATTR {
      // There is no such store of less than 128 bits.
      if constexpr (kStream && hn::MaxLanes(decltype(d)()) * sizeof(*to) >= 16) {
        hn::Stream(v, d, to);
      } else {
        hn::StoreU(v, d, to);
      }
    };
    for (; i + 2 * lanes <= n; i += 2 * lanes) {
      const uint32_t* from = in + 2 * static_cast<ptrdiff_t>(i);
      const auto a = hn::LoadU(d32, from);
      const auto b = hn::LoadU(d32, from + lanes);
      const auto c = hn::LoadU(d32, from + 2 * static_cast<ptrdiff_t>(lanes));
      const auto d = hn::LoadU(d32, from + 3 * static_cast<ptrdiff_t>(lanes));
      const auto xy0 = hn::BitCast(d16, hn::ConcatEven(d32, b, a));
      const auto xy1 = hn::BitCast(d16, hn::ConcatEven(d32, d, c));
      const auto ends0 = hn::ConcatOdd(d32, b, a);
      const auto ends1 = hn::ConcatOdd(d32, d, c);
      put(hn::ConcatEven(d16, xy1, xy0), d16, x + i);
      put(hn::ConcatOdd(d16, xy1, xy0), d16, y + i);
      put(hn::ShiftRight<8>(hn::BitCast(di32, ends0)), di32, end + i);
      put(hn::ShiftRight<8>(hn::BitCast(di32, ends1)), di32, end + i + lanes);
      const auto low = hn::ConcatEven(d16, hn::BitCast(d16, ends1), hn::BitCast(d16, ends0));
      put(hn::TruncateTo(d8, low), d8, mask + i);
    }
    return i;
  }

  // Whether the planes take whole vectors past the caches, and are too large for the nearer ones.
  bool may_stream(int width, int height) const {
    if (out_.x == nullptr || width * height * 9 <= (1 << 19)) return false;
    uintptr_t odd = static_cast<uintptr_t>(width) * 4;
    for (const void* plane :
         {static_cast<const void*>(out_.x), static_cast<const void*>(out_.y),
          static_cast<const void*>(out_.end), static_cast<const void*>(out_.mask)}) {
      odd |= reinterpret_cast<uintptr_t>(plane);
    }
    return odd % HWY_MAX(16, HWY_LANES(uint8_t)) == 0;
  }
#endif

  const Map out_;
  bool streams_ = false;
  const uint64_t* words_ = nullptr;
  int first_ = 0;  // cell of the planes
  int done_ = 0;   // cells
  int count_ = 0;
};

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace cvdecode::kernels
HWY_AFTER_NAMESPACE();

#endif  // per-target guard
