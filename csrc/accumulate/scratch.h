// Memory of the work itself: lent, given back, lent again.
#pragma once

#include <cstddef>
#include <memory>
#include <utility>
#include <vector>

#include "base/buffer.h"
#include "kernels/trace.h"

namespace cvdecode {

class Scratch {
 public:
  // At least `bytes`, contents undefined.
  std::unique_ptr<Buffer> take(size_t bytes) {
    for (auto it = free_.rbegin(); it != free_.rend(); ++it) {
      if ((*it)->size() < bytes || (*it)->size() / 2 > bytes) continue;
      std::unique_ptr<Buffer> buffer = std::move(*it);
      free_.erase(std::next(it).base());
      return buffer;
    }
    return std::make_unique<Buffer>(bytes, false);
  }
  void give_back(std::unique_ptr<Buffer> buffer) {
    if (buffer != nullptr) free_.push_back(std::move(buffer));
  }

 private:
  std::vector<std::unique_ptr<Buffer>> free_;
};

// The motion of a picture's blocks, in memory that goes back where it came from.
class BlockArray {
 public:
  BlockArray() = default;
  BlockArray(std::shared_ptr<Scratch> scratch, size_t size)
      : scratch_(std::move(scratch)),
        memory_(scratch_->take(size * sizeof(kernels::BlockMotion))),
        data_(static_cast<kernels::BlockMotion*>(memory_->data())),
        size_(size) {}
  BlockArray(BlockArray&&) = default;
  BlockArray& operator=(BlockArray&& other) noexcept {
    if (this == &other) return *this;
    release();
    scratch_ = std::move(other.scratch_);
    memory_ = std::move(other.memory_);
    data_ = std::exchange(other.data_, nullptr);
    size_ = std::exchange(other.size_, 0);
    return *this;
  }
  ~BlockArray() { release(); }

  kernels::BlockMotion* data() { return data_; }
  const kernels::BlockMotion* data() const { return data_; }
  size_t size() const { return size_; }
  bool empty() const { return size_ == 0; }
  kernels::BlockMotion& operator[](size_t i) { return data_[i]; }
  const kernels::BlockMotion& operator[](size_t i) const { return data_[i]; }

 private:
  void release() {
    if (memory_ != nullptr) scratch_->give_back(std::move(memory_));
  }

  std::shared_ptr<Scratch> scratch_;
  std::unique_ptr<Buffer> memory_;
  kernels::BlockMotion* data_ = nullptr;
  size_t size_ = 0;
};

}  // namespace cvdecode
