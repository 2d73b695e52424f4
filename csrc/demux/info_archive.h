// What the container said of a stream, as bytes of a saved index.
#pragma once

#include "base/archive.h"
#include "frame/stream_info.h"

namespace cvdecode {

// All but the path, which belongs to the source.
void archive_info(ArchiveWriter& out, const StreamInfo& info);
// Throws Error(kCorrupt) where the bytes cannot be what libavformat said: they may be forged.
void archive_info(ArchiveReader& in, StreamInfo& info);

}  // namespace cvdecode
