// The SIMD builds of rasterize.h. A lane is a cell of the result and adds up what it covers in the
// order of the scalar build, so the bits are the same. The scalar build keeps what these do not do:
// planes with "no value", mean and max of other types than uint8 and int16, and the nearest of
// cells of 8 or 16 and of patches. There every cell is a load of its own, and a shuffle has nothing
// to do.
#include <algorithm>
#include <cstddef>
#include <cstring>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "kernels/each_target.h"
#include "kernels/rasterize.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/rasterize_hwy.cc"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

HWY_BEFORE_NAMESPACE();
namespace cvdecode::kernels {
namespace HWY_NAMESPACE {
namespace {

#if HWY_TARGET != HWY_SCALAR && HWY_HAVE_FLOAT64
namespace hn = hwy::HWY_NAMESPACE;

// 16 bytes of a row of the result are a shuffle of the 16 bytes of the source from base on.
struct Shuffles {
  std::vector<int32_t> base;
  std::vector<uint8_t> bytes;
};

template <typename T>
bool make_shuffles(const std::vector<int32_t>& centre, Shuffles& out) {
  constexpr size_t kCells = 16 / sizeof(T);
  const size_t width = centre.size();
  if (width < kCells || *std::min_element(centre.begin(), centre.end()) < 0) return false;
  // Nothing is read behind the last cell that counts.
  const int last = *std::max_element(centre.begin(), centre.end()) + 1 - static_cast<int>(kCells);
  if (last < 0) return false;
  for (size_t x = 0; x < width; x += kCells) {
    x = std::min(x, width - kCells);  // the last vector may overlap the one before
    const int base = std::min(centre[x], last);
    out.base.push_back(base);
    for (size_t k = 0; k < kCells; ++k) {
      const int cell = centre[x + k] - base;
      if (cell < 0 || cell >= static_cast<int>(kCells)) return false;
      for (size_t b = 0; b < sizeof(T); ++b) {
        out.bytes.push_back(static_cast<uint8_t>(static_cast<size_t>(cell) * sizeof(T) + b));
      }
    }
  }
  return true;
}

template <typename T>
void Nearest(const RasterJob<T>& job, T fill, T* out) {
  constexpr size_t kCells = 16 / sizeof(T);
  const hn::Full128<uint8_t> d;
  Shuffles shuffles;
  if (!make_shuffles<T>(job.x->centre, shuffles)) {
    std::get<RasterBuild<T>>(raster_scalar()).nearest(job, fill, out);
    return;
  }
  const auto width = static_cast<size_t>(job.x->cells());
  for (int c = 0; c < job.channels; ++c) {
    int previous = -2;
    for (const int from : job.y->centre) {
      T* const to = std::exchange(out, out + width);
      if (from == previous) {
        std::memcpy(to, to - width, width * sizeof(T));
        continue;
      }
      previous = from;
      if (from < 0) {
        std::fill_n(to, width, fill);
        continue;
      }
      const T* const row = job.in + c * job.channel_stride + from * job.row_stride;
      for (size_t i = 0; i < shuffles.base.size(); ++i) {
        const auto some = hn::LoadU(d, reinterpret_cast<const uint8_t*>(row + shuffles.base[i]));
        const auto cells = hn::TableLookupBytes(some, hn::LoadU(d, shuffles.bytes.data() + 16 * i));
        hn::StoreU(cells, d, reinterpret_cast<uint8_t*>(to + std::min(i * kCells, width - kCells)));
      }
    }
  }
}

// The source cells of a row of the result: lane x of the i-th vector is the i-th cell that cell x
// covers, or 0 where x covers fewer. Values are pairs of 16 bits: both channels, or one and 0.
struct Columns {
  static constexpr size_t kGroup = 4;

  Columns(const AxisMap& map, size_t lanes)
      : padded(hwy::RoundUpTo(map.first.size(), std::max(lanes, kGroup))), first(padded) {
    size_t high = 0;
    size_t most = 0;
    low = SIZE_MAX;
    for (size_t x = 0; x < map.first.size(); ++x) {
      const auto count = static_cast<size_t>(map.count[x]);
      if (count == 0) continue;
      low = std::min(low, static_cast<size_t>(map.first[x]));
      high = std::max(high, static_cast<size_t>(map.first[x]) + count);
      most = std::max(most, count);
    }
    low = std::min(low, high);
    most = hwy::RoundUpTo(most, kGroup);
    columns = high - low;
    row.resize(columns + most);  // the last groups reach over the end
    weights.resize(most * padded);
    covered.resize(most * padded);
    pairs.resize(most * padded);
    end = 0;
    for (size_t x = 0; x < map.first.size(); ++x) {
      const auto count = static_cast<size_t>(map.count[x]);
      if (count > 0) first[x] = static_cast<size_t>(map.first[x]) - low;
      end = std::max(end, count * padded);
      for (size_t i = 0; i < count; ++i) {
        weights[i * padded + x] = map.weights[static_cast<size_t>(map.offset[x]) + i];
        covered[i * padded + x] = UINT32_MAX;
      }
    }
  }

