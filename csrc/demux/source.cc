#include "demux/source.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <list>
#include <system_error>
#include <unordered_map>
#include <utility>
#include <vector>

#include "av/error.h"
#include "av/handles.h"
#include "base/error.h"

namespace cvdecode {
namespace {

std::string errno_text(int code) { return std::generic_category().message(code); }

[[noreturn]] void throw_empty(const std::string& name) {
  throw Error(ErrorKind::kCorrupt, name + ": is empty (0 bytes); expected a video file");
}

class FileSource final : public ByteSource {
 public:
  explicit FileSource(const std::string& path) : name_(path) {
    fd_ = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);  // a FIFO must not block us
    if (fd_ < 0) {
      const int code = errno;
      if (code == ENOENT || code == ENOTDIR) {
        throw Error(ErrorKind::kNotFound, path + ": no such file; check the path");
      }
      throw Error(ErrorKind::kIo, path + ": cannot open: " + errno_text(code));
    }
    struct stat status {};
    if (::fstat(fd_, &status) != 0) fail("cannot stat");
    if (S_ISDIR(status.st_mode)) {
      ::close(fd_);
      throw Error(ErrorKind::kIo, path + ": is a folder; expected a video file");
    }
    if (!S_ISREG(status.st_mode) && !S_ISBLK(status.st_mode)) {
      ::close(fd_);
      throw Error(ErrorKind::kIo,
                  path + ": is no regular file (a pipe or device); read it into bytes first");
    }
    size_ = S_ISBLK(status.st_mode) ? ::lseek(fd_, 0, SEEK_END) : status.st_size;
    if (size_ <= 0) {
      ::close(fd_);
      throw_empty(path);
    }
  }
  ~FileSource() override { ::close(fd_); }
  FileSource(const FileSource&) = delete;
  FileSource& operator=(const FileSource&) = delete;

  const std::string& name() const override { return name_; }
  int64_t size() const override { return size_; }

  size_t read_at(int64_t position, std::span<uint8_t> out) override {
    size_t done = 0;
    while (done < out.size()) {
      const ssize_t got = ::pread(fd_, out.data() + done, out.size() - done,
                                  static_cast<off_t>(position) + static_cast<off_t>(done));
      if (got < 0) {
        if (errno == EINTR) continue;
        throw Error(ErrorKind::kIo, name_ + ": cannot read at byte " + std::to_string(position) +
                                        ": " + errno_text(errno));
      }
      if (got == 0) break;
      done += static_cast<size_t>(got);
    }
    return done;
  }

 private:
  [[noreturn]] void fail(const char* what) {
    const int code = errno;
    ::close(fd_);
    throw Error(ErrorKind::kIo, name_ + ": " + what + ": " + errno_text(code));
  }

  std::string name_;
  int fd_ = -1;
  int64_t size_ = 0;
};

class MemorySource final : public ByteSource {
 public:
  MemorySource(std::span<const uint8_t> data, std::shared_ptr<void> owner)
      : data_(data), owner_(std::move(owner)) {
    if (data_.empty()) throw_empty(name_);
  }
  const std::string& name() const override { return name_; }
  int64_t size() const override { return static_cast<int64_t>(data_.size()); }
  std::span<const uint8_t> memory() const override { return data_; }

  size_t read_at(int64_t position, std::span<uint8_t> out) override {
    if (position < 0 || position >= size()) return 0;
    const size_t count = std::min(out.size(), data_.size() - static_cast<size_t>(position));
    if (count != 0) std::memcpy(out.data(), data_.data() + position, count);
    return count;
  }

 private:
  std::string name_ = "<bytes>";
  std::span<const uint8_t> data_;
  std::shared_ptr<void> owner_;
};

// The last few blocks of a source where each read is dear. The scan reads everything twice, once
// through libavformat and once to find out where packets lie; the second time hits this cache.
class CachedSource : public ByteSource {
 public:
  CachedSource(std::string name, int64_t size) : name_(std::move(name)), size_(size) {
    if (size_ == 0) throw_empty(name_);
  }
  const std::string& name() const override { return name_; }
  int64_t size() const override { return size_; }

  size_t read_at(int64_t position, std::span<uint8_t> out) override {
    size_t done = 0;
    while (done < out.size()) {
      const int64_t at = position + static_cast<int64_t>(done);
      if (at < 0 || at >= size_) break;
      const std::vector<uint8_t>& block = load(at / kBlock);
      const auto start = static_cast<size_t>(at % kBlock);
      if (start >= block.size()) break;
      const size_t count = std::min(out.size() - done, block.size() - start);
      std::memcpy(out.data() + done, block.data() + start, count);
      done += count;
    }
    return done;
  }

 protected:
  virtual size_t read_uncached(int64_t position, std::span<uint8_t> out) = 0;

 private:
  static constexpr int64_t kBlock = 1 << 17;
  static constexpr size_t kBlocks = 32;  // 4 MiB in all

