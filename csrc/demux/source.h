// Where bytes come from: a file, the caller's memory, a callback object, or a URL. All but a few
// URL protocols are random-access, so packets can later be read without libavformat.
#pragma once

#include <cstddef>
#include <cstdint>
#include <exception>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <utility>

namespace cvdecode {

// Used by one thread at a time.
class ByteSource {
 public:
  virtual ~ByteSource() = default;
  // For messages: the path, "<bytes>", "<file object>", the URL.
  virtual const std::string& name() const = 0;
  // Bytes in all.
  virtual int64_t size() const = 0;
  // Reads up to out.size() bytes from `position`; fewer only at the end of the source. Throws
  // Error(kIo).
  virtual size_t read_at(int64_t position, std::span<uint8_t> out) = 0;
  // The whole content where it lies in memory, else empty.
  virtual std::span<const uint8_t> memory() const { return {}; }
};

using ByteSourcePtr = std::shared_ptr<ByteSource>;

// Read by pread, never mapped: a file that is truncated while it is read gives an Error, not a
// SIGBUS. Throws Error(kNotFound, kIo for a folder or missing rights, kCorrupt for an empty file).
ByteSourcePtr open_file_source(const std::string& path);

// No copy; `owner` is held until the source dies. Throws Error(kCorrupt) when empty.
ByteSourcePtr make_memory_source(std::span<const uint8_t> data, std::shared_ptr<void> owner);

// A seekable object behind a function, for example a Python file object (the binding takes the
// GIL). `read_at` has ByteSource's contract; what it throws passes through libavformat unharmed.
// Small reads are served from a cache, because each call may be a network request.
using ReadAt = std::function<size_t(int64_t position, std::span<uint8_t> out)>;
ByteSourcePtr make_callback_source(std::string name, int64_t size, ReadAt read_at);

// An address that libavformat's protocols can open and seek in (https with ranges, for example).
// Null when the protocol has no random access (rtsp, a playlist, a pipe): then libavformat must
// read it by itself. Throws Error(kNotFound, kIo, kUnsupported), and what `interrupted` throws.
ByteSourcePtr open_url_source(const std::string& url, std::function<bool()> interrupted);

// A question "shall work end?" for libavformat, which asks it while it waits for a server. What
// the question throws cannot pass through C: it waits until rethrow(). Must stay at its address.
class Interrupt {
 public:
  explicit Interrupt(std::function<bool()> interrupted) : interrupted_(std::move(interrupted)) {}
  static int ask(void* self);
  void rethrow() {
    if (pending_) std::rethrow_exception(std::exchange(pending_, nullptr));
  }

 private:
  std::function<bool()> interrupted_;  // may be empty
  std::exception_ptr pending_;
};

// How long a server may stay silent, for libavformat's option rw_timeout.
inline constexpr const char* kUrlTimeoutMicroseconds = "60000000";

// True for "scheme://..." with a scheme of two letters or more; file:// counts as a path.
bool is_url(const std::string& text);

}  // namespace cvdecode