  template <typename T>
  void pick(const RasterJob<T>& job, int source_row) {
    const T* const in = job.in + source_row * job.row_stride + low;
    if (job.channels == 2) {
      const T* const second = in + job.channel_stride;
      for (size_t i = 0; i < columns; ++i) {
        row[i] = static_cast<uint16_t>(in[i]) | static_cast<uint32_t>(second[i]) << 16;
      }
    } else {
      for (size_t i = 0; i < columns; ++i) row[i] = static_cast<uint16_t>(in[i]);
    }
    // Four cells of each of four lanes, turned. A gather takes longer.
    const hn::Full128<uint32_t> d;
    const hn::Full128<uint64_t> d2;
    for (size_t i = 0; i * padded < pairs.size(); i += kGroup) {
      for (size_t x = 0; x < padded; x += kGroup) {
        const auto of = [&](size_t lane)
                            HWY_ATTR { return hn::LoadU(d, row.data() + first[x + lane] + i); };
        const auto a = of(0), b = of(1), c = of(2), e = of(3);
        const auto low0 = hn::BitCast(d2, hn::InterleaveLower(d, a, b));
        const auto low1 = hn::BitCast(d2, hn::InterleaveLower(d, c, e));
        const auto high0 = hn::BitCast(d2, hn::InterleaveUpper(d, a, b));
        const auto high1 = hn::BitCast(d2, hn::InterleaveUpper(d, c, e));
        const auto put = [&](size_t k, auto cells) HWY_ATTR {
          const size_t at = (i + k) * padded + x;
          const auto those = hn::LoadU(d, covered.data() + at);
          hn::StoreU(hn::And(hn::BitCast(d, cells), those), d, pairs.data() + at);
        };
        put(0, hn::InterleaveLower(d2, low0, low1));
        put(1, hn::InterleaveUpper(d2, low0, low1));
        put(2, hn::InterleaveLower(d2, high0, high1));
        put(3, hn::InterleaveUpper(d2, high0, high1));
      }
    }
  }

