// Which macroblocks each slice of a picture may write, and who is wrong where two want the same: a
// damaged first_mb_in_slice must not cost another slice than its own.
#pragma once

#include <cstddef>
#include <utility>
#include <vector>

#include "h264/macroblock.h"
#include "h264/native_index.h"

namespace cvdecode::h264 {

class SlicePlaces {
 public:
  // A slice may write up to where any other begins, so that no two ever write to one macroblock.
  // `entry` must stay.
  void start(const PictureEntry& entry, int PicSizeInMbs);
  // No macroblock at or beyond this address is the slice's.
  int mb_end(int slice) const { return ends_[static_cast<size_t>(slice)]; }

  // To be called when all slices, and again when all that it gave the last time, have been decoded.
  // Slices that were decoded where they do not belong are marked as damaged; returned are those to
  // be decoded (again), up to a new mb_end() each. At most four rounds.
  std::vector<int> settle(std::vector<SliceSyntax>& slices);

 private:
  std::vector<int> displace(std::vector<SliceSyntax>& slices, bool whole);
  std::vector<int> confirm(std::vector<SliceSyntax>& slices);
  int first(size_t slice) const { return entry_->slices[slice].header.first_mb_in_slice; }
  // Where the next slice of the file begins; behind the last: the end of the picture.
  int next(size_t slice) const { return slice + 1 < ends_.size() ? first(slice + 1) : size_; }
  bool fits(const std::vector<SliceSyntax>& slices, size_t slice) const;
  bool is_confirmed(const std::vector<SliceSyntax>& slices, size_t slice) const;
  void order(const std::vector<SliceSyntax>& slices, std::vector<int>& again);
  void set_ends();

  const PictureEntry* entry_ = nullptr;
  int size_ = 0;
  std::vector<int> ends_;
  std::vector<std::pair<int, int>> order_;    // (first_mb_in_slice, slice), rising
  std::vector<std::pair<int, int>> retried_;  // (slice, the one that it ran into)
  std::vector<bool> misplaced_;
  int round_ = 0;
};

}  // namespace cvdecode::h264
