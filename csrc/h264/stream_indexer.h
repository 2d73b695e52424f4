// Phase H: reads the headers of every packet once and makes the index of an H.264 stream, for both
// backends alike. Only parameter sets, SEI and slice headers are looked at, never slice data.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "base/packet.h"
#include "bitstream/nal.h"
#include "frame/frame_index.h"
#include "frame/stream_info.h"
#include "h264/native_index.h"
#include "h264/parameter_set_store.h"
#include "h264/reference_tracker.h"

namespace cvdecode::h264 {

// Damage never throws: what cannot be read is marked, counted in FrameIndex::warnings, and reading
// goes on. Not thread-safe.
class StreamIndexer {
 public:
  explicit StreamIndexer(const StreamInfo& info);
  // Packets in file order.
  void add_packet(const Packet& packet);
  // To be called once, after the last packet.
  FrameIndex finish(std::shared_ptr<const NativeIndex>* native_index);

 private:
  struct Nal {
    std::span<const uint8_t> bytes;  // NAL header included
    NalSpan span;                    // its place in the packet
    int nal_ref_idc = 0;
    int nal_unit_type = 0;
  };
  // What the picture in the works has shown so far.
  struct OpenPicture {
    bool open = false;
    uint8_t fields = 0;  // FieldBits of the fields begun
    SliceHeader last;    // header of the last slice
    std::shared_ptr<const Sps> sps;
    size_t first_slice_of_field = 0;
    bool mmco5 = false;
    bool sure = true;
  };

  void add_extradata(std::span<const uint8_t> extradata, const char* where);
  void add_nal(const Packet& packet, const Nal& nal);
  void add_parameter_set(const Nal& nal);
  void add_slice(const Packet& packet, const Nal& nal);
  void lose_slice(const Packet& packet, const Nal& nal, const ParameterSets& sets,
                  bool starts_picture, const std::string& why);
  bool read_header(const Nal& nal, SliceHeader& header, ParameterSets& sets, std::string& why,
                   bool& starts_picture);
  bool begins_new_picture(const SliceHeader& header, const Sps& sps) const;
  bool is_second_field(const SliceHeader& header) const;
  bool seen_before(const SliceHeader& header) const;
  void begin_picture(const Packet& packet, const SliceHeader& header, const ParameterSets& sets);
  void begin_field(const SliceHeader& header, const ParameterSets& sets, bool second_field);
  void end_field();
  void end_picture();
  void add_damaged_picture(const Packet& packet);
  void give_time(const Packet& packet, Picture& picture);
  void check_scope(const Packet& packet, const Nal& nal, const SliceHeader& header,
                   const ParameterSets& sets);
  void unsupported(const Packet& packet, const Nal& nal, const char* element, int64_t value);
  std::string describe(const Packet& packet, const Nal& nal, const char* element,
                       int64_t value) const;
  void suspect(const Packet& packet, const Nal& nal, const char* element, int64_t value,
               bool plausible, bool readable);
  void judge_suspects();
  void forget_slices(int32_t picture);
  int32_t geometry_number(const Geometry& geometry);
  void warn(const std::string& text);
  int32_t picture_number() const { return static_cast<int32_t>(index_.pictures.size()) - 1; }
  std::vector<SliceEntry>& open_slices() { return native_->pictures.back().slices; }

  // Slices outside the scope by their own header alone: one flipped bit can make such a slice.
  struct Suspects {
    std::string what;  // of the first: element, value, NAL
    // (decode number of the picture, its slice), in order: those that cannot be read.
    std::vector<std::pair<int32_t, size_t>> slices;
    size_t pictures = 0;        // how many have a suspect
    int32_t last_picture = -1;  // the last of them
    bool plausible = false;     // the profile has such slices
  };

  Suspects suspects_;
  std::string name_;  // of the source, for messages
  int nal_length_size_ = 0;
  ParameterSetStore sets_;
  ReferenceTracker tracker_;
  FrameIndex index_;
  std::shared_ptr<NativeIndex> native_;
  std::vector<Geometry> geometries_;
  std::vector<uint8_t> discarded_;
  int32_t sequence_ = 0;
  int32_t sequence_start_ = 0;  // decode number of the picture that opened the sequence
  std::vector<int32_t> reach_;  // per picture: the earliest picture that its decoding looks at
  std::vector<uint8_t> start_;  // per picture: decoding can begin here
  OpenPicture open_;
  std::optional<RecoveryPoint> recovery_;  // of the access unit that begins
  int64_t timed_packet_ = -1;              // the last packet whose time was given to a picture
  int64_t unit_packet_ = -1;  // packet of the first NAL unit of the access unit that begins
  int64_t slices_ = 0;
  int64_t bytes_ = 0;           // of all packets
  int64_t memory_ = 0;          // that native_ takes
  bool forget_slices_ = false;  // it takes too much: only the slices of the open picture are kept
  int64_t nals_ = 0;
  int64_t slices_before_sets_ = 0;  // slices that came before their parameter sets
  int64_t warnings_left_out_ = 0;
  // Which first_mb_in_slice the current field has: stamps of seen_generation_.
  std::vector<uint32_t> seen_;
  uint32_t seen_generation_ = 0;
  bool attached_ = false;    // a slice of this packet found its picture
  bool lost_start_ = false;  // a slice of this packet that may open a picture was unreadable
  Nal lost_nal_;
  std::shared_ptr<const Sps> lost_sps_;  // of the unreadable slice, where its ids could be read
  std::vector<NalSpan> spans_;
  std::vector<uint8_t> rbsp_;
};

}  // namespace cvdecode::h264
