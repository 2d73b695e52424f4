#include "h264/stream_indexer.h"

#include <algorithm>

#include "base/error.h"
#include "h264/picture_boundary.h"

namespace cvdecode::h264 {
namespace {

constexpr size_t kMaxWarnings = 64;
// Bounds the memory of the native index by the bytes that it was made of: hostile headers take 65
// times as much as they have bytes. An empty P slice takes about 30 times its 12 bytes: four hours
// of nothing but those come within it, and with a key picture now and then any number.
constexpr int64_t kFreeMemory = int64_t{64} << 20;
constexpr int64_t kMemoryPerByte = 16;

constexpr int kNalSlice = 1;
constexpr int kNalPartitionA = 2;
constexpr int kNalPartitionC = 4;
constexpr int kNalIdr = 5;
constexpr int kNalSei = 6;
constexpr int kNalSps = 7;
constexpr int kNalPps = 8;

int64_t memory_of(const SliceEntry& entry) {
  size_t sum = sizeof(SliceEntry) + entry.header.mmco.size() * sizeof(MemoryManagementControl);
  if (entry.sets.pps.use_count() <= 2) sum += sizeof(Pps);  // no earlier slice holds it
  if (entry.header.pred_weight_table != nullptr) sum += sizeof(PredWeightTable);
  for (const auto& list : entry.RefPicList) sum += list.size() * sizeof(RefEntry);
  for (const auto& list : entry.header.ref_pic_list_modification) {
    sum += list.size() * sizeof(RefPicListModification);
  }
  return static_cast<int64_t>(sum);
}

// Names a slice inside its coded frame or field.
size_t slice_key(const SliceHeader& header) {
  return static_cast<size_t>(header.first_mb_in_slice) * 3 +
         static_cast<size_t>(header.colour_plane_id);
}

}  // namespace

StreamIndexer::StreamIndexer(const StreamInfo& info)
    : name_(info.path), nal_length_size_(info.nal_length_size) {
  native_ = std::make_shared<NativeIndex>();
  add_extradata(info.extradata, "the container's header");
}

void StreamIndexer::warn(const std::string& text) {
  if (index_.warnings.size() < kMaxWarnings) {
    index_.warnings.push_back(text);
  } else {
    ++warnings_left_out_;
  }
}

void StreamIndexer::add_extradata(std::span<const uint8_t> extradata, const char* where) {
  if (extradata.empty()) return;
  const Extradata sets = split_extradata(extradata);
  if (sets.nal_length_size != 0) nal_length_size_ = sets.nal_length_size;
  if (sets.damaged) warn(std::string("the parameter sets in ") + where + " end too early");
  for (const NalSpan& span : sets.nals) {
    const auto bytes = extradata.subspan(span.offset, span.size);
    add_parameter_set({bytes, span, bytes[0] >> 5 & 3, bytes[0] & 31});
  }
}

void StreamIndexer::add_parameter_set(const Nal& nal) {
  if (nal.nal_unit_type != kNalSps && nal.nal_unit_type != kNalPps) return;
  const auto rbsp = unescape(nal.bytes.subspan(1), rbsp_);
  const std::string why = nal.nal_unit_type == kNalSps ? sets_.add_sps(rbsp) : sets_.add_pps(rbsp);
  if (!why.empty()) warn("NAL unit " + std::to_string(nals_) + ": " + why + "; it is ignored");
}

void StreamIndexer::add_packet(const Packet& packet) {
  if (!packet.new_extradata.empty()) {
    add_extradata(packet.new_extradata, "a packet's side data");
  }
  bytes_ += static_cast<int64_t>(packet.data.size());
  const int64_t changes = sets_.changes();
  const NalSplit split = split_packet(packet.data, nal_length_size_, spans_);
  if (split.damaged) {
    warn("packet " + std::to_string(packet.number) + " ends inside a NAL unit");
  }
  attached_ = false;
  lost_start_ = false;
  for (const NalSpan& span : spans_) {
    const auto bytes = packet.data.subspan(span.offset, span.size);
    add_nal(packet, {bytes, span, bytes[0] >> 5 & 3, bytes[0] & 31});
    ++nals_;
  }
  memory_ += (sets_.changes() - changes) * static_cast<int64_t>(sizeof(Sps));
  if (sets_.changes() != changes) index_.parameter_packets.push_back(packet.number);
  // The packet brought nothing but slices that cannot be read: a picture stood here.
  if (lost_start_ && !attached_) add_damaged_picture(packet);
}

void StreamIndexer::add_nal(const Packet& packet, const Nal& nal) {
  const int type = nal.nal_unit_type;
  if ((nal.bytes[0] & 0x80) != 0) {  // forbidden_zero_bit
    warn("NAL unit " + std::to_string(nals_) + " in packet " + std::to_string(packet.number) +
         " has forbidden_zero_bit = 1; it is skipped");
    return;
  }
  // 7.4.1.2.3: these open an access unit when they come after a slice.
  if (type >= kNalSei && type <= 9 && unit_packet_ < 0) unit_packet_ = packet.number;
  switch (type) {
    case kNalSlice:
    case kNalPartitionA:
    case kNalIdr: add_slice(packet, nal); break;
    case kNalPartitionC - 1:
    case kNalPartitionC: break;  // they belong to a partition A, which is what counts
    case kNalSei:
      if (const auto point = find_recovery_point(unescape(nal.bytes.subspan(1), rbsp_, 1 << 16))) {
        recovery_ = point;
      }
      break;
    case kNalSps:
    case kNalPps: add_parameter_set(nal); break;
    case 9:   // access unit delimiter
    case 10:  // end of sequence
    case 11:  // end of stream
    case 12:  // filler data
    case 13:  // sequence parameter set extension
      break;
    default: ++native_->nals_skipped; break;
  }
}

bool StreamIndexer::read_header(const Nal& nal, SliceHeader& header, ParameterSets& sets,
                                std::string& why, bool& starts_picture) {
  // Nearly every header fits in the first prefix; weights of 2 x 32 references need the last.
  for (const size_t limit : {size_t{64}, size_t{512}, size_t{8192}}) {
    const auto rbsp = unescape(nal.bytes.subspan(1), rbsp_, limit);
    const SliceHeaderStart start = peek_slice_header(rbsp);
    starts_picture = !start.valid || start.first_mb_in_slice == 0;
    if (!start.valid) {
      why = "slice header: first_mb_in_slice, slice_type or pic_parameter_set_id is out of range";
      return false;
    }
    sets = sets_.find(start.pic_parameter_set_id, why);
    if (sets.pps == nullptr) return false;
    bool truncated = false;
    try {
      header = parse_slice_header(rbsp, nal.nal_unit_type, nal.nal_ref_idc, sets, &truncated);
      return true;
    } catch (const Error& error) {
      why = error.what();
      if (!truncated || rbsp.size() < limit) return false;
    }
  }
  return false;
}

void StreamIndexer::lose_slice(const Packet& packet, const Nal& nal, const ParameterSets& sets,
                               bool starts_picture, const std::string& why) {
  if (index_.pictures.empty() && sets.sps == nullptr) {
    ++slices_before_sets_;  // nothing is known of the picture, not even its size
    unit_packet_ = -1;      // nor does what came before it belong to the picture that follows
    recovery_.reset();
    return;
  }
  warn("NAL unit " + std::to_string(nals_) + " (nal_unit_type " +
       std::to_string(nal.nal_unit_type) + ") in packet " + std::to_string(packet.number) + ": " +
       why + "; the slice is lost");
  // A second field or a later slice belongs to the picture that is open.
  const bool rest =
      open_.open &&
      (!starts_picture || (open_.fields != kBothFields && !open_.sps->frame_mbs_only_flag));
  if (rest) {
    attached_ = true;
  } else if (!lost_start_) {
    lost_start_ = true;
    lost_nal_ = nal;
    lost_sps_ = sets.sps;
  }
}

void StreamIndexer::add_slice(const Packet& packet, const Nal& nal) {
  SliceHeader header;
  ParameterSets sets;
  std::string why;
  bool starts_picture = false;
  if (!read_header(nal, header, sets, why, starts_picture)) {
    lose_slice(packet, nal, sets, starts_picture, why);
    return;
  }
  if (header.redundant_pic_cnt > 0) {
    ++native_->redundant_skipped;
    attached_ = true;
    return;
  }
  if (!open_.open) {
    begin_picture(packet, header, sets);
  } else if (begins_new_picture(header, *sets.sps)) {
    if (is_second_field(header)) {
      end_field();
      begin_field(header, sets, true);
    } else {
      end_picture();
      begin_picture(packet, header, sets);
    }
  }
  const size_t key = slice_key(header);
  if (key >= seen_.size()) seen_.resize(key + 1, 0);
  seen_[key] = seen_generation_;
  check_scope(packet, nal, header, sets);
  attached_ = true;
  recovery_.reset();
  unit_packet_ = -1;
  Picture& picture = index_.pictures.back();
  picture.last_packet = packet.number;
  const bool intra = header.slice_type == kSliceI || header.slice_type == kSliceSI;
  picture.all_intra = picture.all_intra && intra;
  if (header.slice_type == kSliceB) {
    picture.type = FrameType::kB;
  } else if (picture.type != FrameType::kB && !intra) {
    picture.type = FrameType::kP;
  }

  SliceEntry entry;
  if (!intra) tracker_.lists(header, entry.RefPicList);
  // The earliest picture that this one looks at, through whatever it refers to.
  for (const auto& list : entry.RefPicList) {
    for (const RefEntry& reference : list) {
      if (reference.picture < 0 || reference.picture >= picture_number()) continue;
      reach_.back() = std::min(reach_.back(), reach_[static_cast<size_t>(reference.picture)]);
    }
  }
  entry.header = header;
  entry.sets = std::move(sets);
  entry.packet = packet.number;
  entry.offset = nal.span.offset;
  entry.size = nal.span.size;
  if (header.field_pic_flag) {  // lists of fields served the index; nobody parses such slices
    for (auto& list : entry.RefPicList) std::vector<RefEntry>().swap(list);
  }
  open_.last = std::move(header);
  open_.sps = entry.sets.sps;
  ++slices_;
  memory_ += memory_of(entry);
  open_slices().push_back(std::move(entry));
  if (!forget_slices_ && memory_ > kFreeMemory + kMemoryPerByte * bytes_) {
    unsupported(packet, nal, "number of slices", slices_);
    forget_slices_ = true;
    for (int32_t n = 0; n < picture_number(); ++n) forget_slices(n);
  }
}

void StreamIndexer::forget_slices(int32_t picture) {
  std::vector<SliceEntry>().swap(native_->pictures[static_cast<size_t>(picture)].slices);
}

// 7.4.1.2.4, and for streams that break it: a first slice that the picture has already (IDR
// pictures that all carry the same idr_pic_id) belongs to another one. Of two others that begin at
// one place one is damaged. Packet borders prove nothing: with arbitrary slice order libavformat
// cuts pictures in two.
bool StreamIndexer::begins_new_picture(const SliceHeader& header, const Sps& sps) const {
  const Boundary boundary = compare_slices(open_.last, *open_.sps, header, sps);
  if (boundary == Boundary::kNewPicture) return true;
  if (header.first_mb_in_slice == 0 && seen_before(header)) return true;
  return boundary == Boundary::kOtherParameterSet &&
         header.first_mb_in_slice <= open_.last.first_mb_in_slice;
}

bool StreamIndexer::seen_before(const SliceHeader& header) const {
  const size_t key = slice_key(header);
  return key < seen_.size() && seen_[key] == seen_generation_;
}

bool StreamIndexer::is_second_field(const SliceHeader& header) const {
  const SliceHeader& first = open_.last;
  const uint8_t fields = fields_of(header);
  const bool mmco5 = std::any_of(first.mmco.begin(), first.mmco.end(), [](const auto& m) {
    return m.memory_management_control_operation == 5;
  });
  return open_.open && header.field_pic_flag && open_.fields != kBothFields &&
         (open_.fields & fields) == 0 && header.frame_num == (mmco5 ? 0 : first.frame_num) &&
         (!header.IdrPicFlag() || first.IdrPicFlag());
}

int32_t StreamIndexer::geometry_number(const Geometry& geometry) {
  // Hostile input could bring many sizes; they repeat near the end if at all.
  for (size_t i = geometries_.size(); i > 0 && i + 8 > geometries_.size(); --i) {
    if (geometries_[i - 1] == geometry) return static_cast<int32_t>(i) - 1;
  }
  geometries_.push_back(geometry);
  return static_cast<int32_t>(geometries_.size()) - 1;
}

// Where several pictures begin in a packet its time belongs to the first.
void StreamIndexer::give_time(const Packet& packet, Picture& picture) {
  if (timed_packet_ == packet.number) return;
  timed_packet_ = packet.number;
  picture.pts = packet.pts;
  picture.duration = packet.duration;
}

void StreamIndexer::begin_picture(const Packet& packet, const SliceHeader& header,
                                  const ParameterSets& sets) {
  Picture picture;
  picture.first_packet = unit_packet_ >= 0 ? unit_packet_ : packet.number;
  picture.last_packet = packet.number;
  give_time(packet, picture);
  picture.segment = geometry_number(sets.sps->geometry());
  picture.type = FrameType::kI;
  picture.all_intra = true;
  picture.is_idr = header.IdrPicFlag();
  const bool no_wait = !recovery_ || recovery_->recovery_frame_cnt == 0;
  picture.is_key = picture.is_idr || no_wait;  // until a slice that is not I; see end_picture()
  picture.field_coded = header.field_pic_flag || sets.sps->mb_adaptive_frame_field_flag;
  index_.pictures.push_back(picture);
  discarded_.push_back(packet.discard ? 1 : 0);
  reach_.push_back(picture_number());
  start_.push_back(0);
  native_->pictures.emplace_back();
  open_ = OpenPicture();
  open_.open = true;
  begin_field(header, sets, false);
}

void StreamIndexer::begin_field(const SliceHeader& header, const ParameterSets& sets,
                                bool second_field) {
  open_.fields |= fields_of(header);
  open_.last = header;
  open_.sps = sets.sps;
  open_.first_slice_of_field = open_slices().size();
  ++seen_generation_;
  const ReferenceTracker::Begin begin =
      tracker_.begin(header, sets.sps, picture_number(), second_field, recovery_);
  if (begin.new_sequence) {
    ++sequence_;
    sequence_start_ = picture_number();
  }
  if (begin.lost_frames > 0) {
    warn("before picture " + std::to_string(picture_number()) +
         " (decode order): frame_num = " + std::to_string(header.frame_num) + " says that " +
         std::to_string(begin.lost_frames) + " reference frame(s) are missing");
  }
  PictureEntry& entry = native_->pictures.back();
  if (!second_field) entry.FrameNum = header.frame_num;
  if (header.nal_ref_idc != 0) {
    entry.used_for_reference = true;
    index_.pictures.back().is_reference = true;
  }
}

void StreamIndexer::end_field() {
  Picture& picture = index_.pictures.back();
  PictureEntry& entry = native_->pictures.back();
  const SliceHeader& header = open_.last;
  bool intra = true;
  for (size_t i = open_.first_slice_of_field; i < entry.slices.size(); ++i) {
    const SliceType type = entry.slices[i].header.slice_type;
    intra = intra && (type == kSliceI || type == kSliceSI);
  }
  if (open_.first_slice_of_field == 0) start_.back() = intra ? 1 : 0;
  const ReferenceTracker::End end = tracker_.end(intra);
  const uint8_t fields = fields_of(header);
  if ((fields & kTopField) != 0) entry.TopFieldOrderCnt = end.order.TopFieldOrderCnt;
  if ((fields & kBottomField) != 0) entry.BottomFieldOrderCnt = end.order.BottomFieldOrderCnt;
  if (end.mmco5) {
    // Everything before it is output first (C.4.4), as before an IDR picture.
    entry.tempPicOrderCnt = end.tempPicOrderCnt;
    open_.mmco5 = true;
    if (picture_number() != sequence_start_) ++sequence_;
  }
  entry.max_long_term_frame_idx = tracker_.max_long_term_frame_idx();
  open_.sure = open_.sure && end.references_sure;
  if (!end.references_sure) {
    // Nobody knows which pictures the encoder meant: never a shifted list.
    for (size_t i = open_.first_slice_of_field; i < entry.slices.size(); ++i) {
      for (auto& list : entry.slices[i].RefPicList) {
        for (RefEntry& reference : list) reference.picture = kMissingPicture;
      }
    }
    reach_.back() = std::min(reach_.back(), sequence_start_);
  }
  picture.sequence = sequence_;
}

void StreamIndexer::end_picture() {
  if (!open_.open) return;
  end_field();
  open_.open = false;
  Picture& picture = index_.pictures.back();
  PictureEntry& entry = native_->pictures.back();
  // An unpaired field has one count only.
  if (open_.fields == kTopField) entry.BottomFieldOrderCnt = entry.TopFieldOrderCnt;
  if (open_.fields == kBottomField) entry.TopFieldOrderCnt = entry.BottomFieldOrderCnt;
  picture.order = entry.PicOrderCnt();
  entry.references_sure = open_.sure;
  picture.is_key = picture.is_idr || (picture.is_key && picture.all_intra);
  // Decoding can begin at an IDR picture and at an I picture (an I field whose second field looks
  // at nothing else included); `reach_` says for whom.
  start_.back() = picture.is_idr || (start_.back() != 0 && reach_.back() == picture_number());
  if (open_.mmco5) sequence_start_ = picture_number();
  if (forget_slices_) forget_slices(picture_number());
}

void StreamIndexer::add_damaged_picture(const Packet& packet) {
  end_picture();
  const Nal& nal = lost_nal_;
  Picture picture;
  picture.first_packet = unit_packet_ >= 0 ? unit_packet_ : packet.number;
  picture.last_packet = packet.number;
  give_time(packet, picture);
  if (lost_sps_ != nullptr) {
    picture.segment = geometry_number(lost_sps_->geometry());
  } else {
    picture.segment = index_.pictures.back().segment;  // lose_slice() saw to it that there is one
  }
  // Its order is unknown: it goes after the one before it in decode order.
  if (!index_.pictures.empty()) picture.order = index_.pictures.back().order;
  picture.is_reference = nal.nal_ref_idc != 0;
  picture.damaged = true;
  if (nal.nal_unit_type == kNalIdr) {
    picture.is_idr = true;
    picture.order = 0;
    ++sequence_;
    sequence_start_ = picture_number() + 1;
    tracker_.lose_idr();
  }
  picture.sequence = sequence_;
  index_.pictures.push_back(picture);
  discarded_.push_back(packet.discard ? 1 : 0);
  reach_.push_back(sequence_start_);
  start_.push_back(nal.nal_unit_type == kNalIdr ? 1 : 0);
  PictureEntry entry;
  entry.references_sure = false;
  entry.used_for_reference = nal.nal_ref_idc != 0;
  entry.TopFieldOrderCnt = entry.BottomFieldOrderCnt = picture.order;
  native_->pictures.push_back(std::move(entry));
  recovery_.reset();
  unit_packet_ = -1;
}

FrameIndex StreamIndexer::finish(std::shared_ptr<const NativeIndex>* native_index) {
  end_picture();
  judge_suspects();
  if (slices_before_sets_ > 0) {
    warn(std::to_string(slices_before_sets_) +
         " slice(s) at the start come before any parameter sets that they could be read with; "
         "they are left out");
  }
  // Where decoding must start for each picture: the last start that lies at or before everything
  // that the picture looks at.
  int32_t start = 0;
  std::vector<int32_t> starts(index_.pictures.size());
  for (size_t i = 0; i < starts.size(); ++i) {
    if (start_[i] != 0) start = static_cast<int32_t>(i);
    starts[i] = start;
  }
  for (size_t i = 0; i < starts.size(); ++i) {
    index_.pictures[i].decode_start = starts[static_cast<size_t>(reach_[i])];
  }
  if (warnings_left_out_ > 0) {
    index_.warnings.push_back("and " + std::to_string(warnings_left_out_) + " more");
  }
  finish_index(index_, discarded_, geometries_);
  if (native_index != nullptr) *native_index = native_;
  return std::move(index_);
}

}  // namespace cvdecode::h264
