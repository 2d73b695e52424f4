#include "h264/slice_places.h"

#include <algorithm>
#include <climits>
#include <iterator>

namespace cvdecode::h264 {
namespace {

void lose(SliceSyntax& slice, const char* element) {
  slice.damaged = true;
  slice.ran_on = false;
  slice.damage = element;
  slice.mvd.clear();
}

int end_of(const SliceSyntax& slice) { return slice.first_mb + slice.mb_count; }

}  // namespace

void SlicePlaces::start(const PictureEntry& entry, int PicSizeInMbs) {
  entry_ = &entry;
  size_ = PicSizeInMbs;
  round_ = 0;
  ends_.resize(entry.slices.size());
  misplaced_.clear();
  retried_.clear();
  order_.clear();
  for (size_t s = 0; s < ends_.size(); ++s) order_.emplace_back(first(s), static_cast<int>(s));
  set_ends();
}

// Each slice of order_ ends where the next begins. Of those that begin at one place all but the
// first of the file are left without a macroblock.
void SlicePlaces::set_ends() {
  std::sort(order_.begin(), order_.end());
  int end = size_;
  for (size_t i = order_.size(); i-- > 0;) {
    const auto [first, slice] = order_[i];
    const bool taken = i > 0 && order_[i - 1].first == first;
    ends_[static_cast<size_t>(slice)] = taken ? first : end;
    if (!taken) end = first;
  }
}

// The whole slices, and those of `again` in whose way none of them is; the others leave it.
void SlicePlaces::order(const std::vector<SliceSyntax>& slices, std::vector<int>& again) {
  order_.clear();
  for (size_t s = 0; s < slices.size(); ++s) {
    if (!slices[s].damaged) order_.emplace_back(first(s), static_cast<int>(s));
  }
  std::sort(order_.begin(), order_.end());
  std::erase_if(again, [&](int s) {
    const int place = first(static_cast<size_t>(s));
    const auto after = std::upper_bound(order_.begin(), order_.end(), std::pair{place, INT_MAX});
    if (after == order_.begin()) return false;
    return end_of(slices[static_cast<size_t>(std::prev(after)->second)]) > place;
  });
  for (const int s : again) order_.emplace_back(first(static_cast<size_t>(s)), s);
  set_ends();
}

std::vector<int> SlicePlaces::settle(std::vector<SliceSyntax>& slices) {
  if (retried_.empty() &&
      std::none_of(slices.begin(), slices.end(), [](const auto& s) { return s.ran_on; })) {
    return {};
  }
  std::vector<int> again;
  for (; again.empty() && round_ < 3; ++round_) {
    if (round_ < 2) again = displace(slices, round_ == 1);
    if (round_ == 2) again = confirm(slices);
  }
  return again;
}

// It begins where the one before it in the file ends, or ends where the next begins.
bool SlicePlaces::fits(const std::vector<SliceSyntax>& slices, size_t slice) const {
  if (end_of(slices[slice]) == next(slice)) return true;
  if (slice == 0) return first(0) == 0;
  const SliceSyntax& before = slices[slice - 1];
  return !before.damaged && end_of(before) == first(slice);
}

// Slices that ran into one which is lost are decoded again without it; with `whole` those that ran
// into one which does not fit where it says that it begins.
std::vector<int> SlicePlaces::displace(std::vector<SliceSyntax>& slices, bool whole) {
  std::vector<int> again;
  misplaced_.resize(slices.size(), false);
  for (size_t s = 0; s < slices.size(); ++s) {
    if (!slices[s].ran_on) continue;
    const auto other = std::lower_bound(order_.begin(), order_.end(), std::pair{ends_[s], 0});
    if (other == order_.end() || other->first != ends_[s]) continue;  // the end of the picture
    const auto t = static_cast<size_t>(other->second);
    if (slices[t].damaged == whole || (whole && fits(slices, t))) continue;
    if (whole) misplaced_[t] = true;
    retried_.emplace_back(static_cast<int>(s), other->second);
    again.push_back(static_cast<int>(s));
  }
  for (size_t t = 0; t < slices.size(); ++t) {
    if (misplaced_[t]) lose(slices[t], "first_mb_in_slice");
  }
  order(slices, again);
  return again;
}

// Where no arithmetic code says where slice data end, garbage may end at the last bit by chance:
// such a slice must end where the next begins, a misplaced one between them left out of account.
bool SlicePlaces::is_confirmed(const std::vector<SliceSyntax>& slices, size_t slice) const {
  const int end = end_of(slices[slice]);
  if (end == next(slice)) return true;
  if (entry_->slices[slice].sets.pps->entropy_coding_mode_flag) return true;
  const size_t after = slice + 1;
  return after < slices.size() && misplaced_[after] && end + slices[after].mb_count == next(after);
}

// A slice that is lost all the same had its own damage: what it ran into comes back.
std::vector<int> SlicePlaces::confirm(std::vector<SliceSyntax>& slices) {
  std::vector<bool> blamed(slices.size(), false);
  for (const auto& [slice, other] : retried_) {
    const auto s = static_cast<size_t>(slice);
    if (!slices[s].damaged && !is_confirmed(slices, s)) lose(slices[s], "end of slice");
    if (!slices[s].damaged) blamed[static_cast<size_t>(other)] = true;
  }
  std::vector<int> back;
  for (size_t t = 0; t < slices.size(); ++t) {
    if (misplaced_[t] && !blamed[t]) back.push_back(static_cast<int>(t));
  }
  order(slices, back);
  return back;
}

}  // namespace cvdecode::h264
