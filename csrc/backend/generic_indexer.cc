#include "backend/generic_indexer.h"

#include <algorithm>
#include <array>
#include <numeric>
#include <string>
#include <vector>

#include "av/error.h"
#include "av/handles.h"
#include "mpeg/h263_headers.h"

extern "C" {
#include <libavutil/pixdesc.h>
}

namespace cvdecode {
namespace {

// What one packet says of its picture.
struct Look {
  FrameType type = FrameType::kUnknown;
  bool key = false;      // decoding may start here
  bool idr = false;      // and a new sequence of order numbers begins
  bool leading = false;  // may refer to what lies before the last key picture (RASL of HEVC)
  bool shown = true;
  bool picture = true;  // false: no picture at all, parameter sets alone for example
  bool has_order = false;
  int32_t order = 0;
};

int chroma_format_of(const AVPixFmtDescriptor& format) {
  if ((format.flags & AV_PIX_FMT_FLAG_RGB) != 0) return -1;
  if (format.nb_components < 3) return 0;
  if (format.log2_chroma_w == 1) return format.log2_chroma_h == 1 ? 1 : 2;
  return format.log2_chroma_w == 0 && format.log2_chroma_h == 0 ? 3 : -1;
}

FrameType type_of(int pict_type) {
  switch (pict_type) {
    case AV_PICTURE_TYPE_I:
    case AV_PICTURE_TYPE_SI: return FrameType::kI;
    case AV_PICTURE_TYPE_P:
    case AV_PICTURE_TYPE_S:
    case AV_PICTURE_TYPE_SP: return FrameType::kP;
    case AV_PICTURE_TYPE_B:
    case AV_PICTURE_TYPE_BI: return FrameType::kB;
    default: return FrameType::kUnknown;
  }
}

class GenericIndexer final : public Indexer {
 public:
  explicit GenericIndexer(const StreamInfo& info) : info_(info) {
    const auto id = static_cast<AVCodecID>(info.codec_id);
    if (const AVCodecDescriptor* descriptor = avcodec_descriptor_get(id); descriptor != nullptr) {
      intra_only_ = (descriptor->props & AV_CODEC_PROP_INTRA_ONLY) != 0;
      reorders_ = (descriptor->props & AV_CODEC_PROP_REORDER) != 0;
    }
    context_ = av::make_codec_context(nullptr);
    context_->codec_id = id;
    context_->codec_type = AVMEDIA_TYPE_VIDEO;
    set_extradata(info.extradata);
    parser_.reset(av_parser_init(id));
    // Packets are whole pictures already; a parser that looks for borders would hold them back.
    if (parser_) parser_->flags |= PARSER_FLAG_COMPLETE_FRAMES;
    set_geometry(info.width, info.height, info.pixel_format);
  }

  void add_packet(const Packet& packet) override;
  FrameIndex finish() override;

 private:
  void set_extradata(std::span<const uint8_t> data);
  void set_geometry(int width, int height, int pixel_format);
  Look look_at(const Packet& packet);
  void look_with_parser(const Packet& packet, Look& look);
  void look_at_hevc(const Packet& packet, Look& look) const;

