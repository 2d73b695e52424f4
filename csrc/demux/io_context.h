// A ByteSource as an AVIOContext, with a budget that ends endless loops inside libavformat.
#pragma once

#include <cstdint>
#include <exception>
#include <functional>

#include "av/handles.h"
#include "demux/source.h"

namespace cvdecode {

// Not movable: libavformat holds a pointer to it.
class IoContext {
 public:
  // `interrupted` is asked now and then; true stops reading with Error(kState). May be empty.
  IoContext(ByteSourcePtr source, std::function<bool()> interrupted);
  IoContext(const IoContext&) = delete;
  IoContext& operator=(const IoContext&) = delete;

  AVIOContext* get() { return io_.get(); }

  // Called for every packet that libavformat delivers. Without it, reading stops once several times
  // the whole source has been read: a hostile file has made libavformat run in circles.
  void note_progress() { bytes_since_progress_ = reads_since_progress_ = 0; }
  bool ran_in_circles() const { return ran_in_circles_; }

  // An exception of the source (a Python exception, an Error) cannot pass through C; it waits here.
  // Call after every libav call that may have read.
  void rethrow_pending();

 private:
  static int read_packet(void* self, uint8_t* out, int size);
  static int64_t seek(void* self, int64_t offset, int whence);
  int read(std::span<uint8_t> out);

  ByteSourcePtr source_;
  std::function<bool()> interrupted_;
  av::IoContextPtr io_;
  int64_t position_ = 0;
  int64_t bytes_since_progress_ = 0;
  int64_t reads_since_progress_ = 0;
  int64_t reads_ = 0;
  bool ran_in_circles_ = false;
  std::exception_ptr pending_;
};

}  // namespace cvdecode
