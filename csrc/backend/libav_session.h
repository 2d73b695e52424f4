// A decoder that walks through the stream and hands out frames by decode number, in any order.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <span>
#include <string>
#include <vector>

#include "backend/backend.h"
#include "backend/libav_decoder.h"
#include "backend/libav_traits.h"

namespace cvdecode {

// Frames are matched to pictures by the number of the packet in which decoding of the picture
// began: it travels through the decoder as the frame's timestamp. Output order alone would shift by
// one with every frame that libavcodec withholds.
//
// Decoding goes on where the last call stopped. A picture that lies elsewhere makes the decoder
// forget everything and start at Picture::decode_start, so what comes out never depends on what was
// asked for before.
class LibavSession {
 public:
  // `frame` is null when libavcodec gave none for the picture; `problem` then says why. It is also
  // set when libavcodec complained of a packet of the picture and gave a frame all the same.
  // `flushed`: the frame came out because the stream ended.
  struct Output {
    int32_t picture = 0;
    const AVFrame* frame = nullptr;
    bool flushed = false;
    int q_scale_type = 0;  // MPEG-2: 0 linear, 1 non-linear, -1 both in one picture
    std::string problem;
  };
  using Sink = std::function<void(const Output&)>;

  LibavSession(const BackendContext& context, const CodecTraits& traits,
               const DecoderOptions& options, Stats& stats);

  const DecoderOptions& options() const { return options_; }

  // Calls sink once for each picture of `wanted` (ascending, unique), as they come out.
  void decode(std::span<const int32_t> wanted, const Sink& sink);

 private:
  struct InFlight {  // given to the decoder, not out yet
    int32_t picture = 0;
    int64_t tag = 0;     // the packet at which the decoder turns to it, -1 = never
    int64_t fed_at = 0;  // packets fed before it
    int q_scale_type = 0;
    std::string problem;
  };
  struct Ready {  // came out unasked
    int32_t picture = 0;
    bool flushed = false;
    int q_scale_type = 0;
    std::string problem;
    av::FramePtr frame;
  };
  class Wanted;

  const Picture& picture(int32_t n) const { return index_.pictures[static_cast<size_t>(n)]; }
  int32_t picture_count() const { return static_cast<int32_t>(index_.pictures.size()); }
  int32_t start_of(int32_t n) const;
  int32_t first_picture_from(int64_t packet) const;
  size_t decode_run(std::span<const int32_t> pictures, size_t begin, Wanted& wanted);
  bool can_continue(std::span<const int32_t> run, int32_t start) const;
  void restart(int32_t start);
  std::vector<uint8_t> extradata_at(int64_t packet) const;
  bool at_size_change(int64_t packet) const;
  bool can_skip(int64_t packet, const Wanted& wanted) const;
  void step(Wanted& wanted);
  void feed(int64_t number, Wanted& wanted);
  void enter(int64_t number);
  void enter_packed(int64_t number);
  void drain(Wanted& wanted);
  void receive(Wanted& wanted, bool flushed);
  void on_frame(AVFrame* frame, Wanted& wanted, bool flushed);
  int match(const AVFrame& frame) const;
  void give_up(size_t in_flight, Wanted& wanted);
  void give_up_overtaken(int32_t by, Wanted& wanted);

  const StreamInfo& info_;
  const FrameIndex& index_;
  PacketSource& packets_;
  const CodecTraits traits_;
  const DecoderOptions options_;
  Stats& stats_;
  LibavDecoder decoder_;
  bool packs_pictures_ = false;  // some packet holds more than one picture
  int32_t start_ = -1;           // decode number at which the decoder was started, -1 = never
  int64_t next_packet_ = 0;
  int64_t fed_ = 0;                     // packets given to the decoder
  bool gave_extradata_ = false;         // the decoder was given other extradata than StreamInfo's
  std::vector<uint8_t> new_extradata_;  // for the first packet after a jump
  bool fresh_ = true;                   // nothing was fed since the last flush
  bool exhausted_ = false;              // drained at the end of the stream
  std::vector<InFlight> in_flight_;
  std::vector<int32_t> stash_;  // packed MPEG-4: pictures that libavcodec keeps for the next packet
  std::deque<Ready> ready_;
};

}  // namespace cvdecode
