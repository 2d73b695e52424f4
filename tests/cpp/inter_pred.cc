#include "inter_pred.h"

#include <cstdlib>

namespace oracle {
namespace {

int tap6(int a, int b, int c, int d, int e, int f) {
  return a - 5 * b + 20 * c + 20 * d - 5 * e + f;
}

// The named samples of Figure 8-4 around one integer position of a 9x9 patch of the reference.
struct LumaSample {
  const int (*patch)[9];
  int x;
  int y;

  int G(int dx = 0, int dy = 0) const { return patch[y + 2 + dy][x + 2 + dx]; }
  int b1(int dy) const {  // intermediate value of a horizontal half sample, dy rows below
    return tap6(G(-2, dy), G(-1, dy), G(0, dy), G(1, dy), G(2, dy), G(3, dy));
  }
  int h1(int dx) const {  // intermediate value of a vertical half sample, dx columns to the right
    return tap6(G(dx, -2), G(dx, -1), G(dx, 0), G(dx, 1), G(dx, 2), G(dx, 3));
  }
  int b() const { return clip1((b1(0) + 16) >> 5); }
  int s() const { return clip1((b1(1) + 16) >> 5); }
  int h() const { return clip1((h1(0) + 16) >> 5); }
  int m() const { return clip1((h1(1) + 16) >> 5); }
  int j() const { return clip1((tap6(b1(-2), b1(-1), b1(0), b1(1), b1(2), b1(3)) + 512) >> 10); }

  int predict(int xFrac, int yFrac) const {  // Table 8-12
    const auto mean = [](int p, int q) { return (p + q + 1) >> 1; };
    switch (yFrac * 4 + xFrac) {
      case 0: return G();
      case 1: return mean(G(), b());
      case 2: return b();
      case 3: return mean(b(), G(1, 0));
      case 4: return mean(G(), h());
      case 5: return mean(b(), h());
      case 6: return mean(b(), j());
      case 7: return mean(b(), m());
      case 8: return h();
      case 9: return mean(h(), j());
      case 10: return j();
      case 11: return mean(j(), m());
      case 12: return mean(h(), G(0, 1));
      case 13: return mean(h(), s());
      case 14: return mean(j(), s());
      default: return mean(s(), m());
    }
  }
};

}  // namespace

void luma_4x4(const Samples& ref, int x, int y, int mvx, int mvy, int out[16]) {
  int patch[9][9];  // two samples before the block, three after it
  for (int i = 0; i < 81; ++i) {
    patch[i / 9][i % 9] = ref.clamped(x + (mvx >> 2) - 2 + i % 9, y + (mvy >> 2) - 2 + i / 9);
  }
  for (int i = 0; i < 16; ++i) out[i] = LumaSample{patch, i & 3, i >> 2}.predict(mvx & 3, mvy & 3);
}

void chroma_2x2(const Samples& ref, int x, int y, int mvx, int mvy, int out[4]) {
  const int xFrac = mvx & 7;
  const int yFrac = mvy & 7;
  for (int i = 0; i < 4; ++i) {
    const int xInt = x + (i & 1) + (mvx >> 3);
    const int yInt = y + (i >> 1) + (mvy >> 3);
    const int A = ref.clamped(xInt, yInt);
    const int B = ref.clamped(xInt + 1, yInt);
    const int C = ref.clamped(xInt, yInt + 1);
    const int D = ref.clamped(xInt + 1, yInt + 1);
    out[i] = ((8 - xFrac) * (8 - yFrac) * A + xFrac * (8 - yFrac) * B + (8 - xFrac) * yFrac * C +
              xFrac * yFrac * D + 32) >>
             6;
  }
}

void weigh(const int* p0, const int* p1, const Weighting& wt, int count, int* out) {
  for (int i = 0; i < count; ++i) {
    if (p0 && p1) {
      out[i] =
          wt.weighted
              ? clip1(((p0[i] * wt.w[0] + p1[i] * wt.w[1] + (1 << wt.logWD)) >> (wt.logWD + 1)) +
                      ((wt.o[0] + wt.o[1] + 1) >> 1))
              : (p0[i] + p1[i] + 1) >> 1;
      continue;
    }
    const int list = p0 ? 0 : 1;
    const int p = p0 ? p0[i] : p1[i];
    if (!wt.weighted) {
      out[i] = p;
    } else if (wt.logWD >= 1) {
      out[i] = clip1(((p * wt.w[list] + (1 << (wt.logWD - 1))) >> wt.logWD) + wt.o[list]);
    } else {
      out[i] = clip1(p * wt.w[list] + wt.o[list]);
    }
  }
}

Weighting implicit_weights(int poc_current, int poc0, int poc1, bool any_long_term) {
  Weighting wt;
  wt.weighted = true;
  wt.logWD = 5;
  wt.w[0] = wt.w[1] = 32;
  if (poc0 == poc1 || any_long_term) return wt;
  const int tb = clip3(-128, 127, poc_current - poc0);
  const int td = clip3(-128, 127, poc1 - poc0);
  const int tx = (16384 + std::abs(td / 2)) / td;
  const int DistScaleFactor = clip3(-1024, 1023, (tb * tx + 32) >> 6);
  if ((DistScaleFactor >> 2) < -64 || (DistScaleFactor >> 2) > 128) return wt;
  wt.w[0] = 64 - (DistScaleFactor >> 2);
  wt.w[1] = DistScaleFactor >> 2;
  return wt;
}

}  // namespace oracle
