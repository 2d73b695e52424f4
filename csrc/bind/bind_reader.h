// The Python object around a VideoReader, for bindings that take one (accumulation).
#pragma once

#include <pybind11/pybind11.h>

#include <memory>

#include "reader/video_reader.h"

namespace cvdecode::bind {

// Python's _core.Reader. Null after close().
struct ReaderHandle {
  std::unique_ptr<VideoReader> reader;

  // The reader, or Error(kState) when it was closed. Callers then make a VideoReader::Use, and
  // release the GIL around native work.
  VideoReader& get() const;
};

}  // namespace cvdecode::bind
