#include "demux/io_context.h"

#include <cerrno>
#include <utility>

#include "base/error.h"

namespace cvdecode {
namespace {

constexpr int kBufferBytes = 1 << 16;
// Measured on whole files, libavformat reads a file at most about twice while it looks for the
// first packet (the table at the end of an MP4, the duration of a TS at its end).
constexpr int64_t kMaxPasses = 8;
constexpr int64_t kFreeBytes = int64_t{64} << 20;

}  // namespace

IoContext::IoContext(ByteSourcePtr source, std::function<bool()> interrupted)
    : source_(std::move(source)), interrupted_(std::move(interrupted)) {
  auto* buffer = static_cast<uint8_t*>(av_malloc(kBufferBytes));
  if (buffer == nullptr) throw Error(ErrorKind::kMemory, "out of memory: cannot allocate a buffer");
  io_.reset(avio_alloc_context(buffer, kBufferBytes, 0, this, &IoContext::read_packet, nullptr,
                               &IoContext::seek));
  if (io_ == nullptr) {
    av_free(buffer);
    throw Error(ErrorKind::kMemory, "out of memory: cannot allocate an AVIOContext");
  }
}

void IoContext::rethrow_pending() {
  if (pending_) std::rethrow_exception(std::exchange(pending_, nullptr));
}

int IoContext::read_packet(void* self, uint8_t* out, int size) {
  if (size <= 0) return 0;
  return static_cast<IoContext*>(self)->read({out, static_cast<size_t>(size)});
}

int IoContext::read(std::span<uint8_t> out) {
  if (pending_) return AVERROR_EXIT;
  try {
    if (interrupted_ && (++reads_ & 63) == 0 && interrupted_()) {
      throw Error(ErrorKind::kState, source_->name() + ": interrupted");
    }
    if (bytes_since_progress_ > kMaxPasses * source_->size() + kFreeBytes ||
        ++reads_since_progress_ > (1 << 20) + source_->size()) {
      ran_in_circles_ = true;
      return AVERROR_EXIT;
    }
    const size_t got = source_->read_at(position_, out);
    if (got == 0) return AVERROR_EOF;
    position_ += static_cast<int64_t>(got);
    bytes_since_progress_ += static_cast<int64_t>(got);
    return static_cast<int>(got);
  } catch (...) {
    pending_ = std::current_exception();
    return AVERROR_EXIT;
  }
}

int64_t IoContext::seek(void* opaque, int64_t offset, int whence) {
  auto* self = static_cast<IoContext*>(opaque);
  switch (whence & ~AVSEEK_FORCE) {
    case AVSEEK_SIZE: return self->source_->size();
    case SEEK_SET: break;
    case SEEK_CUR:  // offsets come out of the file: the sum may not fit
      if (__builtin_add_overflow(offset, self->position_, &offset)) return AVERROR(EINVAL);
      break;
    case SEEK_END:
      if (__builtin_add_overflow(offset, self->source_->size(), &offset)) return AVERROR(EINVAL);
      break;
    default: return AVERROR(EINVAL);
  }
  if (offset < 0) return AVERROR(EINVAL);
  return self->position_ = offset;
}

}  // namespace cvdecode
