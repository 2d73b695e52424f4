// Opens a container, chooses the video stream, lists all its packets once, and gives any of them
// again by number.
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "av/handles.h"
#include "base/packet.h"
#include "demux/io_context.h"
#include "demux/packet_table.h"
#include "demux/source.h"
#include "frame/stream_info.h"

namespace cvdecode {

struct DemuxOptions {
  int stream_index = -1;         // libavformat's number; -1 = the best video stream
  bool ignore_editlist = false;  // present every sample of an MP4; for tests that compare decoders
  std::function<bool()> interrupted;  // asked now and then; true ends the work with Error(kState)
  // For restore_scan(): leave libavformat alone until open_now() is called. Does nothing where
  // the source has no random access.
  bool deferred = false;
};

// Not thread-safe: one caller at a time.
class Demuxer final : public PacketSource {
 public:
  // Throws Error naming the file and what was expected: kNotFound, kIo (a folder, no rights),
  // kCorrupt (empty, no video file, damaged beyond use), kUnsupported (no video stream, encrypted,
  // a protocol that FFmpeg lacks), kInvalidArgument (stream_index is no video stream).
  static std::unique_ptr<Demuxer> open(ByteSourcePtr source, const DemuxOptions& options = {});
  // A path, or an address "scheme://...".
  static std::unique_ptr<Demuxer> open(const std::string& path_or_url,
                                       const DemuxOptions& options = {});
  ~Demuxer() override;

  // After a deferred open: what it left out. Does nothing where that is done, or not needed.
  void open_now();
  const StreamInfo& info() const { return info_; }
  int wanted_stream() const { return options_.stream_index; }

  // Reads the stream once from its start, fills the packet table, and hands each packet to `sink`
  // (an Indexer). Must be called once before packet_count() and read_packet(). Packets without
  // bytes (dropped frames of AVI) are left out.
  void scan(const std::function<void(const Packet&)>& sink);
  bool scanned() const { return scanned_; }
  // The result of opening and scanning, and such a result in place of both. Packets that are no
  // longer what they were are found out when they are read. False, with nothing restored: it
  // contradicts itself.
  void archive_scan(ArchiveWriter& out);
  bool restore_scan(ArchiveReader& in);
  void forget_scan();
  // Size and a hash of the first and last 64 KiB; "" where there is no random access.
  std::string fingerprint() const;

  int64_t packet_count() const override { return table_.size(); }
  // The bytes are followed by at least AV_INPUT_BUFFER_PADDING_SIZE zero bytes (not part of the
  // span). Throws Error(kIndex), and Error(kIo) when the source has changed since the scan.
  Packet read_packet(int64_t number) override;
  std::span<const uint8_t> extradata_in_force(int64_t number) const override {
    return table_.extradata_in_force(number);
  }

  const PacketTable& table() const { return table_; }
  // Why the scan stopped before the end of the source, "" = it did not.
  const std::string& end_note() const { return end_note_; }
  // dts of every packet, for fill_missing_pts().
  std::vector<int64_t> packet_dts() const;

  // Work counters: tests show that packets are read directly and that little else is.
  struct Counters {
    int64_t direct_reads = 0;   // from the source, by position
    int64_t forward_reads = 0;  // from libavformat
    int64_t restarts = 0;       // libavformat opened again to go back
    int64_t packets_in_one_piece = 0;
    int64_t packets_in_pieces = 0;
    int64_t packets_unlocated = 0;
  };
  const Counters& counters() const { return counters_; }

 private:
  Demuxer(ByteSourcePtr source, std::string url, const DemuxOptions& options);
  void open_format();
  void choose_stream();
  // The next packet of the stream with bytes in it; false at the end.
  bool next_packet();
  Packet describe_libav_packet() const;
  void scan_container(const std::function<void(const Packet&)>& sink);
  void scan_raw(const std::function<void(const Packet&)>& sink);
  void add(const Packet& packet, const Place& place,
           const std::function<void(const Packet&)>& sink);
  void read_place(const Place& place, bool sequential);
  void fetch(int64_t offset, std::span<uint8_t> out, bool sequential);
  void read_through_libav(int64_t number);
  const std::string& name() const;
  void rethrow_pending();

  ByteSourcePtr source_;  // null: libavformat reads url_ by itself
  std::string url_;
  DemuxOptions options_;
  Interrupt interrupt_;  // for libavformat's own protocols; io_ asks by itself
  StreamInfo info_;
  std::unique_ptr<IoContext> io_;  // outlives format_, which points to it
  av::FormatContextPtr format_;
  av::PacketPtr packet_;
  std::exception_ptr pending_;        // from ask_interrupted
  bool nested_open_refused_ = false;  // set by a callback of format_

  PacketTable table_;
  bool scanned_ = false;
  std::string end_note_;
  int64_t bytes_scanned_ = 0;
  int64_t next_number_ = 0;     // of the packet that libavformat gives next
  std::vector<uint8_t> bytes_;  // of the packet read last, with padding
  std::vector<uint8_t> ahead_;  // read ahead of a sequential reader
  int64_t ahead_position_ = 0;
  size_t ahead_size_ = 0;
  size_t ahead_next_ = 0;
  int64_t last_read_ = -2;
  // Packets that libavformat gave last, number % size: to go back is to begin again, and a decoder
  // that holds a frame back has its packet asked for after the next.
  struct Kept {
    int64_t number = -1;
    std::vector<uint8_t> bytes;
  };
  std::array<Kept, 4> kept_;
  Counters counters_;
};

}  // namespace cvdecode