  const std::vector<uint8_t>& load(int64_t number) {
    if (const auto it = where_.find(number); it != where_.end()) {
      blocks_.splice(blocks_.begin(), blocks_, it->second);
      return it->second->second;
    }
    std::vector<uint8_t> data(static_cast<size_t>(std::min(kBlock, size_ - number * kBlock)));
    size_t done = 0;
    while (done < data.size()) {  // a raw file object may give less than asked for
      const size_t got = read_uncached(number * kBlock + static_cast<int64_t>(done),
                                       std::span(data).subspan(done));
      if (got == 0) break;
      done += std::min(got, data.size() - done);
    }
    data.resize(done);
    if (blocks_.size() >= kBlocks) {
      where_.erase(blocks_.back().first);
      blocks_.pop_back();
    }
    blocks_.emplace_front(number, std::move(data));
    where_[number] = blocks_.begin();
    return blocks_.front().second;
  }

  std::string name_;
  int64_t size_;
  std::list<std::pair<int64_t, std::vector<uint8_t>>> blocks_;  // most recent first
  std::unordered_map<int64_t, decltype(blocks_)::iterator> where_;
};

class CallbackSource final : public CachedSource {
 public:
  CallbackSource(std::string name, int64_t size, ReadAt read_at)
      : CachedSource(std::move(name), size), read_at_(std::move(read_at)) {}

 protected:
  size_t read_uncached(int64_t position, std::span<uint8_t> out) override {
    return read_at_(position, out);
  }

 private:
  ReadAt read_at_;
};

struct AvioCloser {
  void operator()(AVIOContext* p) const { avio_close(p); }
};

class UrlSource final : public CachedSource {
 public:
  UrlSource(const std::string& url, std::unique_ptr<Interrupt> interrupt,
            std::unique_ptr<AVIOContext, AvioCloser> io, int64_t size)
      : CachedSource(url, size), interrupt_(std::move(interrupt)), io_(std::move(io)) {}

 protected:
  size_t read_uncached(int64_t position, std::span<uint8_t> out) override {
    const int64_t at = avio_seek(io_.get(), position, SEEK_SET);
    interrupt_->rethrow();
    if (at < 0) throw av::make_error(static_cast<int>(at), name() + ": cannot seek");
    const int count = static_cast<int>(std::min<size_t>(out.size(), 1 << 20));
    const int got = avio_read(io_.get(), out.data(), count);
    interrupt_->rethrow();
    if (got == AVERROR_EOF) return 0;
    return static_cast<size_t>(av::check(got, name() + ": cannot read"));
  }

 private:
  std::unique_ptr<Interrupt> interrupt_;  // outlives io_, which points to it
  std::unique_ptr<AVIOContext, AvioCloser> io_;
};

}  // namespace

ByteSourcePtr open_file_source(const std::string& path) {
  return std::make_shared<FileSource>(path);
}

ByteSourcePtr make_memory_source(std::span<const uint8_t> data, std::shared_ptr<void> owner) {
  return std::make_shared<MemorySource>(data, std::move(owner));
}

ByteSourcePtr make_callback_source(std::string name, int64_t size, ReadAt read_at) {
  return std::make_shared<CallbackSource>(std::move(name), size, std::move(read_at));
}

int Interrupt::ask(void* self) {
  auto* interrupt = static_cast<Interrupt*>(self);
  if (interrupt->pending_) return 1;
  try {
    if (!interrupt->interrupted_ || !interrupt->interrupted_()) return 0;
    throw Error(ErrorKind::kState, "interrupted while reading from an address");
  } catch (...) {
    interrupt->pending_ = std::current_exception();
    return 1;
  }
}

ByteSourcePtr open_url_source(const std::string& url, std::function<bool()> interrupted) {
  av::init_log();
  auto interrupt = std::make_unique<Interrupt>(std::move(interrupted));
  const AVIOInterruptCB callback = {&Interrupt::ask, interrupt.get()};
  AVIOContext* io = nullptr;
  AVDictionary* options = nullptr;
  av_dict_set(&options, "rw_timeout", kUrlTimeoutMicroseconds, 0);  // a silent server must not hang
  const int code = avio_open2(&io, url.c_str(), AVIO_FLAG_READ, &callback, &options);
  av_dict_free(&options);
  interrupt->rethrow();
  // rtsp, for example, is a demuxer that opens its own connections, not a protocol.
  if (code == AVERROR_PROTOCOL_NOT_FOUND) return nullptr;
  av::check(code, "cannot open " + url);
  std::unique_ptr<AVIOContext, AvioCloser> owned(io);
  const int64_t size = avio_size(io);
  interrupt->rethrow();
  if (size < 0 || (io->seekable & AVIO_SEEKABLE_NORMAL) == 0) return nullptr;
  return std::make_shared<UrlSource>(url, std::move(interrupt), std::move(owned), size);
}

bool is_url(const std::string& text) {
  const size_t colon = text.find("://");
  if (colon == std::string::npos || colon < 2) return false;
  const auto is_scheme_letter = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '+' ||
           c == '-' || c == '.';
  };
  return std::all_of(text.begin(), text.begin() + static_cast<ptrdiff_t>(colon),
                     is_scheme_letter) &&
         text.compare(0, colon, "file") != 0;
}

}  // namespace cvdecode
