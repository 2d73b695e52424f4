// Motion that lies in memory: a Clip, or arrays made by hand.
#pragma once

#include <cstdint>
#include <unordered_map>
#include <vector>

#include "accumulate/motion.h"

namespace cvdecode {

// One row of the arrays. Pointers stay valid while the provider lives; null = not there.
struct ArrayRow {
  MotionPicture picture;                 // `time` is set by the provider where it is negative
  const int16_t* mv = nullptr;           // (2, 2, h4, w4)
  const int16_t* ref = nullptr;          // (2, h4, w4) public distances; or
  const int32_t* ref_picture = nullptr;  // (2, h4, w4) rows of the arrays
  const uint8_t* mb_type = nullptr;
  bool lost = false;
  const int16_t* residual_y = nullptr;  // coded size
  const int16_t* residual_uv = nullptr;
  const uint8_t* rgb = nullptr;
  int64_t decode = -1;  // place in decode order, -1 = unknown
  // Places too, of pictures that need not be among the rows, -1 = there is none: the nearest
  // reference picture before, and the last all-intra picture at or before.
  int64_t previous_reference = kNotTold;
  int64_t last_intra = kNotTold;
};

// Rows may come in any order and repeat. Decode order is taken from `decode` where every row has
// one, and else from the references: each picture after all that it refers to. Of such an order
// cross="mask", intra="coviar" and mode="coviar" say what holds among the rows, not in the stream.
class ArrayProvider : public MotionProvider {
 public:
  ArrayProvider(const Geometry& geometry, std::vector<ArrayRow> rows);

  int32_t picture_count() const override { return static_cast<int32_t>(order_.size()); }
  MotionPicture picture(int32_t number) const override;
  int32_t find(int64_t presentation) const override;
  Geometry geometry(int32_t) const override { return geometry_; }
  bool random_access() const override { return true; }
  void read(std::span<const int32_t> pictures, PlaneMask planes, const Sink& sink) override;

 private:
  void sort_by_references();
  void find_neighbours();
  int32_t row_of_reference(const ArrayRow& row, size_t cell) const;

  Geometry geometry_;
  std::vector<ArrayRow> rows_;
  std::vector<int32_t> order_;                   // decode number -> row
  std::vector<int32_t> number_of_;               // row -> decode number, -1 = a repeat
  std::unordered_map<int64_t, int32_t> row_at_;  // presentation index -> row
  std::vector<int32_t> references_;              // of the picture being read
};

}  // namespace cvdecode
