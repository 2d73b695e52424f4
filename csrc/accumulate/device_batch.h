// Plans of several clips as one buffer for a device, and the launches that carry them out.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "accumulate/plan.h"
#include "kernels/cuda/grid.h"
#include "kernels/cuda/launch.h"

namespace cvdecode {

// Where a clip's rows go, in memory of the device: each (T, ...) without gaps, at coded size, as in
// AccumulateResult, aligned to 16 bytes. 0 where not asked for.
struct DeviceOutputs {
  uintptr_t displacement = 0;
  uintptr_t anchor = 0;
  uintptr_t mask = 0;
  uintptr_t hops = 0;
  uintptr_t residual_y = 0;
  uintptr_t residual_uv = 0;
  uintptr_t mask_uv = 0;
  uintptr_t residual = 0;
  uintptr_t clipped = 0;  // one uint64, which starts at 0
};

class DeviceBatch {
 public:
  // Throws kInvalidArgument when the plans do not have one geometry and one set of options.
  explicit DeviceBatch(std::vector<std::shared_ptr<const TracePlan>> plans);

  size_t upload_bytes() const { return upload_bytes_; }    // of the buffer that goes over
  size_t scratch_bytes() const { return scratch_bytes_; }  // of the device, contents undefined

  // Fills `host` (upload_bytes), which is to be copied to `device`, and gives the launches in their
  // order. Both and `scratch` start on a boundary of 256 bytes.
  std::vector<kernels::Launch> pack(uint8_t* host, uintptr_t device, uintptr_t scratch,
                                    std::span<const DeviceOutputs> outputs) const;

 private:
  static constexpr size_t kNowhere = SIZE_MAX;

  // A step of some plan, and where its parts lie.
  struct Item {
    size_t clip = 0;
    size_t step = 0;
    size_t sources = kNowhere;  // offsets in the upload
    size_t vectors = kNowhere;
    size_t codes = kNowhere;
    size_t residual_y = kNowhere;
    size_t residual_uv = kNowhere;
    size_t map = kNowhere;        // in the scratch: a whole map, or the words of grid=4
    size_t positions = kNowhere;  // in the scratch: at_x and at_y of a row that was asked for
  };

  size_t reserve(size_t bytes);  // of the upload
  size_t map_bytes(const PlanStep& step) const;
  void place_maps();
  // By row of the result; kNowhere: a repeat, which is copied.
  std::vector<size_t> items_of_rows(size_t clip) const;
  kernels::Map map_of(const Item& item, uintptr_t scratch, const DeviceOutputs& outputs) const;
  kernels::Map row_of(int64_t row, const DeviceOutputs& outputs) const;

  std::vector<std::shared_ptr<const TracePlan>> plans_;
  std::vector<Item> items_;                  // by level, then clip
  std::vector<std::vector<size_t>> places_;  // [clip][step] in items_
  size_t table_ = 0;                         // of GridStep, one for each item
  size_t diff_table_ = 0, hide_table_ = 0;
  std::vector<size_t> end_tables_;           // of EndPixels, by clip
  std::vector<std::vector<size_t>> pixels_;  // [clip][place]
  size_t diffs_ = 0;
  size_t upload_bytes_ = 0;
  size_t scratch_bytes_ = 0;
};

}  // namespace cvdecode
