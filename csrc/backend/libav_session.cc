#include "backend/libav_session.h"

#include <algorithm>
#include <limits>
#include <tuple>
#include <utility>

#include "backend/libav_parameters.h"
#include "base/error.h"

namespace cvdecode {
namespace {

// Packets after which a picture that has not come out never will. H.264 and HEVC hold back at most
// 16 frames of two fields each; decoders that do not reorder give a frame for each packet.
constexpr int64_t kLongestDelay = 40;
constexpr int64_t kLongestDelayInOrder = 4;
// A jump saves the pictures up to the new start and costs those that push out what is inside.
constexpr int32_t kJumpCost = 2;

std::tuple<int32_t, int32_t> output_order(const Picture& p) { return {p.sequence, p.order}; }

}  // namespace

// The pictures of one call that still have to come out.
class LibavSession::Wanted {
 public:
  Wanted(const FrameIndex& index, std::span<const int32_t> pictures, const Sink& sink)
      : pictures_(pictures), done_(pictures.size(), 0), open_(pictures.size()), sink_(sink) {
    for (int32_t p : pictures) {
      last_presentation_ =
          std::max(last_presentation_, index.pictures[static_cast<size_t>(p)].presentation);
    }
  }

  size_t open() const { return open_; }
  bool is_done(size_t i) const { return done_[i] != 0; }
  int32_t last() const { return pictures_.back(); }
  int32_t last_presentation() const { return last_presentation_; }

  // True when the picture is wanted and has not been given yet.
  bool wants(int32_t picture) const {
    const size_t i = find(picture);
    return i < pictures_.size() && done_[i] == 0;
  }
  bool give(const Output& output) {
    const size_t i = find(output.picture);
    if (i >= pictures_.size() || done_[i] != 0) return false;
    done_[i] = 1;
    --open_;
    sink_(output);
    return true;
  }

 private:
  size_t find(int32_t picture) const {
    const auto it = std::lower_bound(pictures_.begin(), pictures_.end(), picture);
    if (it == pictures_.end() || *it != picture) return pictures_.size();
    return static_cast<size_t>(it - pictures_.begin());
  }

