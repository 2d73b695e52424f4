// What Python may pass as a source -> Demuxer.
#pragma once

#include <pybind11/pybind11.h>

#include <memory>

#include "demux/demuxer.h"

namespace cvdecode::bind {

// `source`: str or os.PathLike (a path, or "scheme://..."), bytes, bytearray, memoryview or any
// C-contiguous buffer (no copy; kept alive), or a seekable binary file object. The GIL is held on
// entry and released while libavformat works. Throws TypeError for anything else.
std::unique_ptr<Demuxer> open_demuxer(const pybind11::object& source, DemuxOptions options);

// For DemuxOptions::interrupted: throws the pending Python error, KeyboardInterrupt after Ctrl-C
// for example; else false. Takes the GIL.
bool signal_pending();

}  // namespace cvdecode::bind