  StreamInfo info_;
  bool intra_only_ = false;
  bool reorders_ = true;
  av::CodecContextPtr context_;
  av::ParserPtr parser_;
  int width_ = 0;
  int height_ = 0;
  int32_t geometry_ = 0;
  std::vector<Geometry> geometries_;
  FrameIndex index_;
  std::vector<uint8_t> discarded_;
  bool all_orders_known_ = true;
  bool all_types_known_ = true;
  int32_t sequence_ = 0;
  int32_t key_ = 0;           // last picture at which decoding may start
  int32_t previous_key_ = 0;  // the one before
};

void GenericIndexer::set_extradata(std::span<const uint8_t> data) {
  av_freep(&context_->extradata);
  context_->extradata_size = 0;
  if (data.empty()) return;
  context_->extradata =
      static_cast<uint8_t*>(av_mallocz(data.size() + AV_INPUT_BUFFER_PADDING_SIZE));
  if (context_->extradata == nullptr) throw Error(ErrorKind::kMemory, "out of memory: extradata");
  std::copy(data.begin(), data.end(), context_->extradata);
  context_->extradata_size = static_cast<int>(data.size());
}

void GenericIndexer::set_geometry(int width, int height, int pixel_format) {
  if (width <= 0 || height <= 0) {  // a decoder will say; one cell until then
    width = std::max(width, 1);
    height = std::max(height, 1);
  }
  width_ = width;
  height_ = height;
  Geometry g;
  g.coded_width = (width + 15) / 16 * 16;
  g.coded_height = (height + 15) / 16 * 16;
  g.crop_right = g.coded_width - width;
  g.crop_bottom = g.coded_height - height;
  const AVPixFmtDescriptor* format = av_pix_fmt_desc_get(static_cast<AVPixelFormat>(pixel_format));
  if (format != nullptr) {
    g.chroma_format_idc = chroma_format_of(*format);
    g.bit_depth = format->comp[0].depth;
  }
  const auto it = std::find(geometries_.begin(), geometries_.end(), g);
  geometry_ = static_cast<int32_t>(it - geometries_.begin());
  if (it == geometries_.end()) geometries_.push_back(g);
}

void GenericIndexer::look_with_parser(const Packet& packet, Look& look) {
  // Padding that the parser may read; a packet's span has none by contract.
  std::vector<uint8_t> bytes(packet.data.size() + AV_INPUT_BUFFER_PADDING_SIZE, 0);
  std::copy(packet.data.begin(), packet.data.end(), bytes.begin());
  uint8_t* out = nullptr;
  int out_size = 0;
  parser_->key_frame = -1;
  parser_->pict_type = AV_PICTURE_TYPE_NONE;
  parser_->output_picture_number = -1;
  av_parser_parse2(parser_.get(), context_.get(), &out, &out_size, bytes.data(),
                   static_cast<int>(packet.data.size()), packet.pts, packet.dts, packet.pos);
  look.type = type_of(parser_->pict_type);
  if (parser_->key_frame >= 0) look.key = parser_->key_frame == 1;
  if (parser_->width > 0 && parser_->height > 0 &&
      (parser_->width != width_ || parser_->height != height_) && !index_.pictures.empty()) {
    set_geometry(parser_->width, parser_->height,
                 parser_->format >= 0 ? parser_->format : info_.pixel_format);
  }
}

// H.265 7.3.1.2 and table 7-1: what only the NAL unit types tell.
void GenericIndexer::look_at_hevc(const Packet& packet, Look& look) const {
  const auto data = packet.data;
  const auto type_at = [&](size_t at) { return (data[at] >> 1) & 0x3f; };
  int vcl = -1;
  if (info_.nal_length_size > 0) {
    const auto length_size = static_cast<size_t>(info_.nal_length_size);
    for (size_t at = 0; vcl < 0 && at + length_size + 2 < data.size();) {
      size_t length = 0;
      for (size_t i = 0; i < length_size; ++i) length = length << 8 | data[at + i];
      if (type_at(at + length_size) < 32) vcl = type_at(at + length_size);
      if (length > data.size()) break;
      at += length_size + length;
    }
  } else {
    for (size_t at = 0; vcl < 0 && at + 4 < data.size(); ++at) {
      if (data[at] == 0 && data[at + 1] == 0 && data[at + 2] == 1 && type_at(at + 3) < 32) {
        vcl = type_at(at + 3);
      }
    }
  }
  look.picture = vcl >= 0;
  look.key = vcl >= 16 && vcl <= 23;                              // IRAP
  look.idr = (vcl >= 16 && vcl <= 18) || vcl == 19 || vcl == 20;  // BLA, IDR: order starts anew
  look.leading = vcl == 8 || vcl == 9;                            // RASL
  look.has_order = parser_ != nullptr && look.type != FrameType::kUnknown;
  if (parser_) look.order = parser_->output_picture_number;  // PicOrderCntVal
}

Look GenericIndexer::look_at(const Packet& packet) {
  Look look;
  look.key = packet.key;
  if (parser_) look_with_parser(packet, look);
  mpeg::H263Picture h263;
  const uint8_t first = packet.data.empty() ? 0 : packet.data[0];
  switch (info_.codec_id) {
    case AV_CODEC_ID_HEVC: look_at_hevc(packet, look); break;
    case AV_CODEC_ID_H263:
    case AV_CODEC_ID_H263P:
      if (mpeg::parse_h263_picture(packet.data, h263)) look.type = h263.type;
      break;
    case AV_CODEC_ID_FLV1:
      if (mpeg::parse_flv1_picture(packet.data, h263)) look.type = h263.type;
      break;
    case AV_CODEC_ID_MSMPEG4V2:
    case AV_CODEC_ID_MSMPEG4V3:
    case AV_CODEC_ID_WMV1: look.type = (first >> 6) == 0 ? FrameType::kI : FrameType::kP; break;
    case AV_CODEC_ID_WMV2: look.type = (first >> 7) == 0 ? FrameType::kI : FrameType::kP; break;
    case AV_CODEC_ID_VP8:  // RFC 6386 9.1: frame tag
      look.key = (first & 1) == 0;
      look.shown = (first & 0x10) != 0;
      look.type = look.key ? FrameType::kI : FrameType::kP;
      break;
    default: break;
  }
  if (intra_only_) {
    look.type = FrameType::kI;
    look.key = true;
  }
  const bool from_type =
      info_.codec_id == AV_CODEC_ID_H263 || info_.codec_id == AV_CODEC_ID_H263P ||
      info_.codec_id == AV_CODEC_ID_FLV1 || info_.codec_id == AV_CODEC_ID_MSMPEG4V2 ||
      info_.codec_id == AV_CODEC_ID_MSMPEG4V3 || info_.codec_id == AV_CODEC_ID_WMV1 ||
      info_.codec_id == AV_CODEC_ID_WMV2;
  if (from_type && look.type != FrameType::kUnknown) look.key = look.type == FrameType::kI;
  return look;
}

void GenericIndexer::add_packet(const Packet& packet) {
  if (!packet.new_extradata.empty()) set_extradata(packet.new_extradata);
  const Look look = look_at(packet);
  if (!look.picture) {
    if (!index_.pictures.empty()) index_.pictures.back().last_packet = packet.number;
    return;
  }
  const auto number = static_cast<int32_t>(index_.pictures.size());
  if (look.key) {
    previous_key_ = key_;
    key_ = number;
  }
  if (look.idr && number > 0) ++sequence_;
  all_orders_known_ &= look.has_order;
  Picture picture;
  picture.first_packet = picture.last_packet = packet.number;
  picture.pts = packet.pts;
  picture.duration = packet.duration;
  picture.sequence = sequence_;
  picture.order = look.has_order ? look.order : number;
  picture.segment = geometry_;
  picture.decode_start = look.leading ? previous_key_ : key_;
  picture.type = look.type;
  picture.is_key = look.key;
  picture.is_idr = look.idr || (look.key && !reorders_);
  picture.all_intra = look.type == FrameType::kI && (look.key || intra_only_);
  picture.is_reference = !intra_only_;
  index_.pictures.push_back(picture);
  discarded_.push_back(packet.discard || !look.shown ? 1 : 0);
}

FrameIndex GenericIndexer::finish() {
  std::vector<Picture>& pictures = index_.pictures;
  if (!all_orders_known_) {
    // Presentation times are the only order there is for a codec that reorders; where one is
    // missing, the order of the file.
    const bool by_pts =
        reorders_ && std::none_of(pictures.begin(), pictures.end(),
                                  [](const Picture& p) { return p.pts == kNoTimestamp; });
    std::vector<int32_t> order(pictures.size());
    std::iota(order.begin(), order.end(), 0);
    if (by_pts) {
      std::stable_sort(order.begin(), order.end(), [&](int32_t a, int32_t b) {
        return pictures[static_cast<size_t>(a)].pts < pictures[static_cast<size_t>(b)].pts;
      });
    }
    for (size_t i = 0; i < order.size(); ++i) {
      Picture& picture = pictures[static_cast<size_t>(order[i])];
      picture.sequence = 0;
      picture.order = static_cast<int32_t>(i);
    }
  }
  finish_index(index_, discarded_, geometries_);
  return std::move(index_);
}

}  // namespace

std::unique_ptr<Indexer> make_generic_indexer(const StreamInfo& info) {
  return std::make_unique<GenericIndexer>(info);
}

}  // namespace cvdecode
