// The teacher-forced reconstructor: prediction from libavcodec's own samples plus our residual.
#pragma once

#include <array>
#include <cstdint>
#include <vector>

#include "inter_pred.h"
#include "samples.h"

namespace oracle {

struct SliceData {
  bool constrained_intra_pred = false;
  int weighted = 0;                               // 0 default, 1 explicit, 2 implicit
  int log2_denom[2] = {0, 0};                     // luma, chroma
  std::vector<int32_t> weights;                   // [list][32][Y, Cb, Cr][weight, offset]
  std::array<std::vector<int>, 2> list;           // refIdx -> index into Picture::refs, -1 none
  std::array<std::vector<int>, 2> poc;            // refIdx -> PicOrderCnt of the reference
  std::array<std::vector<uint8_t>, 2> long_term;  // refIdx -> marked long-term
};

// Everything of one picture. Arrays are borrowed, C order; 4:0:0 has planes == 1.
struct Picture {
  int mb_width = 0;
  int mb_height = 0;
  int planes = 3;
  int poc = 0;
  std::array<Samples, 3> decoded;              // libavcodec's samples of this picture
  std::vector<std::array<Samples, 3>> refs;    // libavcodec's samples of the references
  const uint8_t* mb_type = nullptr;            // (H16, W16) MbType
  const uint8_t* transform_8x8 = nullptr;      // unused for prediction, kept for messages
  const int32_t* slice = nullptr;              // (H16, W16), -1 = none
  const int16_t* mv = nullptr;                 // (2, 2, H4, W4)
  const int8_t* ref_idx = nullptr;             // (2, H8, W8)
  const uint8_t* intra_nxn_mode = nullptr;     // (H4, W4)
  const uint8_t* intra_16x16_mode = nullptr;   // (H16, W16)
  const uint8_t* intra_chroma_mode = nullptr;  // (H16, W16)
  const int16_t* residual_y = nullptr;         // (H, W)
  const int16_t* residual_uv = nullptr;        // (2, H / 2, W / 2)
  std::vector<SliceData> slices;
};

// What became of a macroblock.
enum Verdict : uint8_t {
  kNotChecked = 0,  // lost, or no slice
  kReconstructed = 1,
  kNoReference = 2,  // a reference is missing or was excluded
  kIllegalMode = 3,  // an intra mode needs a neighbour that is not available
};

// Writes the reconstruction (out, same sizes as decoded) and a verdict per macroblock.
void reconstruct(const Picture& picture, std::array<uint8_t*, 3> out, uint8_t* verdict);

}  // namespace oracle
