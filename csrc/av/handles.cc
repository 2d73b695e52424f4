#include "av/handles.h"

#include <string>

#include "base/error.h"

namespace cvdecode::av {
namespace {

template <typename P>
P owned(typename P::pointer p, const char* what) {
  if (p == nullptr) {
    throw Error(ErrorKind::kMemory, std::string("out of memory: cannot allocate ") + what);
  }
  return P(p);
}

}  // namespace

FramePtr make_frame() { return owned<FramePtr>(av_frame_alloc(), "a frame"); }
PacketPtr make_packet() { return owned<PacketPtr>(av_packet_alloc(), "a packet"); }
CodecContextPtr make_codec_context(const AVCodec* codec) {
  return owned<CodecContextPtr>(avcodec_alloc_context3(codec), "a codec context");
}

}  // namespace cvdecode::av
