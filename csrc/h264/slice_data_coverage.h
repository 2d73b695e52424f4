// Names and counters of the branches of slice data syntax. The decoder is instantiated once without
// counting (what everything uses) and once with it (what the tests run to see that every branch was
// met).
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace cvdecode::h264 {

// A group of branches; the second word of hit() says which one.
enum class Branch : uint8_t {
  kSliceType,
  kMbTypeI,
  kMbTypeP,
  kMbTypeB,
  kMbTypeIInP,
  kMbTypeIInB,
  kSubMbTypeP,
  kSubMbTypeB,
  kSkip,
  kSkipRun,
  kSliceEnd,
  kNeighbours,
  kTransformSize8x8,
  kIntra4x4Mode,
  kIntra8x8Mode,
  kIntraChromaPredMode,
  kCodedBlockPattern,
  kQpDelta,
  kRefIdx,
  kRefIdxCtx,
  kMvdCtx,
  kMvdPrefix,
  kMvdSuffixBits,
  kPcmAlignment,
  kPcmSliceType,
  kCoeffToken,
  kTotalCoeff4x4,
  kLevelCode,
  kSuffixLength,
  kTotalZeros,
  kTotalZerosChromaDc,
  kRunBefore,
  kCodedBlockFlag0,
  kCodedBlockFlag1,
  kLastInferred,
  kLevelEscape,
  kAbsLevelCtx,
  kTransform,
  kBypass,
  kDequantShift,
  kCount,
};

struct BranchGroup {
  const char* name;
  int count;
};

// In the order of Branch.
inline constexpr std::array<BranchGroup, static_cast<size_t>(Branch::kCount)> kBranchGroups = {{
    {"slice_type", 3},            // P, B, I
    {"mb_type in I slices", 26},  // Table 7-11
    {"mb_type in P slices", 5},   // Table 7-13; 4 (P_8x8ref0) with CAVLC only
    {"mb_type in B slices", 23},  // Table 7-14
    {"mb_type of intra in P slices", 26},
    {"mb_type of intra in B slices", 26},
    {"sub_mb_type in P slices", 4},
    {"sub_mb_type in B slices", 13},
    {"skipped macroblock", 2},         // P, B
    {"mb_skip_run", 3},                // 0, more, one that ends the slice (CAVLC)
    {"slice end", 3},                  // at the picture's end, in a row, at a row's end
    {"unavailable neighbours", 4},     // none, left, top, both
    {"transform_size_8x8_flag", 6},    // intra 0, 1; inter 0, 1; direct 0, 1
    {"intra 4x4 prediction mode", 9},  // predicted, rem 0..7
    {"intra 8x8 prediction mode", 9},
    {"intra_chroma_pred_mode", 4},
    {"coded_block_pattern", 48},
    {"mb_qp_delta", 5},        // 0, positive, negative, wrapped below 0, above 51
    {"ref_idx", 5},            // inferred, 0, 1, 2, more
    {"ref_idx ctxIdxInc", 4},  // CABAC
    {"mvd ctxIdxInc", 6},      // CABAC: x 0..2, y 0..2
    {"mvd prefix", 10},        // CABAC: 0..9 (9 = escape); CAVLC: by size
    {"mvd suffix bits", 6},    // CABAC: k 3..7, more
    {"I_PCM alignment", 8},    // number of pcm_alignment_zero_bits
    {"I_PCM in slices", 3},    // P, B, I
    {"coeff_token table", 5},  // nC 0, 2, 4, 8, -1
    {"total_coeff", 17},       // CAVLC
    {"level code", 6},  // T1 sign, prefix below 14, 14 with suffixLength 0, 14 else, 15, more
    {"suffixLength", 7},
    {"total_zeros tzVlcIndex", 16},  // 0 = not sent
    {"total_zeros chroma DC", 4},
    {"run_before zerosLeft", 7},  // 1..6, more
    {"coded_block_flag 0", 5},    // by ctxBlockCat
    {"coded_block_flag 1", 5},
    {"last coefficient inferred", 6},      // by ctxBlockCat
    {"coeff_abs_level_minus1 suffix", 6},  // by ctxBlockCat
    {"coeff_abs_level_minus1 ctxIdxInc", 10},
    {"inverse transform", 6},  // 4x4, 8x8, Intra16x16 DC, chroma DC; 4x4, 8x8 near the limits
    {"transform bypass", 12},  // plain, vertical, horizontal for 4x4, 8x8, 16x16, chroma
    {"dequantisation qP/6", 9},
}};

// "cavlc"/"cabac", group, index -> how often it was met.
struct BranchCount {
  std::string name;
  int64_t count = 0;
};
std::vector<BranchCount> branch_counts();
void reset_branch_counts();

namespace coverage_internal {

constexpr size_t kMaxPerGroup = 48;
using Counters = std::array<std::atomic<int64_t>, 2 * kBranchGroups.size() * kMaxPerGroup>;
extern Counters counters;

}  // namespace coverage_internal

struct NoCoverage {
  static constexpr bool kCounts = false;
  static void hit(bool, Branch, int) {}
};

struct CountCoverage {
  static constexpr bool kCounts = true;
  static void hit(bool cabac, Branch group, int index) {
    const size_t g = static_cast<size_t>(group) + (cabac ? kBranchGroups.size() : 0);
    const size_t i = g * coverage_internal::kMaxPerGroup + static_cast<size_t>(index);
    coverage_internal::counters[i].fetch_add(1, std::memory_order_relaxed);
  }
};

}  // namespace cvdecode::h264
