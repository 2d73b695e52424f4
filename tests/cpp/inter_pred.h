// Inter prediction samples, literally from 8.4.2.2 and 8.4.2.3. Slow and plain on purpose.
#pragma once

#include "samples.h"

namespace oracle {

// Weights of one prediction, per colour component (8.4.2.3).
struct Weighting {
  bool weighted = false;  // false: default weighted sample prediction (8.4.2.3.1)
  int logWD = 0;
  int w[2] = {0, 0};
  int o[2] = {0, 0};
};

// 4x4 luma samples at (x, y) of the current picture, displaced by (mvx, mvy) quarter samples.
void luma_4x4(const Samples& ref, int x, int y, int mvx, int mvy, int out[16]);

// 2x2 chroma samples (4:2:0) at chroma position (x, y), vector in units of 1/8 chroma sample.
void chroma_2x2(const Samples& ref, int x, int y, int mvx, int mvy, int out[4]);

// Combines the predictions of one or two lists; p0 or p1 is null where its list is not used.
void weigh(const int* p0, const int* p1, const Weighting& weighting, int count, int* out);

// Implicit bi-predictive weights (8.4.2.3.1, equations 8-280 to 8-283): w0, w1 with logWD 5.
Weighting implicit_weights(int poc_current, int poc0, int poc1, bool any_long_term);

}  // namespace oracle
