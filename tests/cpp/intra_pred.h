// Intra prediction samples, literally from 8.3. Neighbours come as small arrays with validity.
#pragma once

#include "samples.h"

namespace oracle {

// Neighbouring samples of a square block of N samples: top[0] is p[0, -1] and runs to 2N - 1,
// left[0] is p[-1, 0]. Available means usable for intra prediction of this macroblock.
struct Neighbours {
  int top[16 * 2] = {};
  int left[16] = {};
  int corner = 0;
  bool has_top = false;
  bool has_left = false;
  bool has_corner = false;
  bool has_top_right = false;  // top[N .. 2N - 1]
};

// False when the mode needs a neighbour that is not available: a violation of the standard.
bool intra_4x4(int mode, Neighbours n, int out[16]);  // 8.3.1.2
bool intra_8x8(int mode, Neighbours n, int out[64]);  // 8.3.2.2, reference filtering included
bool intra_16x16(int mode, const Neighbours& n, int out[256]);      // 8.3.3
bool intra_chroma_8x8(int mode, const Neighbours& n, int out[64]);  // 8.3.4, 4:2:0

}  // namespace oracle
