#include "reference_decoder.h"

#include <cstring>
#include <mutex>
#include <stdexcept>

extern "C" {
#include <libavcodec/avcodec.h>
#include <libavformat/avformat.h>
#include <libavutil/cpu.h>
#include <libavutil/motion_vector.h>
#include <libavutil/pixdesc.h>
#include <libavutil/video_enc_params.h>
}

namespace oracle {
namespace {

// libavcodec's debug output has no other way out than the log, which is global: one decoder with
// debug output at a time is all the tests need.
std::mutex log_mutex;
std::string log_text;

void capture_log(void* context, int level, const char* format, va_list args) {
  if (level > AV_LOG_DEBUG) return;
  static int print_prefix = 1;
  static char line[4096];
  const std::lock_guard<std::mutex> lock(log_mutex);
  const int n =
      av_log_format_line2(context, level, format, args, line, sizeof(line), &print_prefix);
  if (n <= 0) return;
  log_text += line;
}

void check(int code, const char* what) {
  if (code >= 0) return;
  char text[AV_ERROR_MAX_STRING_SIZE];
  throw std::runtime_error(std::string(what) + ": " +
                           av_make_error_string(text, sizeof(text), code));
}

std::string take_text() {
  const std::lock_guard<std::mutex> lock(log_mutex);
  std::string text;
  text.swap(log_text);
  return text;
}

AVFormatContext* open_input(const std::string& path) {
  AVFormatContext* format = nullptr;
  AVDictionary* opts = nullptr;
  av_dict_set(&opts, "ignore_editlist", "1", 0);
  const int opened = avformat_open_input(&format, path.c_str(), nullptr, &opts);
  av_dict_free(&opts);
  check(opened, path.c_str());
  return format;
}

}  // namespace

std::vector<std::string> read_packets(const std::string& path) {
  std::vector<std::string> out;
  AVFormatContext* format = open_input(path);
  check(avformat_find_stream_info(format, nullptr), "stream info");
  const int stream = av_find_best_stream(format, AVMEDIA_TYPE_VIDEO, -1, -1, nullptr, 0);
  AVPacket* packet = av_packet_alloc();
  while (av_read_frame(format, packet) >= 0) {
    if (packet->stream_index == stream) {
      out.emplace_back(reinterpret_cast<const char*>(packet->data),
                       static_cast<size_t>(packet->size));
    }
    av_packet_unref(packet);
  }
  av_packet_free(&packet);
  avformat_close_input(&format);
  return out;
}

ReferenceDecoder::ReferenceDecoder(const std::string& path, const ReferenceOptions& options)
    : options_(options) {
  if (options.mb_types || options.mmco) {
    av_log_set_level(AV_LOG_DEBUG);
    av_log_set_callback(capture_log);
  } else {
    av_log_set_callback([](void*, int, const char*, va_list) {});
  }
  // libavcodec's vector code saturates 16-bit sums in weighted bi-prediction; its C code is exact.
  av_force_cpu_flags(options.plain_c ? 0 : -1);
  format_ = open_input(path);
  check(avformat_find_stream_info(format_, nullptr), "stream info");
  stream_ = av_find_best_stream(format_, AVMEDIA_TYPE_VIDEO, -1, -1, nullptr, 0);
  check(stream_, "no video stream");
  const auto* parameters = format_->streams[stream_]->codecpar;
  const AVCodec* codec = avcodec_find_decoder(parameters->codec_id);
  codec_ = avcodec_alloc_context3(codec);
  check(avcodec_parameters_to_context(codec_, parameters), "parameters");
  codec_->thread_count = 1;
  codec_->skip_loop_filter = options.loop_filter ? AVDISCARD_DEFAULT : AVDISCARD_ALL;
  codec_->apply_cropping = 0;
  codec_->flags |= AV_CODEC_FLAG_OUTPUT_CORRUPT | AV_CODEC_FLAG_UNALIGNED;
  codec_->flags2 |= AV_CODEC_FLAG2_EXPORT_MVS;
  codec_->export_side_data |= AV_CODEC_EXPORT_DATA_MVS | AV_CODEC_EXPORT_DATA_VIDEO_ENC_PARAMS;
  codec_->strict_std_compliance = FF_COMPLIANCE_STRICT;
  codec_->pkt_timebase = format_->streams[stream_]->time_base;
#if LIBAVCODEC_VERSION_MAJOR >= 60
  codec_->flags |= AV_CODEC_FLAG_COPY_OPAQUE;
#endif
  if (options.mb_types) codec_->debug |= FF_DEBUG_MB_TYPE;
  if (options.mmco) codec_->debug |= FF_DEBUG_MMCO;
  check(avcodec_open2(codec_, codec, nullptr), "decoder");
  frame_ = av_frame_alloc();
  packet_ = av_packet_alloc();
  take_text();
}

ReferenceDecoder::~ReferenceDecoder() {
  av_packet_free(&packet_);
  av_frame_free(&frame_);
  avcodec_free_context(&codec_);
  avformat_close_input(&format_);
}

bool ReferenceDecoder::next(ReferenceFrame& frame) {
  for (;;) {
    const int got = avcodec_receive_frame(codec_, frame_);
    if (got >= 0) {
      frame = ReferenceFrame();
      fill(frame);
      av_frame_unref(frame_);
      return true;
    }
    if (got == AVERROR_EOF) return false;
    if (got != AVERROR(EAGAIN)) {
      ++failed_packets_;
      if (draining_) return false;
    }
    if (draining_) continue;
    const int read = av_read_frame(format_, packet_);
    if (read < 0) {
      draining_ = true;
      avcodec_send_packet(codec_, nullptr);
      continue;
    }
    if (packet_->stream_index == stream_) {
#if LIBAVCODEC_VERSION_MAJOR >= 60
      packet_->opaque = reinterpret_cast<void*>(packet_number_ + 1);
#else
      codec_->reordered_opaque = packet_number_ + 1;
#endif
      ++packet_number_;
      packet_->flags &= ~AV_PKT_FLAG_DISCARD;
      if (avcodec_send_packet(codec_, packet_) < 0) ++failed_packets_;
    }
    av_packet_unref(packet_);
  }
}

void ReferenceDecoder::fill(ReferenceFrame& out) {
  out.width = frame_->width;
  out.height = frame_->height;
#if LIBAVCODEC_VERSION_MAJOR >= 60
  out.packet = reinterpret_cast<int64_t>(frame_->opaque) - 1;
#else
  out.packet = frame_->reordered_opaque - 1;
#endif
  out.pts = frame_->pts;
  out.decode_error_flags = frame_->decode_error_flags;
  out.corrupt = (frame_->flags & AV_FRAME_FLAG_CORRUPT) != 0;
#if LIBAVUTIL_VERSION_INT >= AV_VERSION_INT(58, 7, 100)
  out.key_frame = (frame_->flags & AV_FRAME_FLAG_KEY) != 0;
  out.interlaced = (frame_->flags & AV_FRAME_FLAG_INTERLACED) != 0;
#else
  out.key_frame = frame_->key_frame != 0;
  out.interlaced = frame_->interlaced_frame != 0;
#endif
  out.pict_type = av_get_picture_type_char(frame_->pict_type);
  const AVPixFmtDescriptor* desc = av_pix_fmt_desc_get(static_cast<AVPixelFormat>(frame_->format));
  out.format = desc ? desc->name : "?";
  if (options_.planes && desc) {
    for (int p = 0; p < 3 && p < desc->nb_components; ++p) {
      const int bytes = (desc->comp[p].depth + 7) / 8;
      const int w = p ? -((-frame_->width) >> desc->log2_chroma_w) : frame_->width;
      const int h = p ? -((-frame_->height) >> desc->log2_chroma_h) : frame_->height;
      out.planes[p].resize(static_cast<size_t>(w) * static_cast<size_t>(h * bytes));
      for (int y = 0; y < h; ++y) {
        std::memcpy(out.planes[p].data() + static_cast<size_t>(y) * static_cast<size_t>(w * bytes),
                    frame_->data[p] + static_cast<ptrdiff_t>(y) * frame_->linesize[p],
                    static_cast<size_t>(w * bytes));
      }
    }
  }
  if (const AVFrameSideData* side = av_frame_get_side_data(frame_, AV_FRAME_DATA_MOTION_VECTORS)) {
    out.has_vectors = true;
    out.vectors.assign(side->data, side->data + side->size);
  }
  if (const AVFrameSideData* side =
          av_frame_get_side_data(frame_, AV_FRAME_DATA_VIDEO_ENC_PARAMS)) {
    auto* params = reinterpret_cast<AVVideoEncParams*>(side->data);
    out.qp.resize(params->nb_blocks);
    for (unsigned i = 0; i < params->nb_blocks; ++i) {
      out.qp[i] = params->qp + av_video_enc_params_block(params, i)->delta_qp;
    }
  }
  if (options_.mb_types || options_.mmco) out.mb_types = take_text();
}

std::vector<std::string> ReferenceDecoder::take_log() { return {take_text()}; }

}  // namespace oracle
