#include "accumulate/arrays.h"

#include <algorithm>
#include <cstdlib>
#include <numeric>
#include <set>
#include <string>
#include <utility>

#include "base/error.h"

namespace cvdecode {
namespace {

// Whether a cell refers to what the one before it does: mostly so, and much cheaper to ask.
bool same_reference(const ArrayRow& row, size_t cell) {
  return row.ref != nullptr ? row.ref[cell] == row.ref[cell - 1]
                            : row.ref_picture[cell] == row.ref_picture[cell - 1];
}

}  // namespace

ArrayProvider::ArrayProvider(const Geometry& geometry, std::vector<ArrayRow> rows)
    : geometry_(geometry), rows_(std::move(rows)) {
  const auto n = static_cast<int32_t>(rows_.size());
  number_of_.assign(rows_.size(), -1);
  std::vector<int32_t> first;  // rows, repeats of a presented frame left out
  bool ordered = true;
  for (int32_t row = 0; row < n; ++row) {
    const ArrayRow& r = rows_[static_cast<size_t>(row)];
    if (r.picture.presentation >= 0 && !row_at_.emplace(r.picture.presentation, row).second) {
      continue;
    }
    ordered &= r.decode >= 0;
    first.push_back(row);
  }
  order_ = first;
  if (ordered) {
    std::stable_sort(order_.begin(), order_.end(), [this](int32_t a, int32_t b) {
      return rows_[static_cast<size_t>(a)].decode < rows_[static_cast<size_t>(b)].decode;
    });
  } else {
    sort_by_references();
  }
  for (size_t i = 0; i < order_.size(); ++i) {
    number_of_[static_cast<size_t>(order_[i])] = static_cast<int32_t>(i);
  }
  if (ordered) find_neighbours();
}

// Places in the decode order of the stream as numbers of this provider.
void ArrayProvider::find_neighbours() {
  const auto from = [this](int64_t place) {
    const auto it = std::lower_bound(
        order_.begin(), order_.end(), place,
        [this](int32_t row, int64_t p) { return rows_[static_cast<size_t>(row)].decode < p; });
    return static_cast<int32_t>(it - order_.begin());
  };
  for (const int32_t row : order_) {
    ArrayRow& r = rows_[static_cast<size_t>(row)];
    r.picture.decode = static_cast<int32_t>(r.decode);
    if (r.last_intra != kNotTold) r.picture.from_last_intra = from(r.last_intra);
    if (r.previous_reference == kNotTold) continue;
    const int32_t number = from(r.previous_reference);
    const bool here = number < picture_count() &&
                      rows_[static_cast<size_t>(order_[static_cast<size_t>(number)])].decode ==
                          r.previous_reference;
    r.picture.previous_reference = here ? number : -1;
  }
}

MotionPicture ArrayProvider::picture(int32_t number) const {
  const ArrayRow& row = rows_[static_cast<size_t>(order_[static_cast<size_t>(number)])];
  MotionPicture picture = row.picture;
  if (picture.time < 0) picture.time = picture.presentation;
  return picture;
}

int32_t ArrayProvider::find(int64_t presentation) const {
  const auto it = row_at_.find(presentation);
  return it == row_at_.end() ? -1 : number_of_[static_cast<size_t>(it->second)];
}

// The row that a cell refers to, one of kRefPicture..., or how far away it is.
int32_t ArrayProvider::row_of_reference(const ArrayRow& row, size_t cell) const {
  if (row.ref == nullptr) {
    const int32_t r = row.ref_picture[cell];
    return r >= static_cast<int32_t>(rows_.size()) ? kRefPictureMissing : r;
  }
  const int16_t ref = row.ref[cell];
  switch (ref) {
    case kRefUnused: return kRefPictureUnused;
    case kRefUntrusted: return kRefPictureUntrusted;
    case kRefOtherField: return kRefPictureOtherField;
    case kRefMissing:
    case kRefNotShown: return kRefPictureMissing;
    default: break;
  }
  const auto it = row_at_.find(int64_t{row.picture.presentation} + ref);
  return it == row_at_.end() ? kAway - std::abs(int{ref}) : it->second;
}

// Depth first, in presentation order: the order is a decode order of the rows, not always the one
// of the file. Maps that follow references alone come out the same for any of them.
void ArrayProvider::sort_by_references() {
  const size_t cells =
      2 * static_cast<size_t>(geometry_.w4()) * static_cast<size_t>(geometry_.h4());
  std::vector<std::vector<int32_t>> uses(rows_.size());
  for (const int32_t row : order_) {
    const ArrayRow& r = rows_[static_cast<size_t>(row)];
    if (r.ref == nullptr && r.ref_picture == nullptr) continue;
    std::set<int32_t> distinct;
    for (size_t i = 0; i < cells; ++i) {
      if (i > 0 && same_reference(r, i)) continue;
      const int32_t to = row_of_reference(r, i);
      if (to >= 0) distinct.insert(to);
    }
    uses[static_cast<size_t>(row)].assign(distinct.begin(), distinct.end());
  }
  std::vector<int32_t> starts = order_;
  std::stable_sort(starts.begin(), starts.end(), [this](int32_t a, int32_t b) {
    return rows_[static_cast<size_t>(a)].picture.presentation <
           rows_[static_cast<size_t>(b)].picture.presentation;
  });
  order_.clear();
  enum : uint8_t { kNew, kOpen, kDone };
  std::vector<uint8_t> state(rows_.size(), kNew);
  std::vector<std::pair<int32_t, size_t>> stack;  // row, next of its references
  for (const int32_t start : starts) {
    if (state[static_cast<size_t>(start)] != kNew) continue;
    stack.emplace_back(start, 0);
    state[static_cast<size_t>(start)] = kOpen;
    while (!stack.empty()) {
      auto& [row, next] = stack.back();
      const auto& list = uses[static_cast<size_t>(row)];
      if (next < list.size()) {
        const int32_t to = list[next++];
        if (state[static_cast<size_t>(to)] != kNew) continue;  // done, or a circle: broken there
        state[static_cast<size_t>(to)] = kOpen;
        stack.emplace_back(to, 0);
      } else {
        state[static_cast<size_t>(row)] = kDone;
        order_.push_back(row);
        stack.pop_back();
      }
    }
  }
}

void ArrayProvider::read(std::span<const int32_t> pictures, PlaneMask planes, const Sink& sink) {
  const size_t cells =
      2 * static_cast<size_t>(geometry_.w4()) * static_cast<size_t>(geometry_.h4());
  const auto need = [](const void* plane, bool wanted, const char* name) {
    if (wanted && plane == nullptr) {
      throw Error(ErrorKind::kPlaneUnavailable,
                  std::string("the clip was read without the plane \"") + name +
                      "\" that this call needs: name it in `planes` when reading");
    }
  };
  for (const int32_t number : pictures) {
    const ArrayRow& row = rows_[static_cast<size_t>(order_[static_cast<size_t>(number)])];
    MotionView view;
    view.mb_type = row.mb_type;
    view.lost = row.lost;
    need(row.mv, has(planes, Plane::kMv), "mv");
    view.mv = row.mv;
    if (has(planes, Plane::kRefPicture)) {
      need(row.ref != nullptr ? static_cast<const void*>(row.ref) : row.ref_picture, true, "ref");
      references_.resize(cells);
      for (size_t i = 0; i < cells; ++i) {
        if (i > 0 && same_reference(row, i)) {
          references_[i] = references_[i - 1];
          continue;
        }
        const int32_t to = row_of_reference(row, i);
        references_[i] = to < 0 ? to : number_of_[static_cast<size_t>(to)];
        // A repeat of a row stands for its first copy, which is in row_at_ already.
        if (to >= 0 && references_[i] < 0) references_[i] = kRefPictureMissing;
      }
      view.ref_picture = references_.data();
    }
    if (has(planes, Plane::kResidualY)) {
      need(row.residual_y, true, "residual_y");
      view.residual_y = row.residual_y;
    }
    if (has(planes, Plane::kResidualUv)) {
      need(row.residual_uv, true, "residual_uv");
      view.residual_uv = row.residual_uv;
    }
    if (has(planes, Plane::kRgb)) {
      need(row.rgb, true, "rgb");
      view.rgb = row.rgb;
    }
    sink(number, view);
  }
}

}  // namespace cvdecode
