// libav's error codes as cvdecode::Error, and libav's log as quiet unless asked for.
#pragma once

#include <string>

#include "base/error.h"

namespace cvdecode::av {

// libav's own words for an AVERROR code.
std::string error_text(int code);

// The Error for an AVERROR code. `what` says what was tried and on which file, for example
// "cannot open clip.mp4"; libav's words and, where there is one, a remedy are appended.
Error make_error(int code, const std::string& what);

// Throws make_error(code, what) if code < 0, else returns code.
int check(int code, const std::string& what);

// Sets libav's log level from the environment variable CVDECODE_LOG (quiet, panic, fatal, error,
// warning, info, verbose, debug, trace, or a number); quiet where it is unset, because what matters
// is thrown as an Error or counted in video.stats. Idempotent and cheap; called before any other
// use of libav.
void init_log();

}  // namespace cvdecode::av
