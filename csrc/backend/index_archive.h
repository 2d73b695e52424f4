// The index of a stream as bytes, so that it can be kept on disk.
#pragma once

#include <memory>
#include <string>

#include "base/archive.h"
#include "frame/frame_index.h"

namespace cvdecode {

struct NativeIndex;

void archive_index(ArchiveWriter& out, const FrameIndex& index, const NativeIndex* native);
// *native stays null for codecs that have none. Throws Error(kCorrupt).
void archive_index(ArchiveReader& in, FrameIndex& index,
                   std::shared_ptr<const NativeIndex>* native);
// Sizes of the structures inside: another build's bytes are told apart by it.
std::string index_layout();

}  // namespace cvdecode