  size_t padded;
  std::vector<size_t> first;
  size_t low, columns;  // the source cells that count
  size_t end;           // of what any cell covers, in vectors of `padded`
  std::vector<uint32_t> row, covered, pairs;
  std::vector<double> weights;
};

template <class D>
HWY_INLINE hn::Vec<D> First(D, hn::Vec<D> pairs) {
  return hn::ShiftRight<16>(hn::ShiftLeft<16>(pairs));
}
template <class D>
HWY_INLINE hn::Vec<D> Second(D, hn::Vec<D> pairs) {
  return hn::ShiftRight<16>(pairs);
}

template <bool kTwo, typename T>
void MeanOf(const RasterJob<T>& job, float fill, float* out) {
  const hn::CappedTag<double, 8> d;
  const hn::Rebind<int32_t, decltype(d)> d32;
  const size_t lanes = hn::Lanes(d);
  Columns x(*job.x, lanes);
  const size_t width = job.x->first.size();
  const size_t height = job.y->first.size();
  std::vector<double> sums(3 * x.padded);  // of either channel, and the area
  double* const more = sums.data() + x.padded;
  double* const areas = more + x.padded;
  for (size_t y = 0; y < height; ++y, out += width) {
    std::fill(sums.begin(), sums.end(), 0);
    for (int j = 0; j < job.y->count[y]; ++j) {
      x.pick(job, job.y->first[y] + j);
      const auto wy = hn::Set(d, job.y->weights[static_cast<size_t>(job.y->offset[y] + j)]);
      for (size_t at = 0; at < x.padded; at += lanes) {
        auto sum0 = hn::LoadU(d, sums.data() + at);
        auto sum1 = hn::LoadU(d, more + at);
        auto area = hn::LoadU(d, areas + at);
        for (size_t i = at; i < x.end; i += x.padded) {
          const auto pair = hn::LoadU(d32, reinterpret_cast<const int32_t*>(x.pairs.data() + i));
          const auto value0 = hn::PromoteTo(d, First(d32, pair));
          // Two roundings, as in the scalar build: no MulAdd. Weight 0 changes nothing.
          const auto weight = hn::Mul(wy, hn::LoadU(d, x.weights.data() + i));
          sum0 = hn::Add(sum0, hn::Mul(weight, value0));
          if constexpr (kTwo) {
            const auto value1 = hn::PromoteTo(d, Second(d32, pair));
            sum1 = hn::Add(sum1, hn::Mul(weight, value1));
          }
          area = hn::Add(area, weight);
        }
        hn::StoreU(sum0, d, sums.data() + at);
        hn::StoreU(sum1, d, more + at);
        hn::StoreU(area, d, areas + at);
      }
    }
    for (size_t c = 0; c < static_cast<size_t>(job.channels); ++c) {
      float* const to = out + c * width * height;
      for (size_t i = 0; i < width; ++i) {
        to[i] = areas[i] > 0 ? static_cast<float>(sums[c * x.padded + i] / areas[i]) : fill;
      }
    }
  }
}

template <typename T>
void Mean(const RasterJob<T>& job, float fill, float* out) {
  if (job.has_none) {
    std::get<RasterBuild<T>>(raster_scalar()).mean(job, fill, out);
  } else if (job.channels == 2) {
    MeanOf<true>(job, fill, out);
  } else {
    MeanOf<false>(job, fill, out);
  }
}

template <typename T>
void Max(const RasterJob<T>& job, T fill, T* out) {
  if (job.has_none) {
    std::get<RasterBuild<T>>(raster_scalar()).max(job, fill, out);
    return;
  }
  const hn::CappedTag<int32_t, 8> d;
  const hn::RebindToUnsigned<decltype(d)> du;
  const size_t lanes = hn::Lanes(d);
  Columns x(*job.x, lanes);
  const size_t width = job.x->first.size();
  const size_t height = job.y->first.size();
  std::vector<uint32_t> best(x.padded), longest(x.padded);
  for (size_t y = 0; y < height; ++y, out += width) {
    for (int j = 0; j < job.y->count[y]; ++j) {
      x.pick(job, job.y->first[y] + j);
      for (size_t at = 0; at < x.padded; at += lanes) {
        auto found = hn::LoadU(du, best.data() + at);
        auto most = hn::LoadU(du, longest.data() + at);
        for (size_t i = at; i < x.end; i += x.padded) {
          const auto pair = hn::LoadU(du, x.pairs.data() + i);
          // Squares by their low 32 bits, which are those of the signed ones; the sum fits.
          const auto value0 = hn::BitCast(du, First(d, hn::BitCast(d, pair)));
          const auto value1 = hn::BitCast(du, Second(d, hn::BitCast(d, pair)));
          const auto length = hn::Add(hn::Mul(value0, value0), hn::Mul(value1, value1));
          // The first cell counts whatever its length is.
          const auto take = j == 0 && i == at ? hn::Eq(pair, pair) : hn::Gt(length, most);
          found = hn::IfThenElse(take, pair, found);
          most = hn::IfThenElse(take, length, most);
        }
        hn::StoreU(found, du, best.data() + at);
        hn::StoreU(most, du, longest.data() + at);
      }
    }
    for (size_t c = 0; c < static_cast<size_t>(job.channels); ++c) {
      T* const to = out + c * width * height;
      for (size_t i = 0; i < width; ++i) {
        const bool some = job.x->count[i] > 0 && job.y->count[y] > 0;
        to[i] = some ? static_cast<T>(best[i] >> (16 * c)) : fill;
      }
    }
  }
}
#endif  // HWY_TARGET != HWY_SCALAR && HWY_HAVE_FLOAT64

RasterBuilds Builds() {
  RasterBuilds builds = raster_scalar();
#if HWY_TARGET != HWY_SCALAR && HWY_HAVE_FLOAT64
  std::get<RasterBuild<uint8_t>>(builds) = {Nearest<uint8_t>, Max<uint8_t>, Mean<uint8_t>};
  std::get<RasterBuild<int16_t>>(builds) = {Nearest<int16_t>, Max<int16_t>, Mean<int16_t>};
  std::get<RasterBuild<uint16_t>>(builds).nearest = Nearest<uint16_t>;
  std::get<RasterBuild<int32_t>>(builds).nearest = Nearest<int32_t>;
  std::get<RasterBuild<float>>(builds).nearest = Nearest<float>;
#endif
  return builds;
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace cvdecode::kernels
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace cvdecode::kernels {

HWY_EXPORT(Builds);

const RasterBuilds& raster_best() {
  static const RasterBuilds kBuilds = HWY_DYNAMIC_DISPATCH(Builds)();
  return kBuilds;
}

std::vector<std::pair<std::string, RasterBuilds>> raster_builds() {
  raster_best();  // before the targets are narrowed down
  std::vector<std::pair<std::string, RasterBuilds>> all{{"scalar", raster_scalar()}};
  each_target([&](const char* name) { all.emplace_back(name, HWY_DYNAMIC_DISPATCH(Builds)()); });
  return all;
}

}  // namespace cvdecode::kernels
#endif  // HWY_ONCE
