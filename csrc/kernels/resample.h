// Planes cut, encoded to bytes, resized, cropped and mirrored in one pass: what networks take.
//
// Bilinear, sample centres at half samples, no anti-aliasing, edges repeated. Columns come first,
// then rows; each pass rounds to bytes, with weights of 16 bits. That is the arithmetic of Pillow
// and of torch's AVX2 path for bytes (torch takes another where it has no AVX2); here every CPU
// computes the same.
#pragma once

#include <cstdint>
#include <vector>

namespace cvdecode::kernels {

// For each sample of the result along one axis: the first of the two source samples it lies
// between, and their weights in units of 2^-bits.
struct Taps {
  std::vector<int32_t> first;
  std::vector<int32_t> near;  // weight of source sample `first`
  std::vector<int32_t> far;   // weight of the one after it
  int count = 0;              // the vectors are padded beyond it, for whole SIMD vectors
  int bits = 0;
  bool is_copy = false;  // sample i is source sample first[0] + i
  // The same for byte shuffles: kGroup samples of the result lie between the 16 source samples from
  // `base` on; `bytes` holds the places of each one's two, `weights` theirs. Empty where some group
  // lies between more.
  static constexpr int kGroup = 8;
  std::vector<int32_t> base;
  std::vector<uint8_t> bytes;
  std::vector<int16_t> weights;
};

// Samples begin .. begin + count - 1 of `length` source samples (1 or more) brought to `resized`,
// the last first if `mirrored`. A single source sample counts as two equal ones.
Taps make_taps(int length, int resized, int begin, int count, bool mirrored);

enum class ByteEncoding : uint8_t {
  kNone,      // bytes, as they are
  kVector,    // int16 quarter samples q to trunc(q * 51 / 32) + 128, clipped (CoViAR)
  kResidual,  // int16 r to r + 128, clipped
};

struct ResampleJob {
  const void* in = nullptr;  // uint8 or int16: the plane's sample (0, 0)
  int64_t row_stride = 0;    // elements
  ByteEncoding encoding = ByteEncoding::kNone;
  bool negate = false;  // kVector: -q
  bool halved = false;  // the plane holds every second sample: (x, y) is [y/2][x/2]
  int box_x = 0, box_y = 0, box_width = 0;  // of the part that the taps count from
  const Taps* x = nullptr;
  const Taps* y = nullptr;
};

// Writes y->count rows of x->count bytes, one after the other.
void resample(const ResampleJob& job, uint8_t* out);

}  // namespace cvdecode::kernels
