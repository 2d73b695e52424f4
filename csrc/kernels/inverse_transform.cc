#include "kernels/inverse_transform.h"

#include <array>
#include <cstring>

namespace cvdecode::kernels {
namespace {

// -2^(7 + bitDepth) .. 2^(7 + bitDepth) - 1 for bitDepth 8.
bool in_range(int value) { return value >= -32768 && value <= 32767; }
// The last stage leaves room for the rounding offset: .. 2^(7 + bitDepth) - 33.
bool in_final_range(int value) { return value >= -32768 && value <= 32767 - 32; }

// One 1-D pass of 8.5.12.2 over d[0], d[step], ...; false where a value leaves the range.
template <typename T>
bool pass4(const T* d, ptrdiff_t step, T* out, ptrdiff_t out_step) {
  const int e0 = d[0] + d[2 * step];
  const int e1 = d[0] - d[2 * step];
  const int e2 = (d[step] >> 1) - d[3 * step];
  const int e3 = d[step] + (d[3 * step] >> 1);
  const std::array<int, 4> f = {e0 + e3, e1 + e2, e1 - e2, e0 - e3};
  bool ok = in_range(e0) && in_range(e1) && in_range(e2) && in_range(e3);
  for (size_t i = 0; i < 4; ++i) {
    ok = ok && in_range(f[i]);
    out[static_cast<ptrdiff_t>(i) * out_step] = static_cast<T>(f[i]);
  }
  return ok;
}

// One 1-D pass of 8.5.13.2.
template <typename T>
bool pass8(const T* d, ptrdiff_t step, T* out, ptrdiff_t out_step) {
  const int d0 = d[0], d1 = d[step], d2 = d[2 * step], d3 = d[3 * step];
  const int d4 = d[4 * step], d5 = d[5 * step], d6 = d[6 * step], d7 = d[7 * step];
  const int e0 = d0 + d4;
  const int e1 = -d3 + d5 - d7 - (d7 >> 1);
  const int e2 = d0 - d4;
  const int e3 = d1 + d7 - d3 - (d3 >> 1);
  const int e4 = (d2 >> 1) - d6;
  const int e5 = -d1 + d7 + d5 + (d5 >> 1);
  const int e6 = d2 + (d6 >> 1);
  const int e7 = d3 + d5 + d1 + (d1 >> 1);
  const int f0 = e0 + e6;
  const int f1 = e1 + (e7 >> 2);
  const int f2 = e2 + e4;
  const int f3 = e3 + (e5 >> 2);
  const int f4 = e2 - e4;
  const int f5 = (e3 >> 2) - e5;
  const int f6 = e0 - e6;
  const int f7 = e7 - (e1 >> 2);
  const std::array<int, 8> g = {f0 + f7, f2 + f5, f4 + f3, f6 + f1,
                                f6 - f1, f4 - f3, f2 - f5, f0 - f7};
  bool ok = true;
  for (const int v : {e0, e1, e2, e3, e4, e5, e6, e7, f0, f1, f2, f3, f4, f5, f6, f7}) {
    ok = ok && in_range(v);
  }
  for (size_t i = 0; i < 8; ++i) {
    ok = ok && in_range(g[i]);
    out[static_cast<ptrdiff_t>(i) * out_step] = static_cast<T>(g[i]);
  }
  return ok;
}

template <int kSize, typename Pass>
bool idct(const int16_t* c, int16_t* out, ptrdiff_t stride, Pass pass) {
  std::array<int, kSize * kSize> d;
  std::array<int, kSize * kSize> rows;
  for (size_t i = 0; i < d.size(); ++i) d[i] = c[i];
  bool ok = true;
  // Rows first (the shifts make the order matter): element (i, j) is d[j * kSize + i].
  for (ptrdiff_t i = 0; i < kSize; ++i) {
    ok = pass(d.data() + i, ptrdiff_t{kSize}, rows.data() + i, ptrdiff_t{kSize}) && ok;
  }
  std::array<int, kSize> column;
  for (ptrdiff_t j = 0; j < kSize; ++j) {
    ok = pass(rows.data() + j * kSize, ptrdiff_t{1}, column.data(), ptrdiff_t{1}) && ok;
    for (ptrdiff_t i = 0; i < kSize; ++i) {
      const int h = column[static_cast<size_t>(i)];
      ok = ok && in_final_range(h);
      out[i * stride + j] = static_cast<int16_t>((h + 32) >> 6);
    }
  }
  return ok;
}

}  // namespace

bool idct4x4_checked(const int16_t* c, int16_t* out, ptrdiff_t stride) {
  return idct<4>(c, out, stride, pass4<int>);
}
bool idct8x8_checked(const int16_t* c, int16_t* out, ptrdiff_t stride) {
  return idct<8>(c, out, stride, pass8<int>);
}

#if __has_builtin(__builtin_shufflevector)

// The fast ones: whole rows of 16-bit lanes. A vector holds one column of the block at first (that
// is why coefficients come transposed), so the pass over rows needs no shuffle.
namespace {

using Lanes8 [[gnu::vector_size(16)]] = int16_t;

Lanes8 load(const int16_t* from) {
  Lanes8 v;
  std::memcpy(&v, from, sizeof(v));
  return v;
}
void store(Lanes8 v, int16_t* to) { std::memcpy(to, &v, sizeof(v)); }
// Four lanes; the others are zero and stay without use.
Lanes8 load_half(const int16_t* from) {
  int64_t low;
  std::memcpy(&low, from, sizeof(low));
  using Lanes2x64 [[gnu::vector_size(16)]] = int64_t;
  const Lanes2x64 v = {low, 0};
  return reinterpret_cast<Lanes8>(v);
}
void store_half(Lanes8 v, int16_t* to) { std::memcpy(to, &v, 4 * sizeof(int16_t)); }
Lanes8 upper_half(Lanes8 v) { return __builtin_shufflevector(v, v, 4, 5, 6, 7, 4, 5, 6, 7); }

// Sums that wrap: idct4x4() computes four lanes without use beside the four of its block, and only
// those of the block stay in range.
using Wrap8 [[gnu::vector_size(16)]] = uint16_t;
Lanes8 plus(Lanes8 a, Lanes8 b) {
  return reinterpret_cast<Lanes8>(reinterpret_cast<Wrap8>(a) + reinterpret_cast<Wrap8>(b));
}
Lanes8 minus(Lanes8 a, Lanes8 b) {
  return reinterpret_cast<Lanes8>(reinterpret_cast<Wrap8>(a) - reinterpret_cast<Wrap8>(b));
}
Lanes8 rounded(Lanes8 v) {
  return reinterpret_cast<Lanes8>(reinterpret_cast<Wrap8>(v) + uint16_t{32}) >> 6;
}

void butterfly4(Lanes8& a, Lanes8& b, Lanes8& c, Lanes8& d) {
  const Lanes8 e0 = plus(a, c);
  const Lanes8 e1 = minus(a, c);
  const Lanes8 e2 = minus(b >> 1, d);
  const Lanes8 e3 = plus(b, d >> 1);
  a = plus(e0, e3);
  b = plus(e1, e2);
  c = minus(e1, e2);
  d = minus(e0, e3);
}

void butterfly8(Lanes8 (&d)[8]) {
  const Lanes8 e0 = d[0] + d[4];
  const Lanes8 e1 = d[5] - d[3] - d[7] - (d[7] >> 1);
  const Lanes8 e2 = d[0] - d[4];
  const Lanes8 e3 = d[1] + d[7] - d[3] - (d[3] >> 1);
  const Lanes8 e4 = (d[2] >> 1) - d[6];
  const Lanes8 e5 = d[7] - d[1] + d[5] + (d[5] >> 1);
  const Lanes8 e6 = d[2] + (d[6] >> 1);
  const Lanes8 e7 = d[3] + d[5] + d[1] + (d[1] >> 1);
  const Lanes8 f0 = e0 + e6;
  const Lanes8 f1 = e1 + (e7 >> 2);
  const Lanes8 f2 = e2 + e4;
  const Lanes8 f3 = e3 + (e5 >> 2);
  const Lanes8 f4 = e2 - e4;
  const Lanes8 f5 = (e3 >> 2) - e5;
  const Lanes8 f6 = e0 - e6;
  const Lanes8 f7 = e7 - (e1 >> 2);
  d[0] = f0 + f7;
  d[1] = f2 + f5;
  d[2] = f4 + f3;
  d[3] = f6 + f1;
  d[4] = f6 - f1;
  d[5] = f4 - f3;
  d[6] = f2 - f5;
  d[7] = f0 - f7;
}

void transpose8(Lanes8 (&v)[8]) {
  Lanes8 t[8];
  for (int i = 0; i < 4; ++i) {  // pairs of rows 2 apart in the result, 16-bit lanes
    t[2 * i] = __builtin_shufflevector(v[i], v[i + 4], 0, 8, 1, 9, 2, 10, 3, 11);
    t[2 * i + 1] = __builtin_shufflevector(v[i], v[i + 4], 4, 12, 5, 13, 6, 14, 7, 15);
  }
  for (int i = 0; i < 4; ++i) {
    v[2 * i] = __builtin_shufflevector(t[i], t[i + 4], 0, 8, 1, 9, 2, 10, 3, 11);
    v[2 * i + 1] = __builtin_shufflevector(t[i], t[i + 4], 4, 12, 5, 13, 6, 14, 7, 15);
  }
  for (int i = 0; i < 4; ++i) {
    t[2 * i] = __builtin_shufflevector(v[i], v[i + 4], 0, 8, 1, 9, 2, 10, 3, 11);
    t[2 * i + 1] = __builtin_shufflevector(v[i], v[i + 4], 4, 12, 5, 13, 6, 14, 7, 15);
  }
  for (int i = 0; i < 8; ++i) v[i] = t[i];
}

}  // namespace

void idct4x4(const int16_t* c, int16_t* out, ptrdiff_t stride) {
  Lanes8 f0 = load_half(c);
  Lanes8 f1 = load_half(c + 4);
  Lanes8 f2 = load_half(c + 8);
  Lanes8 f3 = load_half(c + 12);
  butterfly4(f0, f1, f2, f3);
  const Lanes8 t0 = __builtin_shufflevector(f0, f1, 0, 8, 1, 9, 2, 10, 3, 11);
  const Lanes8 t1 = __builtin_shufflevector(f2, f3, 0, 8, 1, 9, 2, 10, 3, 11);
  // Rows 0 and 1, rows 2 and 3.
  Lanes8 r0 = __builtin_shufflevector(t0, t1, 0, 1, 8, 9, 2, 3, 10, 11);
  Lanes8 r2 = __builtin_shufflevector(t0, t1, 4, 5, 12, 13, 6, 7, 14, 15);
  Lanes8 r1 = upper_half(r0);
  Lanes8 r3 = upper_half(r2);
  butterfly4(r0, r1, r2, r3);
  store_half(rounded(r0), out);
  store_half(rounded(r1), out + stride);
  store_half(rounded(r2), out + 2 * stride);
  store_half(rounded(r3), out + 3 * stride);
}

void idct8x8(const int16_t* c, int16_t* out, ptrdiff_t stride) {
  Lanes8 v[8];
  for (int i = 0; i < 8; ++i) v[i] = load(c + 8 * i);
  butterfly8(v);
  transpose8(v);
  butterfly8(v);
  for (int i = 0; i < 8; ++i) store((v[i] + 32) >> 6, out + i * stride);
}

#else  // GCC before 12

void idct4x4(const int16_t* c, int16_t* out, ptrdiff_t stride) { idct4x4_checked(c, out, stride); }
void idct8x8(const int16_t* c, int16_t* out, ptrdiff_t stride) { idct8x8_checked(c, out, stride); }

#endif

}  // namespace cvdecode::kernels