  std::span<const int32_t> pictures_;
  std::vector<uint8_t> done_;
  size_t open_;
  const Sink& sink_;
  int32_t last_presentation_ = -1;
};

LibavSession::LibavSession(const BackendContext& context, const CodecTraits& traits,
                           const DecoderOptions& options, Stats& stats)
    : info_(context.info),
      index_(context.index),
      packets_(context.packets),
      traits_(traits),
      options_(options),
      stats_(stats),
      decoder_(context.info, options) {
  for (size_t i = 1; i < index_.pictures.size() && !packs_pictures_; ++i) {
    packs_pictures_ = index_.pictures[i].first_packet == index_.pictures[i - 1].first_packet;
  }
}

int32_t LibavSession::start_of(int32_t n) const {
  return std::clamp(picture(n).decode_start, 0, n);
}

// The first picture that begins in this packet or later.
int32_t LibavSession::first_picture_from(int64_t packet) const {
  const auto it = std::partition_point(index_.pictures.begin(), index_.pictures.end(),
                                       [&](const Picture& p) { return p.first_packet < packet; });
  return static_cast<int32_t>(it - index_.pictures.begin());
}

void LibavSession::decode(std::span<const int32_t> wanted_pictures, const Sink& sink) {
  if (wanted_pictures.empty()) return;
  Wanted wanted(index_, wanted_pictures, sink);
  for (const Ready& ready : ready_) {
    wanted.give(
        {ready.picture, ready.frame.get(), ready.flushed, ready.q_scale_type, ready.problem});
  }
  try {
    for (size_t i = 0; wanted.open() > 0 && i < wanted_pictures.size();) {
      i = decode_run(wanted_pictures, i, wanted);
    }
  } catch (...) {  // the source failed: where the decoder stands is not known any more
    start_ = -1;
    throw;
  }
}

// Decodes, without a jump in between, the pictures from `begin` on as far as that is no waste, and
// returns where the next run begins.
size_t LibavSession::decode_run(std::span<const int32_t> pictures, size_t begin, Wanted& wanted) {
  // Pictures that lead an I in output order may need an earlier start than the I itself, so the
  // whole run decides on the start.
  std::vector<int32_t> run;
  int32_t start = 0;
  size_t end = begin;
  for (; end < pictures.size(); ++end) {
    if (wanted.is_done(end)) continue;
    const int32_t needs = start_of(pictures[end]);
    if (!run.empty() && needs > run.back() + 1 + options_.reorder_depth + kJumpCost) break;
    start = run.empty() ? needs : std::min(start, needs);
    run.push_back(pictures[end]);
  }
  if (run.empty()) return end;
  if (!can_continue(run, start)) restart(start);
  // Before a jump, frames are drawn out instead of pushed out by pictures that nobody wants. Not
  // where that costs their side data; nor at the end, where the next call is likely to go on.
  const bool draw =
      end < pictures.size() && (!traits_.is_mpegvideo() || !(options_.vectors || options_.qp));
  const int64_t last_packet = picture(run.back()).last_packet;
  for (const int32_t n : run) {
    while (wanted.wants(n)) {
      if (draw && next_packet_ > last_packet && !exhausted_) {
        drain(wanted);
        exhausted_ = true;
      } else {
        step(wanted);
      }
    }
  }
  return end;
}

bool LibavSession::can_continue(std::span<const int32_t> run, int32_t start) const {
  if (start_ < 0 || start_ > start || exhausted_) return false;
  const int32_t next = first_picture_from(next_packet_);
  bool inside = false;
  for (int32_t n : run) {
    if (n >= next) break;
    if (std::none_of(in_flight_.begin(), in_flight_.end(),
                     [&](const InFlight& f) { return f.picture == n; })) {
      return false;  // came out earlier, or was skipped
    }
    inside = true;
  }
  return inside || start <= next + options_.reorder_depth + kJumpCost;
}

void LibavSession::restart(int32_t start) {
  if (start_ >= 0 || start > 0) ++stats_.seeks;
  if (!fresh_ || exhausted_) decoder_.flush();
  in_flight_.clear();
  stash_.clear();
  start_ = start;
  next_packet_ = std::max<int64_t>(picture(start).first_packet, 0);
  if (start == 0) next_packet_ = 0;  // parameter sets may come in packets of their own
  new_extradata_ = extradata_at(next_packet_);
  fresh_ = true;
  exhausted_ = false;
}

// The parameter sets that a decoder which comes from elsewhere needs here; empty = it has them.
std::vector<uint8_t> LibavSession::extradata_at(int64_t packet) const {
  const auto container = packets_.extradata_in_force(packet);
  if (traits_.family != CodecFamily::kH264 || index_.parameter_packets.empty()) {
    if (!container.empty()) return {container.begin(), container.end()};
    return gave_extradata_ ? info_.extradata : std::vector<uint8_t>();
  }
  // What came last wins. In-band sets from before the container's last change count less than it.
  H264ParameterSets sets;
  sets.add_extradata(info_.extradata);
  bool container_added = container.empty();
  for (const int64_t n : index_.parameter_packets) {
    if (n >= packet) break;
    if (!container_added && packets_.extradata_in_force(n).data() == container.data()) {
      sets.add_extradata(container);
      container_added = true;
    }
    sets.add_packet(packets_.read_packet(n).data, info_.nal_length_size);
  }
  if (!container_added) sets.add_extradata(container);
  return sets.extradata(info_.nal_length_size);
}

// libavcodec forgets the frames it holds back when the size changes: they are drawn out before.
bool LibavSession::at_size_change(int64_t packet) const {
  if (!traits_.reorders || index_.segments.size() < 2) return false;
  const int32_t n = first_picture_from(packet);
  if (n == 0 || n >= picture_count() || picture(n).first_packet != packet) return false;
  const Picture& now = picture(n);
  return now.segment != picture(n - 1).segment && start_of(n) == n;
}

// A picture that nobody asked for and nothing refers to. Pictures that are shown after everything
// that was asked for are decoded: the next batch is likely to want them.
bool LibavSession::can_skip(int64_t packet, const Wanted& wanted) const {
  if (!traits_.can_skip || packs_pictures_) return false;
  int32_t n = first_picture_from(packet);
  if (n > 0 && picture(n - 1).last_packet >= packet) --n;
  bool any = false;
  for (; n < picture_count() && picture(n).first_packet <= packet; ++n) {
    const Picture& p = picture(n);
    if (p.is_reference || p.damaged || n >= wanted.last() || wanted.wants(n) ||
        p.presentation > wanted.last_presentation()) {
      return false;
    }
    if (p.first_packet < packet && std::any_of(in_flight_.begin(), in_flight_.end(),
                                               [&](const auto& f) { return f.picture == n; })) {
      return false;  // its first field is inside already
    }
    any = true;
  }
  return any;
}

void LibavSession::step(Wanted& wanted) {
  if (next_packet_ >= packets_.packet_count()) {
    drain(wanted);
    exhausted_ = true;
    return;
  }
  if (!fresh_ && at_size_change(next_packet_)) {
    drain(wanted);
    decoder_.flush();
    fresh_ = true;
    start_ = first_picture_from(next_packet_);
  }
  const int64_t number = next_packet_++;
  feed(number, wanted);
}

void LibavSession::feed(int64_t number, Wanted& wanted) {
  Packet packet = packets_.read_packet(number);
  ++stats_.packets_read;
  if (packet.new_extradata.empty()) packet.new_extradata = new_extradata_;
  if (can_skip(number, wanted) &&
      !carries_parameters(traits_.family, info_.nal_length_size, packet)) {
    return;
  }
  enter(number);
  ++fed_;
  fresh_ = false;
  if (packet.data.empty()) return;
  gave_extradata_ |= !packet.new_extradata.empty();
  if (traits_.family == CodecFamily::kMpeg12 && options_.qp) {
    const int type = q_scale_type(packet);
    for (InFlight& f : in_flight_) {
      if (f.tag == number) f.q_scale_type = type;
    }
  }
  const std::string problem = decoder_.send(packet, number);
  new_extradata_.clear();
  if (!problem.empty()) {
    for (InFlight& f : in_flight_) {
      const Picture& p = picture(f.picture);
      if (p.first_packet <= number && number <= p.last_packet) f.problem = problem;
    }
  }
  receive(wanted, false);
  const int64_t longest = traits_.reorders ? kLongestDelay : kLongestDelayInOrder;
  while (!in_flight_.empty() && fed_ - in_flight_.front().fed_at > longest) give_up(0, wanted);
}

void LibavSession::drain(Wanted& wanted) {
  decoder_.drain();
  receive(wanted, true);
  while (!in_flight_.empty()) give_up(0, wanted);
}

void LibavSession::receive(Wanted& wanted, bool flushed) {
  std::string error;
  for (;;) {
    error.clear();
    AVFrame* frame = decoder_.receive(&error);
    if (frame != nullptr) {
      on_frame(frame, wanted, flushed);
    } else if (error.empty()) {
      return;
    } else if (!in_flight_.empty()) {
      in_flight_.back().problem = error;
    }
  }
}

// The pictures of a packet go into the decoder.
void LibavSession::enter(int64_t number) {
  if (traits_.family == CodecFamily::kMpeg4 && packs_pictures_) return enter_packed(number);
  for (int32_t n = first_picture_from(number);
       n < picture_count() && picture(n).first_packet == number; ++n) {
    in_flight_.push_back({n, number, fed_, 0, {}});
  }
}

// Packed B-VOPs: libavcodec decodes one VOP for each packet. What follows it in the packet is kept,
// if it is an I- or B-VOP, and decoded at the next packet, which ought to be an empty VOP; then the
// VOP of that packet, if any, is kept in turn.
void LibavSession::enter_packed(int64_t number) {
  const bool had_stash = !stash_.empty();
  for (InFlight& f : in_flight_) {
    if (had_stash && f.picture == stash_.front()) f.tag = number;
  }
  stash_.clear();
  bool first = true;
  for (int32_t n = first_picture_from(number);
       n < picture_count() && picture(n).first_packet == number; ++n) {
    const bool now = first && !had_stash;
    in_flight_.push_back({n, now ? number : -1, fed_, 0, {}});
    if (!now) stash_.push_back(n);
    first = false;
  }
  if (!stash_.empty() && picture(stash_.front()).type == FrameType::kP) stash_.clear();
}

// Which of the pictures inside the decoder the frame is: an index into in_flight_, -1 = none.
int LibavSession::match(const AVFrame& frame) const {
  const bool packed = traits_.family == CodecFamily::kMpeg4 && packs_pictures_;
  auto fits = [&](const Picture& p) {
    return !packed || (frame.pict_type == AV_PICTURE_TYPE_B) == (p.type == FrameType::kB);
  };
  for (size_t i = 0; i < in_flight_.size(); ++i) {
    if (in_flight_[i].tag == frame.pts && fits(picture(in_flight_[i].picture))) {
      return static_cast<int>(i);
    }
  }
  // A frame that began in its second packet, because the first was lost.
  for (size_t i = 0; i < in_flight_.size(); ++i) {
    const Picture& p = picture(in_flight_[i].picture);
    if (p.first_packet <= frame.pts && frame.pts <= p.last_packet && fits(p)) {
      return static_cast<int>(i);
    }
  }
  return -1;
}

void LibavSession::on_frame(AVFrame* frame, Wanted& wanted, bool flushed) {
  ++stats_.pictures_decoded;
  const int i = match(*frame);
  if (i < 0) return;
  InFlight found = std::move(in_flight_[static_cast<size_t>(i)]);
  in_flight_.erase(in_flight_.begin() + i);
  // Only where the index knows the output order, not where it takes the container's word for it.
  if (traits_.reorders && traits_.has_vectors()) give_up_overtaken(found.picture, wanted);
  if (wanted.give({found.picture, frame, flushed, found.q_scale_type, found.problem})) return;
  // A later call may want it: frames that came out while others were pushed out of the decoder.
  const auto capacity = static_cast<size_t>(options_.reorder_depth) + kJumpCost;
  Ready ready{found.picture, flushed, found.q_scale_type, std::move(found.problem), nullptr};
  if (ready_.size() >= capacity) {
    ready.frame = std::move(ready_.front().frame);
    ready_.pop_front();
    av_frame_unref(ready.frame.get());
  } else {
    ready.frame = av::make_frame();
  }
  av_frame_move_ref(ready.frame.get(), frame);
  ready_.push_back(std::move(ready));
}

void LibavSession::give_up(size_t in_flight, Wanted& wanted) {
  InFlight f = std::move(in_flight_[in_flight]);
  in_flight_.erase(in_flight_.begin() + static_cast<ptrdiff_t>(in_flight));
  if (f.problem.empty() && f.tag < 0) {
    f.problem = "libavcodec drops a VOP that shares its packet when no empty VOP follows";
  } else if (f.problem.empty()) {
    f.problem = "libavcodec gave no frame for this picture";
  }
  wanted.give({f.picture, nullptr, false, 0, std::move(f.problem)});
}

void LibavSession::give_up_overtaken(int32_t by, Wanted& wanted) {
  for (size_t i = 0; i < in_flight_.size();) {
    if (output_order(picture(in_flight_[i].picture)) < output_order(picture(by))) {
      give_up(i, wanted);
    } else {
      ++i;
    }
  }
}

}  // namespace cvdecode
