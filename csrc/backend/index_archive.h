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

// Whether an index that came from a file can be one of a stream of so many packets: nothing in it
// leads a reader out of its arrays. A checksum alone does not tell: files can be forged.
bool is_plausible(const FrameIndex& index, const NativeIndex* native, int64_t packets);

}  // namespace cvdecode
