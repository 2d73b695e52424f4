// Direct prediction (8.4.1.2): what a B slice reads from its co-located picture RefPicList1[0].
// Frames only: field and MBAFF pictures are outside the scope.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <vector>

#include "h264/picture_motion.h"

namespace cvdecode::h264 {

// The co-located picture of a slice, as far as it is known when the slice is derived.
struct Colocated {
  enum class State : uint8_t {
    kUnresolved,  // not derived yet: derivation stops at the first block that needs it
    kMissing,     // there is none: lost, or a gap in frame_num
    kIntra,       // every slice of it is I
    kMotion,
  };
  State state = State::kMissing;
  const PictureMotion* motion = nullptr;
};

enum class DirectStatus : uint8_t { kOk, kLost, kUnresolved };

// The vectors of the direct quadrants of one macroblock.
struct DirectMotion {
  std::array<std::array<int8_t, 4>, 2> ref_idx;  // [list][quadrant]
  std::array<std::array<Mv, 16>, 2> mv;          // [list][4x4 block, raster]
  bool
      uniform;  // of temporal(): all is as in ref_idx[list][0] and mv[list][0], nothing else is set
};

// The direct prediction of one B slice.
class DirectSlice {
 public:
  // `pictures` by decode number: picture order counts for temporal scaling.
  void start(const PictureEntry& entry, const SliceEntry& slice,
             std::span<const PictureEntry> pictures, const SliceReferences& references,
             const Colocated& colocated);

  bool spatial() const { return spatial_; }
  // direct_8x8_inference_flag: one vector per quadrant, that of the macroblock's outer corner.
  bool corners_only() const { return corners_only_; }

  // colZeroFlag (8.4.1.2.2) of each 4x4 block: bit y * 4 + x.
  DirectStatus col_zero(int mb_x, int mb_y, uint32_t* mask) const;
  // 8.4.1.2.3 for the quadrants in the mask (bit per quadrant).
  DirectStatus temporal(int mb_x, int mb_y, int quadrants, DirectMotion* out);

 private:
  struct Block {
    int ref_idx = -1;  // refIdxCol, -1 = intra
    int list = 0;
    Mv mv;
    friend bool operator==(const Block&, const Block&) = default;
  };
  // The co-located block at (x, y) in 4x4 blocks from the macroblock's corner.
  Block block(int mb_x, int mb_y, int x, int y) const;
  struct Pair {
    int refIdxL0 = 0;
    Mv mvL0, mvL1;
  };
  bool scale(const Block& col, int col_slice, Pair* out);
  // refIdxL0 = MapColToList0(refIdxCol): -1 = that picture is not in list 0.
  int map_col_to_list0(int col_slice, int list, int ref_idx);
  DirectStatus colocated_status(int mb_x, int mb_y) const;

  using Map = std::array<std::array<int8_t, 32>, 2>;
  bool spatial_ = true;
  bool corners_only_ = true;
  bool col_long_term_ = false;  // RefPicList1[0] is marked "used for long-term reference"
  Colocated colocated_;
  SliceReferences references_;
  int list0_size_ = 0;
  std::array<bool, 32> scaled_{};  // false: mvL0 = mvCol, mvL1 = 0 (long-term, or no distance)
  std::array<int, 32> DistScaleFactor_{};
  std::vector<Map> maps_;  // per slice of the co-located picture
  std::vector<uint8_t> map_made_;
};

}  // namespace cvdecode::h264
