// The interface of the two backends, and the indexer that both share per codec.
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/packet.h"
#include "frame/clip.h"
#include "frame/frame_index.h"
#include "frame/stream_info.h"

namespace cvdecode {

// Reads headers of packets in file order and makes the index. One implementation per codec family.
class Indexer {
 public:
  virtual ~Indexer() = default;
  virtual void add_packet(const Packet& packet) = 0;
  virtual FrameIndex finish() = 0;
};

// What a backend can fill for one stream.
struct Capabilities {
  PlaneMask planes = 0;
  std::array<std::string, kPlaneCount> why_not;  // for planes it cannot fill: the reason, in words
};

// Work counters, public through video.stats: tests of laziness read them.
struct Stats {
  int64_t packets_read = 0;
  int64_t slices_parsed = 0;     // native: slices entropy-decoded
  int64_t pictures_parsed = 0;   // native: pictures whose slices were entropy-decoded
  int64_t pictures_decoded = 0;  // libav: frames that came out of the decoder
  int64_t seeks = 0;             // libav: decoder restarts
  int64_t slices_lost = 0;
  int64_t slices_skipped = 0;             // redundant pictures and NAL types outside the base view
  std::map<int64_t, std::string> damage;  // decode number -> what was lost and why
};

// One row to fill: the picture with this decode number goes to row `row` of the clip.
struct Request {
  int32_t picture = 0;
  int64_t row = 0;
};

// What pytorch-coviar's loader needs of one picture.
struct BgrRequest {
  int32_t picture = 0;
  uint8_t* bgr = nullptr;  // uint8 (height, width, 3) of the display size; null = not wanted
  // Memory for list 0 of the mv plane; null = not wanted. It is filled, and has_mv set, where what
  // comes out with the pixels certainly is what read() gives: no second pass is needed then.
  int16_t* mv = nullptr;
  bool has_mv = false;
};

// A backend is used by one thread at a time. It may start threads of its own inside read().
class Backend {
 public:
  virtual ~Backend() = default;
  virtual const char* name() const = 0;  // "native" or "libav"
  virtual const Capabilities& capabilities() const = 0;
  // Fills `planes` (a subset of clip.planes) of the rows asked for. Requests are sorted by decode
  // number and unique; all lie in one segment, whose geometry is the clip's. Rows may hold stale
  // data of an earlier batch: every cell is written. What cannot be had becomes fill_lost() plus
  // an entry in stats().damage; Error is thrown only for what makes the whole stream unreadable.
  virtual void read(std::span<const Request> requests, PlaneMask planes, Clip& clip) = 0;
  virtual const Stats& stats() const = 0;
  // Pictures as pytorch-coviar's loader converts them, in one pass. Requests are sorted by decode
  // number and unique. False: pixels that were asked for are lost.
  virtual bool read_bgr(std::span<BgrRequest> requests) {
    (void)requests;
    throw Error(ErrorKind::kPlaneUnavailable, std::string(name()) + " decodes no pixels");
  }
};

// The references are valid for the life of the backend.
struct BackendContext {
  const StreamInfo& info;
  const FrameIndex& index;
  PacketSource& packets;
  int num_threads = 1;
};

std::unique_ptr<Backend> make_libav_backend(const BackendContext& context);
// Throws Error(kUnsupported) naming the syntax element, its value and the NAL when the stream is
// outside the native scope (docs/design.md). `native_index` is what the h264 indexer kept.
struct NativeIndex;  // owned by the indexer that made the FrameIndex
std::unique_ptr<Backend> make_native_backend(const BackendContext& context,
                                             std::shared_ptr<const NativeIndex> native_index);

// Makes the indexer for a codec. *native_index is set by finish() for H.264 and stays null else.
std::unique_ptr<Indexer> make_indexer(const StreamInfo& info,
                                      std::shared_ptr<const NativeIndex>* native_index);

}  // namespace cvdecode
