// Lends plane memory again once nobody else refers to it: streaming by batches() reuses the
// buffers of clips that were dropped and never touches those of clips that are still held.
#pragma once

#include <cstddef>
#include <vector>

#include "base/buffer.h"

namespace cvdecode {

class BufferPool {
 public:
  // A buffer of at least `bytes` (and at most twice as many) that only the pool refers to, or a
  // new one, zero if wanted. Contents are undefined when reused.
  BufferPtr take(size_t bytes, bool zeroed);

 private:
  static constexpr size_t kMostKept = 32;  // two generations of every plane, and some
  std::vector<BufferPtr> kept_;
};

}  // namespace cvdecode
