// One AVCodecContext, set up so that what it exports is deterministic and nothing is withheld.
#pragma once

#include <cstdint>
#include <string>

#include "av/handles.h"
#include "base/packet.h"
#include "frame/stream_info.h"

namespace cvdecode {

struct DecoderOptions {
  bool vectors = false;  // export motion vectors as side data
  bool qp = false;       // export AVVideoEncParams as side data
  bool pixels = false;   // the frame's samples matter: the loop filter stays on
  int num_threads = 1;
  // Pictures that must be held back so that they leave in output order. libavcodec guesses it from
  // the stream so far and drops what comes too late; the index knows it.
  int reorder_depth = 0;
  int64_t max_pixels = 0;  // larger pictures are refused before memory is taken
};

class LibavDecoder {
 public:
  // Throws kUnsupported when there is no decoder or it does not accept the stream's parameters.
  LibavDecoder(const StreamInfo& info, const DecoderOptions& options);
  LibavDecoder(const LibavDecoder&) = delete;  // the context points to memory_
  LibavDecoder& operator=(const LibavDecoder&) = delete;

  // `tag` comes back as AVFrame::pts. Returns what is wrong with the packet, "" = nothing.
  // Every frame must have been received before.
  std::string send(const Packet& packet, int64_t tag);
  // The end of the stream: the frames still inside come out.
  void drain();
  // The next frame that is ready, null when the decoder wants a packet (or is drained). The frame
  // is the decoder's own and valid until the next call. `error` is set when decoding failed.
  AVFrame* receive(std::string* error);
  // Forgets every picture; parameter sets stay.
  void flush();

 private:
  av::BufferRefPtr memory_;  // of every picture, where samples do not matter
  av::CodecContextPtr context_;
  av::PacketPtr packet_;
  av::FramePtr frame_;
};

}  // namespace cvdecode
