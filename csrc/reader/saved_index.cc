#include "reader/saved_index.h"

#include <unistd.h>

#include <cerrno>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <span>
#include <system_error>
#include <utility>
#include <vector>

#include "backend/index_archive.h"
#include "base/error.h"

namespace cvdecode {
namespace {

// To be raised whenever an indexer or a structure that it fills changes.
constexpr const char* kVersion = "cvdecode index 3";

// What stands in front of the bytes: a hash of all that follows it.
uint64_t seal_of(const std::vector<uint8_t>& bytes) {
  return hash_of(std::span<const uint8_t>(bytes).subspan(sizeof(uint64_t)));
}

// Empty where the file cannot be read whole.
std::vector<uint8_t> content_of(const std::string& file) {
  std::error_code none;
  const uintmax_t size = std::filesystem::file_size(file, none);
  if (none) return {};
  std::vector<uint8_t> bytes(size);
  std::ifstream stream(file, std::ios::binary);
  stream.read(reinterpret_cast<char*>(bytes.data()), static_cast<std::streamsize>(size));
  if (stream.gcount() != static_cast<std::streamsize>(size)) return {};
  return bytes;
}

}  // namespace

SavedIndex::SavedIndex(std::string file, const std::string& stamp, const Demuxer& demuxer)
    : file_(std::move(file)) {
  if (file_.empty()) return;
  const std::string content = demuxer.fingerprint();
  if (content.empty()) {
    file_.clear();
    return;
  }
  // The library's version is not enough: a build with other structures must not read these bytes.
  key_ = std::string(kVersion) + " " + CVDECODE_VERSION + " " + index_layout() + " stream " +
         std::to_string(demuxer.wanted_stream()) + " content " + content + " stamp " + stamp;
}

bool SavedIndex::load(Demuxer& demuxer, FrameIndex& index,
                      std::shared_ptr<const NativeIndex>& native) const {
  if (file_.empty()) return false;
  const std::vector<uint8_t> bytes = content_of(file_);
  uint64_t hash = 0;
  if (bytes.size() < sizeof(hash)) return false;
  std::memcpy(&hash, bytes.data(), sizeof(hash));
  if (hash != seal_of(bytes)) return false;
  ArchiveReader in{std::span<const uint8_t>(bytes).subspan(sizeof(hash))};
  std::string key;
  in(key);
  if (key != key_) return false;
  // The bytes are what store() wrote, or a forgery, which must not do harm.
  FrameIndex fresh;
  std::shared_ptr<const NativeIndex> fresh_native;
  try {
    archive_index(in, fresh, &fresh_native);
    if (!demuxer.restore_scan(in)) return false;
  } catch (const Error& error) {
    if (error.kind() != ErrorKind::kCorrupt) throw;
    return false;
  }
  if (!is_plausible(fresh, fresh_native.get(), demuxer.packet_count())) {
    demuxer.forget_scan();
    return false;
  }
  index = std::move(fresh);
  native = std::move(fresh_native);
  return true;
}

void SavedIndex::store(Demuxer& demuxer, const FrameIndex& index, const NativeIndex* native) const {
  // Once open, what looked like a file may prove a playlist, whose own bytes say nothing of its
  // segments.
  if (file_.empty() || demuxer.fingerprint().empty()) return;
  ArchiveWriter out;
  uint64_t hash = 0;
  out(hash);
  std::string key = key_;
  out(key);
  archive_index(out, index, native);
  demuxer.archive_scan(out);
  std::vector<uint8_t> bytes = out.take();
  hash = seal_of(bytes);
  std::memcpy(bytes.data(), &hash, sizeof(hash));
  const std::string part = file_ + ".part" + std::to_string(getpid());
  {
    std::ofstream stream(part, std::ios::binary | std::ios::trunc);
    stream.write(reinterpret_cast<const char*>(bytes.data()),
                 static_cast<std::streamsize>(bytes.size()));
    stream.close();
    if (stream && std::rename(part.c_str(), file_.c_str()) == 0) return;
  }
  const std::string why = std::strerror(errno);
  unlink(part.c_str());
  throw Error(ErrorKind::kIo, file_ + ": the index cannot be written (" + why +
                                  "); name another index_file or leave it out");
}

}  // namespace cvdecode
