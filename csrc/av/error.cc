#include "av/error.h"

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <mutex>
#include <utility>

#include "av/handles.h"

extern "C" {
#include <libavutil/error.h>
#include <libavutil/log.h>
}

namespace cvdecode::av {
namespace {

struct Meaning {
  ErrorKind kind;
  const char* remedy;
};

Meaning meaning_of(int code) {
  switch (code) {
    case AVERROR(ENOENT): return {ErrorKind::kNotFound, "check the path"};
    case AVERROR(ENOMEM):
      return {ErrorKind::kMemory, "free some memory or ask for fewer frames at a time"};
    case AVERROR_INVALIDDATA:
      return {ErrorKind::kCorrupt, "expected a video file; is it damaged, or of another kind?"};
    case AVERROR_DEMUXER_NOT_FOUND:
    case AVERROR_DECODER_NOT_FOUND:
    case AVERROR_STREAM_NOT_FOUND:
      return {ErrorKind::kUnsupported, "this build of FFmpeg has no reader for it"};
    case AVERROR_PROTOCOL_NOT_FOUND:
      return {ErrorKind::kUnsupported,
              "this build of FFmpeg lacks that protocol; download the file, or pass a file object"};
    case AVERROR_PATCHWELCOME:
      return {ErrorKind::kUnsupported, "FFmpeg does not read this kind of stream"};
    case AVERROR_EOF: return {ErrorKind::kCorrupt, "the file ends too early"};
    case AVERROR_HTTP_BAD_REQUEST:
    case AVERROR_HTTP_UNAUTHORIZED:
    case AVERROR_HTTP_FORBIDDEN:
    case AVERROR_HTTP_OTHER_4XX:
    case AVERROR_HTTP_SERVER_ERROR: return {ErrorKind::kIo, "the server refused the request"};
    case AVERROR_HTTP_NOT_FOUND: return {ErrorKind::kNotFound, "check the address"};
    case AVERROR_BUG:
    case AVERROR_BUG2: return {ErrorKind::kCorrupt, "FFmpeg reports an internal error"};
    case AVERROR(EACCES):
    case AVERROR(EPERM): return {ErrorKind::kIo, "check the permissions"};
    case AVERROR(EINVAL): return {ErrorKind::kCorrupt, ""};
    default: return {ErrorKind::kIo, ""};
  }
}

int level_from_environment() {
  const char* text = std::getenv("CVDECODE_LOG");
  if (text == nullptr || *text == '\0') return AV_LOG_QUIET;
  static constexpr std::pair<const char*, int> kLevels[] = {
      {"quiet", AV_LOG_QUIET},     {"panic", AV_LOG_PANIC},     {"fatal", AV_LOG_FATAL},
      {"error", AV_LOG_ERROR},     {"warning", AV_LOG_WARNING}, {"info", AV_LOG_INFO},
      {"verbose", AV_LOG_VERBOSE}, {"debug", AV_LOG_DEBUG},     {"trace", AV_LOG_TRACE}};
  for (const auto& [name, level] : kLevels) {
    if (std::strcmp(text, name) == 0) return level;
  }
  char* end = nullptr;
  const long number = std::strtol(text, &end, 10);
  return *end == '\0' ? static_cast<int>(number) : AV_LOG_ERROR;
}

}  // namespace

std::string error_text(int code) {
  char buffer[AV_ERROR_MAX_STRING_SIZE] = {0};
  av_strerror(code, buffer, sizeof(buffer));
  return buffer;
}

Error make_error(int code, const std::string& what) {
  const Meaning meaning = meaning_of(code);
  std::string message = what + ": " + error_text(code);
  if (*meaning.remedy != '\0') message += std::string(" (") + meaning.remedy + ")";
  return Error(meaning.kind, message);
}

int check(int code, const std::string& what) {
  if (code < 0) throw make_error(code, what);
  return code;
}

void init_log() {
  // Only when unset elsewhere: PyAV or torchcodec may share the process and this global.
  static std::once_flag once;
  std::call_once(once, [] {
    if (std::getenv("CVDECODE_LOG") != nullptr || av_log_get_level() == AV_LOG_INFO) {
      av_log_set_level(level_from_environment());
    }
  });
}

}  // namespace cvdecode::av
