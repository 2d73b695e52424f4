#include "demux/demuxer.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <iterator>
#include <limits>
#include <string_view>
#include <utility>

#include "av/compat.h"
#include "av/error.h"
#include "demux/format_probe.h"
#include "demux/info_archive.h"
#include "demux/locator.h"
#include "demux/stream_probe.h"

namespace cvdecode {
namespace {

constexpr int kMaxErrorsInARow = 64;
// Reading ahead begins small, since a jump may be to a few packets only, and doubles up to the
// most.
constexpr size_t kFirstReadAhead = 1 << 15;
constexpr size_t kReadAhead = 1 << 18;

// Formats that only name other files. Opening one fails in odd ways when that is refused.
bool is_list(const AVInputFormat& format) {
  static constexpr std::string_view kLists[] = {"hls", "dash", "concat",
                                                "sdp", "imf",  "ffmetadata"};
  return std::find(std::begin(kLists), std::end(kLists), std::string_view(format.name)) !=
         std::end(kLists);
}

// One level of access only: the source we were given. A playlist or a reference movie could
// otherwise make us read any file or address that its author likes.
int refuse_nested_open(AVFormatContext* format, AVIOContext** io, const char* url, int flags,
                       AVDictionary** options) {
  (void)io, (void)url, (void)flags, (void)options;
  *static_cast<bool*>(format->opaque) = true;
  return AVERROR(EPERM);
}

}  // namespace

Demuxer::Demuxer(ByteSourcePtr source, std::string url, const DemuxOptions& options)
    : source_(std::move(source)),
      url_(std::move(url)),
      options_(options),
      interrupt_(options.interrupted) {
  av::init_log();
  packet_ = av::make_packet();
}

Demuxer::~Demuxer() = default;

std::unique_ptr<Demuxer> Demuxer::open(ByteSourcePtr source, const DemuxOptions& options) {
  std::unique_ptr<Demuxer> demuxer(new Demuxer(std::move(source), "", options));
  if (!options.deferred) demuxer->open_now();
  return demuxer;
}

std::unique_ptr<Demuxer> Demuxer::open(const std::string& path_or_url,
                                       const DemuxOptions& options) {
  if (!is_url(path_or_url)) {
    const bool scheme = path_or_url.rfind("file://", 0) == 0;
    return open(open_file_source(scheme ? path_or_url.substr(7) : path_or_url), options);
  }
  std::unique_ptr<Demuxer> demuxer(
      new Demuxer(open_url_source(path_or_url, options.interrupted), path_or_url, options));
  if (!options.deferred || demuxer->source_ == nullptr) demuxer->open_now();
  return demuxer;
}

void Demuxer::open_now() {
  if (format_ == nullptr && !scanned_) open_format();
}

const std::string& Demuxer::name() const { return source_ ? source_->name() : url_; }

void Demuxer::open_format() {
  format_.reset();
  io_.reset();
  AVFormatContext* format = avformat_alloc_context();
  if (format == nullptr) throw Error(ErrorKind::kMemory, name() + ": out of memory");
  av::FormatContextPtr owned(format);
  AVDictionary* dictionary = nullptr;
  if (options_.ignore_editlist) av_dict_set(&dictionary, "ignore_editlist", "1", 0);
  av::DictionaryPtr owned_dictionary(dictionary);

  av::InputFormatConst* input = nullptr;
  if (source_) {
    input = probe_format(*source_);
    if (input == nullptr) {
      throw Error(ErrorKind::kCorrupt,
                  name() + ": is no video file that FFmpeg knows (" +
                      std::to_string(source_->size()) +
                      " bytes, no container or video stream recognised); expected MP4, MKV, AVI, "
                      "TS, PS, FLV or a raw H.264, HEVC or MPEG stream");
    }
    io_ = std::make_unique<IoContext>(source_, options_.interrupted);
    format->pb = io_->get();
    format->flags |= AVFMT_FLAG_CUSTOM_IO;  // never closed by libavformat, failure included
    format->opaque = &nested_open_refused_;
    format->io_open = &refuse_nested_open;
  } else {
    format->interrupt_callback = {&Interrupt::ask, &interrupt_};
    av_dict_set(&dictionary, "rw_timeout", kUrlTimeoutMicroseconds, 0);
    owned_dictionary.release();
    owned_dictionary.reset(dictionary);
  }
  int code = AVERROR(EPERM);
  nested_open_refused_ = input != nullptr && is_list(*input);
  if (!nested_open_refused_) {
    // On failure avformat_open_input frees the context itself.
    format = owned.release();
    dictionary = owned_dictionary.release();
    code = avformat_open_input(&format, url_.c_str(), input, &dictionary);
    owned_dictionary.reset(dictionary);
    owned.reset(format);
    rethrow_pending();
  }
  if (nested_open_refused_ && code < 0) {
    if (url_.empty()) {
      throw Error(ErrorKind::kUnsupported,
                  name() + ": names other files (a playlist or reference movie, format " +
                      input->name + "); open those files themselves");
    }
    source_.reset();  // a playlist at an address: libavformat fetches what it names
    owned.reset();
    return open_format();
  }
  if (code < 0) {
    throw av::make_error(code, name() + ": cannot open" +
                                   (input != nullptr ? std::string(" as ") + input->name : ""));
  }
  if (io_) io_->note_progress();
  format_ = std::move(owned);
  choose_stream();
  next_number_ = 0;
}

void Demuxer::choose_stream() {
  probe_streams(*format_, name());
  rethrow_pending();
  if (io_) io_->note_progress();
  const int index = choose_video_stream(*format_, options_.stream_index, name());
  for (unsigned i = 0; i < format_->nb_streams; ++i) {
    format_->streams[i]->discard = static_cast<int>(i) == index ? AVDISCARD_DEFAULT : AVDISCARD_ALL;
  }
  StreamInfo info = describe_stream(*format_, index, name());
  if (scanned_) info.start_time = info_.start_time;  // opened again to go back
  info_ = std::move(info);
}

void Demuxer::rethrow_pending() {
  interrupt_.rethrow();
  if (io_) io_->rethrow_pending();
}

bool Demuxer::next_packet() {
  for (int errors = 0;;) {
    av_packet_unref(packet_.get());
    const int code = av_read_frame(format_.get(), packet_.get());
    if (io_) {
      io_->rethrow_pending();
      if (io_->ran_in_circles()) {
        throw Error(ErrorKind::kCorrupt,
                    name() +
                        ": FFmpeg reads it again and again without finding a packet of "
                        "stream " +
                        std::to_string(info_.stream_index) + "; the file is damaged");
      }
    }
    if (code == AVERROR_EOF) return false;
    if (code < 0) {
      if (code != AVERROR(EAGAIN) || end_note_.empty()) {
        end_note_ = "packet " + std::to_string(next_number_) + ": " + av::error_text(code);
      }
      if (++errors > kMaxErrorsInARow) return false;
      continue;
    }
    if (packet_->stream_index != info_.stream_index) {
      continue;
    }
    if (packet_->size <= 0) continue;
    for (int i = 0; i < packet_->side_data_elems; ++i) {
      if (packet_->side_data[i].type == AV_PKT_DATA_ENCRYPTION_INFO) {
        throw Error(ErrorKind::kUnsupported,
                    name() + ": stream " + std::to_string(info_.stream_index) +
                        " is encrypted (common encryption); decrypt it first");
      }
    }
    if (io_) io_->note_progress();
    return true;
  }
}

Packet Demuxer::describe_libav_packet() const {
  Packet packet;
  packet.data = {packet_->data, static_cast<size_t>(packet_->size)};
  packet.number = table_.size();
  // AVI has decode times only; the pts that libavformat makes of some of them are guesses.
  packet.pts = info_.container == "avi" ? kNoTimestamp : packet_->pts;
  packet.dts = packet_->dts;
  // Raw streams have no times: a duration is a guess too, and with FFmpeg 8 one of 1/1200000 s for
  // each H.264 packet behind those of the probe.
  packet.duration = info_.raw ? 0 : std::max<int64_t>(packet_->duration, 0);
  packet.pos = packet_->pos;
  packet.key = (packet_->flags & AV_PKT_FLAG_KEY) != 0;
  packet.discard = (packet_->flags & AV_PKT_FLAG_DISCARD) != 0;
  packet.corrupt = (packet_->flags & AV_PKT_FLAG_CORRUPT) != 0;
  for (int i = 0; i < packet_->side_data_elems; ++i) {
    const AVPacketSideData& side = packet_->side_data[i];
    if (side.type == AV_PKT_DATA_NEW_EXTRADATA) {
      packet.new_extradata = {side.data, static_cast<size_t>(side.size)};
    }
  }
  return packet;
}

void Demuxer::add(const Packet& packet, const Place& place,
                  const std::function<void(const Packet&)>& sink) {
  bytes_scanned_ += static_cast<int64_t>(packet.data.size());
  if (source_) {
    // A sample table may name the same bytes a billion times. No honest file does so often.
    const int64_t size = source_->size();
    if (table_.size() > size + 1024 || bytes_scanned_ > 16 * size + (int64_t{256} << 20)) {
      throw Error(ErrorKind::kCorrupt,
                  name() + ": its tables describe more packets (" + std::to_string(table_.size()) +
                      ", " + std::to_string(bytes_scanned_) + " bytes) than fit into its " +
                      std::to_string(size) + " bytes; the file is damaged");
    }
  }
  if (place.pieces.size() == 1) {
    ++counters_.packets_in_one_piece;
  } else {
    ++(place.known() ? counters_.packets_in_pieces : counters_.packets_unlocated);
  }
  table_.add(packet, checksum_of(packet.data), place);
  if (sink) sink(packet);
}

void Demuxer::scan(const std::function<void(const Packet&)>& sink) {
  if (scanned_) throw Error(ErrorKind::kState, name() + ": scanned twice");
  open_now();
  if (info_.raw && source_) {
    scan_raw(sink);
  } else {
    scan_container(sink);
  }
  scanned_ = true;
  av_packet_unref(packet_.get());
  if (table_.size() == 0) {
    throw Error(ErrorKind::kCorrupt, name() + ": stream " + std::to_string(info_.stream_index) +
                                         " (" + info_.codec + ") holds no packet" +
                                         (end_note_.empty() ? "" : " (" + end_note_ + ")") +
                                         "; the file is truncated or was never finished");
  }
  if (info_.start_time == kNoTimestamp && !info_.raw) info_.start_time = table_.first_pts();
  if (counters_.packets_unlocated == 0) {  // all packets can be read directly from now on
    format_.reset();
    io_.reset();
  }
}

void Demuxer::scan_container(const std::function<void(const Packet&)>& sink) {
  std::unique_ptr<Locator> locator;
  if (source_) locator = std::make_unique<Locator>(source_);
  while (next_packet()) {
    const Packet packet = describe_libav_packet();
    Place place;
    if (locator) place = locator->locate(packet.data, packet.pos, avio_tell(format_->pb));
    add(packet, place, sink);
    ++next_number_;
  }
}

// Of libavformat's parser only the sizes are used, as places to cut at: so every byte of the stream
// stands in exactly one packet whatever the parser does.
void Demuxer::scan_raw(const std::function<void(const Packet&)>& sink) {
  int64_t cursor = 0;
  const auto cut = [&](Packet packet, int64_t size) {
    size = std::min(size, source_->size() - cursor);
    if (size <= 0) return;
    Place place;
    // A parser that never finds a border gives one huge packet; no picture is that large.
    place.pieces.push_back(
        {cursor, static_cast<uint32_t>(std::min<int64_t>(size, std::numeric_limits<int>::max()))});
    read_place(place, true);
    packet.data = {bytes_.data(), place.pieces[0].size};
    packet.number = table_.size();
    packet.pos = cursor;
    packet.pts = packet.dts = kNoTimestamp;  // invented by libavformat from a frame rate
    cursor += place.pieces[0].size;
    add(packet, place, sink);
  };
  while (next_packet()) {
    cut(describe_libav_packet(), packet_->size);
    ++next_number_;
  }
  while (cursor < source_->size()) cut(Packet{}, source_->size() - cursor);
}

void Demuxer::fetch(int64_t offset, std::span<uint8_t> out, bool sequential) {
  size_t got = 0;
  const auto in_ahead = [&] {
    return offset >= ahead_position_ && offset + static_cast<int64_t>(out.size()) <=
                                            ahead_position_ + static_cast<int64_t>(ahead_size_);
  };
  if (sequential && out.size() < kReadAhead / 2 && source_->memory().empty() && !in_ahead()) {
    const int64_t end = ahead_position_ + static_cast<int64_t>(ahead_size_);
    const bool goes_on = offset >= ahead_position_ && offset <= end;
    ahead_next_ = goes_on ? std::min(ahead_next_ * 2, kReadAhead) : kFirstReadAhead;
    ahead_next_ = std::max(ahead_next_, out.size() * 2);
    ahead_.resize(std::min(ahead_next_, static_cast<size_t>(source_->size())));
    ahead_position_ = offset;
    ahead_size_ = source_->read_at(offset, ahead_);
  }
  if (in_ahead()) {
    std::memcpy(out.data(), ahead_.data() + (offset - ahead_position_), out.size());
    got = out.size();
  } else {
    got = source_->read_at(offset, out);
  }
  if (got != out.size()) {
    throw Error(ErrorKind::kIo, name() + ": ends at byte " +
                                    std::to_string(offset + static_cast<int64_t>(got)) +
                                    ", earlier than when it was opened; it was changed meanwhile");
  }
}

void Demuxer::read_place(const Place& place, bool sequential) {
  size_t size = place.prefix.size();
  for (const Piece& piece : place.pieces) size += piece.size;
  bytes_.resize(size + AV_INPUT_BUFFER_PADDING_SIZE);
  std::copy(place.prefix.begin(), place.prefix.end(), bytes_.begin());
  size_t done = place.prefix.size();
  // The pieces of a TS packet lie close together: one read, then picking.
  const bool many = place.pieces.size() > 1;
  for (const Piece& piece : place.pieces) {
    fetch(piece.offset, std::span(bytes_).subspan(done, piece.size), sequential || many);
    done += piece.size;
  }
  std::fill(bytes_.begin() + static_cast<ptrdiff_t>(done), bytes_.end(), uint8_t{0});
}

Packet Demuxer::read_packet(int64_t number) {
  if (!scanned_) throw Error(ErrorKind::kState, name() + ": read before it was scanned");
  if (number < 0 || number >= table_.size()) {
    throw Error(ErrorKind::kIndex, name() + ": no packet " + std::to_string(number) + " of " +
                                       std::to_string(table_.size()));
  }
  const Place place = table_.place(number);
  if (place.known()) {
    read_place(place, number == last_read_ + 1);
    ++counters_.direct_reads;
  } else {
    read_through_libav(number);
  }
  last_read_ = number;
  Packet packet = table_.describe(number);
  packet.data = {bytes_.data(), table_.entry(number).size};
  if (bytes_.size() != packet.data.size() + AV_INPUT_BUFFER_PADDING_SIZE ||
      checksum_of(packet.data) != table_.entry(number).checksum) {
    throw Error(ErrorKind::kIo, name() + ": packet " + std::to_string(number) +
                                    " is not what it was when the file was opened; the file was "
                                    "changed meanwhile");
  }
  return packet;
}

void Demuxer::read_through_libav(int64_t number) {
  Kept& kept = kept_[static_cast<size_t>(number) % kept_.size()];
  if (kept.number == number) {
    bytes_.assign(kept.bytes.begin(), kept.bytes.end());
    return;
  }
  if (number < next_number_ || format_ == nullptr) {
    open_format();
    ++counters_.restarts;
  }
  while (next_number_ <= number) {
    if (!next_packet()) {
      throw Error(ErrorKind::kIo, name() + ": ends before packet " + std::to_string(number) +
                                      ", which was there when it was opened");
    }
    ++next_number_;
    ++counters_.forward_reads;
  }
  bytes_.assign(packet_->data, packet_->data + packet_->size);
  bytes_.resize(bytes_.size() + AV_INPUT_BUFFER_PADDING_SIZE, 0);
  kept.number = number;
  kept.bytes.assign(bytes_.begin(), bytes_.end());
}

void Demuxer::archive_scan(ArchiveWriter& out) {
  archive_info(out, info_);
  table_.archive_fields(out);
  out(end_note_);
}

bool Demuxer::restore_scan(ArchiveReader& in) {
  if (scanned_) throw Error(ErrorKind::kState, name() + ": scanned twice");
  StreamInfo info;
  PacketTable table;
  std::string end_note;
  archive_info(in, info);
  table.archive_fields(in);
  in(end_note);
  if (!table.is_plausible(source_ != nullptr ? source_->size() : -1)) return false;
  info.path = name();
  info_ = std::move(info);
  table_ = std::move(table);
  end_note_ = std::move(end_note);
  scanned_ = true;
  return true;
}

void Demuxer::forget_scan() {
  table_ = {};
  end_note_.clear();
  scanned_ = false;
}

std::string Demuxer::fingerprint() const {
  if (source_ == nullptr) return "";
  constexpr int64_t kEnd = 64 << 10;
  std::vector<uint8_t> bytes(kEnd);
  std::string text = std::to_string(source_->size());
  for (const int64_t position : {int64_t{0}, std::max<int64_t>(0, source_->size() - kEnd)}) {
    const size_t got = source_->read_at(position, bytes);
    text += ',';
    text += std::to_string(checksum_of({bytes.data(), got}));
  }
  return text;
}

std::vector<int64_t> Demuxer::packet_dts() const {
  std::vector<int64_t> dts(static_cast<size_t>(table_.size()));
  for (size_t i = 0; i < dts.size(); ++i) dts[i] = table_.entry(static_cast<int64_t>(i)).dts;
  return dts;
}

}  // namespace cvdecode
