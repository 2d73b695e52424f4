// Owned, aligned, counted memory: every plane handed to Python is one Buffer.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>

namespace cvdecode {

class Buffer {
 public:
  // 64-byte aligned. Throws Error(kMemory) naming the size. Contents are zero when zeroed is true.
  explicit Buffer(size_t bytes, bool zeroed);
  ~Buffer();
  Buffer(const Buffer&) = delete;
  Buffer& operator=(const Buffer&) = delete;

  void* data() { return data_; }
  const void* data() const { return data_; }
  size_t size() const { return size_; }

  // Number of live buffers and bytes in the process: tests bring these back to zero.
  static int64_t live_count();
  static int64_t live_bytes();

 private:
  void* data_ = nullptr;
  size_t size_ = 0;
};

using BufferPtr = std::shared_ptr<Buffer>;

}  // namespace cvdecode
