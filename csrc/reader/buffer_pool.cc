#include "reader/buffer_pool.h"

#include <atomic>
#include <memory>

namespace cvdecode {

BufferPtr BufferPool::take(size_t bytes, bool zeroed) {
  for (const BufferPtr& buffer : kept_) {
    // use_count() is exact here: references are only dropped under the interpreter lock, by the
    // arrays' owners, or by the thread that calls.
    if (buffer.use_count() == 1 && buffer->size() >= bytes && buffer->size() / 2 <= bytes) {
      std::atomic_thread_fence(std::memory_order_acquire);  // after the last holder's writes
      return buffer;
    }
  }
  auto buffer = std::make_shared<Buffer>(bytes, zeroed);
  // A full pool forgets its oldest buffer, which lives on with whoever holds it.
  if (kept_.size() == kMostKept) kept_.erase(kept_.begin());
  kept_.push_back(buffer);
  return buffer;
}

}  // namespace cvdecode
