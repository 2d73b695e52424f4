#include "backend/libav_decoder.h"

#include <cstring>
#include <limits>

#include "av/error.h"
#include "base/error.h"

namespace cvdecode {
namespace {

void copy_parameters(const StreamInfo& info, AVCodecContext* ctx) {
  ctx->codec_tag = info.codec_tag;
  ctx->width = info.width;
  ctx->height = info.height;
  ctx->coded_width = info.width;
  ctx->coded_height = info.height;
  ctx->profile = info.profile_id;
  ctx->level = info.level;
  ctx->pix_fmt = static_cast<AVPixelFormat>(info.pixel_format);
  ctx->bits_per_coded_sample = info.bits_per_coded_sample;
  ctx->field_order = static_cast<AVFieldOrder>(info.field_order);
  ctx->color_range = static_cast<AVColorRange>(info.color_range);
  ctx->color_primaries = static_cast<AVColorPrimaries>(info.color_primaries);
  ctx->color_trc = static_cast<AVColorTransferCharacteristic>(info.color_trc);
  ctx->colorspace = static_cast<AVColorSpace>(info.color_space);
  ctx->chroma_sample_location = static_cast<AVChromaLocation>(info.chroma_location);
  if (!info.extradata.empty()) {
    const size_t size = info.extradata.size();
    ctx->extradata = static_cast<uint8_t*>(av_mallocz(size + AV_INPUT_BUFFER_PADDING_SIZE));
    if (ctx->extradata == nullptr) {
      throw Error(ErrorKind::kMemory, info.path + ": out of memory for the codec's extradata");
    }
    std::memcpy(ctx->extradata, info.extradata.data(), size);
    ctx->extradata_size = static_cast<int>(size);
  }
}

}  // namespace

LibavDecoder::LibavDecoder(const StreamInfo& info, const DecoderOptions& options)
    : packet_(av::make_packet()), frame_(av::make_frame()) {
  av::init_log();
  const AVCodec* codec = avcodec_find_decoder(static_cast<AVCodecID>(info.codec_id));
  if (codec == nullptr) {
    throw Error(ErrorKind::kUnsupported, info.path +
                                             ": the system's libavcodec was built without a "
                                             "decoder for " +
                                             info.codec);
  }
  context_ = av::make_codec_context(codec);
  AVCodecContext* ctx = context_.get();
  copy_parameters(info, ctx);

  // Frame threads make the exported H.264 vectors and QPs race: slice threads or none.
  ctx->thread_type = FF_THREAD_SLICE;
  ctx->thread_count = options.num_threads > 1 ? options.num_threads : 1;
  ctx->flags |= AV_CODEC_FLAG_UNALIGNED;       // else the left crop is rounded to the alignment
  ctx->flags |= AV_CODEC_FLAG_OUTPUT_CORRUPT;  // nothing is withheld silently: flags tell
  ctx->has_b_frames = options.reorder_depth;
  ctx->max_pixels = options.max_pixels;
  if (options.vectors) ctx->export_side_data |= AV_CODEC_EXPORT_DATA_MVS;
  if (options.qp) ctx->export_side_data |= AV_CODEC_EXPORT_DATA_VIDEO_ENC_PARAMS;
  if (!options.pixels) {
    // Neither changes vectors or QPs. lowres would save more, but it switches error concealment
    // off, and with it the only sign that a frame is damaged.
    ctx->skip_loop_filter = AVDISCARD_ALL;
    ctx->skip_idct = AVDISCARD_ALL;
  }

  const int code = avcodec_open2(ctx, codec, nullptr);
  if (code == AVERROR(ENOMEM)) throw av::make_error(code, info.path + ": opening " + codec->name);
  if (code < 0) {
    throw Error(ErrorKind::kUnsupported, info.path + ": libavcodec's decoder " + codec->name +
                                             " does not open: " + av::error_text(code));
  }
}

std::string LibavDecoder::send(const Packet& packet, int64_t tag) {
  AVPacket* pkt = packet_.get();
  if (packet.data.empty()) return "the packet is empty";  // would mean "end of stream"
  if (packet.data.size() >
      static_cast<size_t>(std::numeric_limits<int>::max() - AV_INPUT_BUFFER_PADDING_SIZE)) {
    return "the packet is larger than libavcodec takes";
  }
  // Without an AVBufferRef libavcodec copies (and pads) the bytes before it returns.
  pkt->data = const_cast<uint8_t*>(packet.data.data());
  pkt->size = static_cast<int>(packet.data.size());
  pkt->pts = tag;
  pkt->dts = tag;
  pkt->pos = packet.pos;
  pkt->flags = packet.key ? AV_PKT_FLAG_KEY : 0;  // never AV_PKT_FLAG_DISCARD: the index decides
  int code = 0;
  if (!packet.new_extradata.empty()) {
    uint8_t* side =
        av_packet_new_side_data(pkt, AV_PKT_DATA_NEW_EXTRADATA, packet.new_extradata.size());
    if (side == nullptr) throw Error(ErrorKind::kMemory, "out of memory for new extradata");
    std::memcpy(side, packet.new_extradata.data(), packet.new_extradata.size());
  }
  code = avcodec_send_packet(context_.get(), pkt);
  pkt->data = nullptr;
  pkt->size = 0;
  av_packet_unref(pkt);
  if (code == AVERROR(ENOMEM)) throw av::make_error(code, "decoding");
  return code < 0 ? av::error_text(code) : std::string();
}

void LibavDecoder::drain() { avcodec_send_packet(context_.get(), nullptr); }

AVFrame* LibavDecoder::receive(std::string* error) {
  const int code = avcodec_receive_frame(context_.get(), frame_.get());
  if (code == 0) return frame_.get();
  if (code == AVERROR(ENOMEM)) throw av::make_error(code, "decoding");
  if (code != AVERROR(EAGAIN) && code != AVERROR_EOF) *error = av::error_text(code);
  return nullptr;
}

void LibavDecoder::flush() { avcodec_flush_buffers(context_.get()); }

}  // namespace cvdecode
