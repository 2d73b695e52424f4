// An index kept in a file, so that a video opened before opens without a scan.
#pragma once

#include <memory>
#include <string>

#include "demux/demuxer.h"
#include "frame/frame_index.h"

namespace cvdecode {

struct NativeIndex;

class SavedIndex {
 public:
  // An empty file name, or a source without random access: nothing is kept.
  SavedIndex(std::string file, const std::string& stamp, const Demuxer& demuxer);

  // False when there is no file, or it is of another source, version or stream, or damaged.
  bool load(Demuxer& demuxer, FrameIndex& index, std::shared_ptr<const NativeIndex>& native) const;
  // Under a temporary name, then renamed. Throws Error(kIo) naming the file.
  void store(Demuxer& demuxer, const FrameIndex& index, const NativeIndex* native) const;

 private:
  std::string file_;
  std::string key_;
};

}  // namespace cvdecode
