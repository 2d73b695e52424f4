// Owned, aligned, counted memory: every plane handed to Python is one Buffer.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <utility>
#include <vector>

namespace cvdecode {

class Buffer {
 public:
  // 64-byte aligned. Throws Error(kMemory) naming the size. Contents are zero when zeroed is true.
  explicit Buffer(size_t bytes, bool zeroed);
  // Somebody else's memory, which `owner` keeps; not counted.
  Buffer(void* data, size_t bytes, std::shared_ptr<void> owner);
  ~Buffer();
  Buffer(const Buffer&) = delete;
  Buffer& operator=(const Buffer&) = delete;

  void* data() { return data_; }
  const void* data() const { return data_; }
  size_t size() const { return size_; }
  uint64_t id() const { return id_; }  // unique in the process, never 0

  // What the writer of a residual plane left for the next one: which blocks may differ from zero,
  // one word per macroblock. It holds only while nobody else writes here: whoever does, or uses the
  // memory for something else, calls forget().
  struct Note {
    bool zero = false;          // nothing has been written yet
    uint64_t partner = 0;       // id of the buffer written together with this one
    std::pair<int, int> shape;  // macroblocks of one picture: columns, rows
    std::vector<uint32_t> words;
  };
  Note note;
  void forget() { note = Note{}; }

  // Number of live buffers and bytes in the process: tests bring these back to zero.
  static int64_t live_count();
  static int64_t live_bytes();

 private:
  void* data_ = nullptr;
  size_t size_ = 0;
  uint64_t id_ = 0;
  std::shared_ptr<void> owner_;  // null: the memory is ours
};

using BufferPtr = std::shared_ptr<Buffer>;

}  // namespace cvdecode
