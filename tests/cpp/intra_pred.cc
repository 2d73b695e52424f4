#include "intra_pred.h"

namespace oracle {
namespace {

// p[x, -1] and p[-1, y] of the clauses, with p[-1, -1] reachable from both sides.
struct Edge {
  const Neighbours& n;
  int t(int x) const { return x < 0 ? n.corner : n.top[x]; }
  int l(int y) const { return y < 0 ? n.corner : n.left[y]; }
};

int avg2(int a, int b) { return (a + b + 1) >> 1; }
int avg3(int a, int b, int c) { return (a + 2 * b + c + 2) >> 2; }

int dc(const Neighbours& n, int size, int shift) {
  int top = 0;
  int left = 0;
  for (int i = 0; i < size; ++i) {
    top += n.top[i];
    left += n.left[i];
  }
  if (n.has_top && n.has_left) return (top + left + size) >> (shift + 1);
  if (n.has_top) return (top + size / 2) >> shift;
  if (n.has_left) return (left + size / 2) >> shift;
  return 128;
}

// The nine directional modes, one text for N = 4 (8.3.1.2.1 to .9) and N = 8 (8.3.2.2.2 to .10):
// the clauses differ only in N.
int directional(int mode, int N, const Edge& p, int x, int y) {
  switch (mode) {
    case 0: return p.t(x);
    case 1: return p.l(y);
    case 3:  // diagonal down left
      if (x == N - 1 && y == N - 1) return (p.t(2 * N - 2) + 3 * p.t(2 * N - 1) + 2) >> 2;
      return avg3(p.t(x + y), p.t(x + y + 1), p.t(x + y + 2));
    case 4:  // diagonal down right
      if (x > y) return avg3(p.t(x - y - 2), p.t(x - y - 1), p.t(x - y));
      if (x < y) return avg3(p.l(y - x - 2), p.l(y - x - 1), p.l(y - x));
      return avg3(p.t(0), p.t(-1), p.l(0));
    case 5: {  // vertical right
      const int z = 2 * x - y;
      const int i = x - (y >> 1);
      if (z >= 0)
        return z % 2 == 0 ? avg2(p.t(i - 1), p.t(i)) : avg3(p.t(i - 2), p.t(i - 1), p.t(i));
      if (z == -1) return avg3(p.l(0), p.l(-1), p.t(0));
      return avg3(p.l(y - 2 * x - 1), p.l(y - 2 * x - 2), p.l(y - 2 * x - 3));
    }
    case 6: {  // horizontal down
      const int z = 2 * y - x;
      const int i = y - (x >> 1);
      if (z >= 0)
        return z % 2 == 0 ? avg2(p.l(i - 1), p.l(i)) : avg3(p.l(i - 2), p.l(i - 1), p.l(i));
      if (z == -1) return avg3(p.l(0), p.l(-1), p.t(0));
      return avg3(p.t(x - 2 * y - 1), p.t(x - 2 * y - 2), p.t(x - 2 * y - 3));
    }
    case 7: {  // vertical left
      const int i = x + (y >> 1);
      return y % 2 == 0 ? avg2(p.t(i), p.t(i + 1)) : avg3(p.t(i), p.t(i + 1), p.t(i + 2));
    }
    default: {  // 8, horizontal up
      const int z = x + 2 * y;
      const int i = y + (x >> 1);
      if (z > 2 * N - 3) return p.l(N - 1);
      if (z == 2 * N - 3) return (p.l(N - 2) + 3 * p.l(N - 1) + 2) >> 2;
      return z % 2 == 0 ? avg2(p.l(i), p.l(i + 1)) : avg3(p.l(i), p.l(i + 1), p.l(i + 2));
    }
  }
}

bool allowed(int mode, const Neighbours& n) {
  switch (mode) {
    case 0:
    case 3:
    case 7: return n.has_top;
    case 1:
    case 8: return n.has_left;
    case 2: return true;
    case 4:
    case 5:
    case 6: return n.has_top && n.has_left && n.has_corner;
    default: return false;
  }
}

bool intra_nxn(int mode, int N, const Neighbours& n, int* out) {
  if (!allowed(mode, n)) return false;
  const Edge edge{n};
  const int mean = mode == 2 ? dc(n, N, N == 4 ? 2 : 3) : 0;
  for (int y = 0; y < N; ++y)
    for (int x = 0; x < N; ++x)
      out[y * N + x] = mode == 2 ? mean : directional(mode, N, edge, x, y);
  return true;
}

void extend_top(Neighbours& n, int N) {
  if (!n.has_top || n.has_top_right) return;
  for (int i = N; i < 2 * N; ++i) n.top[i] = n.top[N - 1];
}

Neighbours filter_8x8(const Neighbours& n) {  // 8.3.2.2.1
  Neighbours f = n;
  if (n.has_top) {
    f.top[0] =
        n.has_corner ? avg3(n.corner, n.top[0], n.top[1]) : (3 * n.top[0] + n.top[1] + 2) >> 2;
    for (int x = 1; x < 15; ++x) f.top[x] = avg3(n.top[x - 1], n.top[x], n.top[x + 1]);
    f.top[15] = (n.top[14] + 3 * n.top[15] + 2) >> 2;
  }
  if (n.has_corner) {
    if (n.has_top && n.has_left)
      f.corner = avg3(n.top[0], n.corner, n.left[0]);
    else if (n.has_top)
      f.corner = (3 * n.corner + n.top[0] + 2) >> 2;
    else if (n.has_left)
      f.corner = (3 * n.corner + n.left[0] + 2) >> 2;
  }
  if (n.has_left) {
    f.left[0] =
        n.has_corner ? avg3(n.corner, n.left[0], n.left[1]) : (3 * n.left[0] + n.left[1] + 2) >> 2;
    for (int y = 1; y < 7; ++y) f.left[y] = avg3(n.left[y - 1], n.left[y], n.left[y + 1]);
    f.left[7] = (n.left[6] + 3 * n.left[7] + 2) >> 2;
  }
  return f;
}

void plane(const Neighbours& n, int N, int gain, int round, int shift, int* out) {
  const Edge p{n};
  const int half = N / 2;
  int H = 0;
  int V = 0;
  for (int i = 0; i < half; ++i) {
    H += (i + 1) * (p.t(half + i) - p.t(half - 2 - i));
    V += (i + 1) * (p.l(half + i) - p.l(half - 2 - i));
  }
  const int a = 16 * (p.l(N - 1) + p.t(N - 1));
  const int b = (gain * H + round) >> shift;
  const int c = (gain * V + round) >> shift;
  for (int y = 0; y < N; ++y)
    for (int x = 0; x < N; ++x)
      out[y * N + x] = clip1((a + b * (x - half + 1) + c * (y - half + 1) + 16) >> 5);
}

// DC of one 4x4 chroma block (8.3.4.1 to .3): which edge is preferred depends on its place.
int chroma_dc(const Neighbours& n, int xO, int yO) {
  int top = 0;
  int left = 0;
  for (int i = 0; i < 4; ++i) {
    top += n.top[xO + i];
    left += n.left[yO + i];
  }
  const bool prefer_top = xO > 0 && yO == 0;
  const bool prefer_left = xO == 0 && yO > 0;
  if (!prefer_top && !prefer_left && n.has_top && n.has_left) return (top + left + 4) >> 3;
  if (prefer_left ? n.has_left : !n.has_top && n.has_left) return (left + 2) >> 2;
  if (n.has_top) return (top + 2) >> 2;
  return 128;
}

}  // namespace

bool intra_4x4(int mode, Neighbours n, int out[16]) {
  extend_top(n, 4);
  return intra_nxn(mode, 4, n, out);
}

bool intra_8x8(int mode, Neighbours n, int out[64]) {
  extend_top(n, 8);
  return intra_nxn(mode, 8, filter_8x8(n), out);
}

bool intra_16x16(int mode, const Neighbours& n, int out[256]) {
  if (mode < 0 || mode > 3) return false;
  if (mode == 0 && !n.has_top) return false;
  if (mode == 1 && !n.has_left) return false;
  if (mode == 3) {
    if (!n.has_top || !n.has_left || !n.has_corner) return false;
    plane(n, 16, 5, 32, 6, out);
    return true;
  }
  const int mean = dc(n, 16, 4);
  for (int i = 0; i < 256; ++i)
    out[i] = mode == 0 ? n.top[i % 16] : mode == 1 ? n.left[i / 16] : mean;
  return true;
}

bool intra_chroma_8x8(int mode, const Neighbours& n, int out[64]) {
  if (mode < 0 || mode > 3) return false;
  if (mode == 1 && !n.has_left) return false;
  if (mode == 2 && !n.has_top) return false;
  if (mode == 3) {
    if (!n.has_top || !n.has_left || !n.has_corner) return false;
    plane(n, 8, 34, 32, 6, out);
    return true;
  }
  for (int i = 0; i < 64; ++i) {
    const int x = i % 8;
    const int y = i / 8;
    out[i] = mode == 1 ? n.left[y] : mode == 2 ? n.top[x] : chroma_dc(n, x & ~3, y & ~3);
  }
  return true;
}

}  // namespace oracle
