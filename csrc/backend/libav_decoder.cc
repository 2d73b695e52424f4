#include "backend/libav_decoder.h"

#include <algorithm>
#include <cstring>
#include <limits>

extern "C" {
#include <libavutil/imgutils.h>
#include <libavutil/pixdesc.h>
}

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

// Planes side by side, each as wide, as high and as aligned as libavcodec would make it.
struct Layout {
  int linesizes[4] = {};
  size_t offsets[4] = {};
  size_t size = 0;
};

constexpr size_t kPlaneAlignment = 64;  // of every SIMD load

bool lay_out(AVCodecContext* context, const AVFrame& frame, Layout* layout) {
  const auto format = static_cast<AVPixelFormat>(frame.format);
  const AVPixFmtDescriptor* descriptor = av_pix_fmt_desc_get(format);
  constexpr uint64_t kNoPlanes = AV_PIX_FMT_FLAG_HWACCEL | AV_PIX_FMT_FLAG_PAL;
  if (descriptor == nullptr || (descriptor->flags & kNoPlanes) != 0) return false;
  int width = frame.width;
  int height = frame.height;
  int alignment[AV_NUM_DATA_POINTERS];
  avcodec_align_dimensions2(context, &width, &height, alignment);
  // Chroma is as aligned as luma once the width is a multiple of this.
  width = FFALIGN(width, static_cast<int>(kPlaneAlignment) << descriptor->log2_chroma_w);
  if (av_image_fill_linesizes(layout->linesizes, format, width) < 0) return false;
  ptrdiff_t linesizes[4];
  std::copy(std::begin(layout->linesizes), std::end(layout->linesizes), linesizes);
  size_t sizes[4];
  if (av_image_fill_plane_sizes(sizes, format, height, linesizes) < 0) return false;
  for (size_t p = 0; p < 4; ++p) {
    layout->offsets[p] = layout->size;
    // SIMD code may read a little past the end.
    if (sizes[p] != 0) layout->size += FFALIGN(sizes[p] + kPlaneAlignment, kPlaneAlignment);
  }
  layout->size += kPlaneAlignment;
  return true;
}

void release_memory(void* memory, uint8_t* data) {
  (void)data;
  auto* reference = static_cast<AVBufferRef*>(memory);
  av_buffer_unref(&reference);
}

// AVCodecContext::get_buffer2 where nobody looks at the samples: all pictures lie in the same
// memory. No entropy decoder looks at samples, and with one picture instead of a dozen the
// processor's cache serves most of the motion compensation that nobody wants.
// opaque: AVBufferRef*, the memory used last.
int share_memory(AVCodecContext* context, AVFrame* frame, int flags) {
  Layout layout;
  if (!lay_out(context, *frame, &layout)) {
    return avcodec_default_get_buffer2(context, frame, flags);
  }
  auto& memory = *static_cast<av::BufferRefPtr*>(context->opaque);
  if (memory == nullptr || static_cast<size_t>(memory->size) < layout.size) {
    memory.reset(av_buffer_allocz(static_cast<decltype(memory->size)>(layout.size)));
    if (memory == nullptr) return AVERROR(ENOMEM);
  }
  // An AVBuffer of its own for each picture: libavcodec tells pictures apart by it.
  av::BufferRefPtr hold(av_buffer_ref(memory.get()));
  if (hold == nullptr) return AVERROR(ENOMEM);
  frame->buf[0] = av_buffer_create(memory->data, memory->size, release_memory, hold.get(), 0);
  if (frame->buf[0] == nullptr) return AVERROR(ENOMEM);
  hold.release();
  auto* start = reinterpret_cast<uint8_t*>(
      FFALIGN(reinterpret_cast<uintptr_t>(memory->data), kPlaneAlignment));
  for (size_t p = 0; p < 4; ++p) {
    if (layout.linesizes[p] == 0) continue;
    frame->data[p] = start + layout.offsets[p];
    frame->linesize[p] = layout.linesizes[p];
  }
  frame->extended_data = frame->data;
  return 0;
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
    ctx->opaque = &memory_;
    ctx->get_buffer2 = share_memory;
    // What libavcodec makes up for damaged pictures is nobody's (their rows are lost); comparing
    // samples that are not theirs would be in vain.
    ctx->error_concealment = FF_EC_FAVOR_INTER;
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
