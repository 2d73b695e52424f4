// A stand-in for pytorch-coviar's load(), whose original needs a patched build of an old FFmpeg:
// the same work on the same kind of file, written anew from the description of what it does. Each
// call opens the file, feeds its bytes to the parser from the first one on, decodes the pictures of
// the GOP up to the position asked for, follows the vectors pixel by pixel, and closes everything.
// Maps are stored by columns, as the original's. So the cost of a call grows with the place of the
// GOP in the file (parsing up to it) and with the position (decoding up to it).
//
// coviar_standin FILE GOP_POS REPRESENTATION(1 vectors, 2 residual) GOP...
//   -> {"seconds": CPU time of one load() per GOP, "frames": loads, "sums": [...]}
extern "C" {
#include <libavcodec/avcodec.h>
#include <libavutil/motion_vector.h>
#include <libswscale/swscale.h>
}

#include <array>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <vector>

namespace {

using Point = std::array<int32_t, 2>;

double cpu_seconds() {
  timespec t{};
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
  return static_cast<double>(t.tv_sec) + static_cast<double>(t.tv_nsec) * 1e-9;
}

class Load {
 public:
  Load(const char* path, int gop, int pos, bool residual)
      : gop_(gop), pos_(pos), residual_(residual) {
    file_ = std::fopen(path, "rb");
    if (file_ == nullptr) return;
    const AVCodec* codec = avcodec_find_decoder(AV_CODEC_ID_MPEG4);
    context_ = avcodec_alloc_context3(codec);
    context_->thread_count = 1;
    AVDictionary* options = nullptr;
    av_dict_set(&options, "flags2", "+export_mvs", 0);
    avcodec_open2(context_, codec, &options);
    av_dict_free(&options);
    parser_ = av_parser_init(AV_CODEC_ID_MPEG4);
    packet_ = av_packet_alloc();
    frame_ = av_frame_alloc();
  }
  ~Load() {
    if (file_ == nullptr) return;
    std::fclose(file_);
    sws_freeContext(scaler_);
    av_frame_free(&frame_);
    av_packet_free(&packet_);
    av_parser_close(parser_);
    avcodec_free_context(&context_);
  }
  Load(const Load&) = delete;
  Load& operator=(const Load&) = delete;

  // int32 (h, w, 2) or (h, w, 3).
  std::vector<int32_t> run() {
    std::vector<uint8_t> chunk(4096 + AV_INPUT_BUFFER_PADDING_SIZE);
    while (file_ != nullptr && !done_) {
      const size_t got = std::fread(chunk.data(), 1, 4096, file_);
      if (got == 0) break;
      const uint8_t* data = chunk.data();
      auto left = static_cast<int>(got);
      while (left > 0 && !done_) {
        const int used = av_parser_parse2(parser_, context_, &packet_->data, &packet_->size, data,
                                          left, AV_NOPTS_VALUE, AV_NOPTS_VALUE, 0);
        data += used;
        left -= used;
        if (packet_->size > 0) on_packet();
      }
    }
    return std::move(out_);
  }

 private:
  void on_packet() {
    if (parser_->pict_type == AV_PICTURE_TYPE_I) ++current_gop_;
    if (current_gop_ < gop_) return;  // parsed, not decoded
    avcodec_send_packet(context_, packet_);
    while (!done_ && avcodec_receive_frame(context_, frame_) == 0) on_frame(seen_++);
  }

  void on_frame(int pos) {
    width_ = frame_->width;
    height_ = frame_->height;
    const size_t size = static_cast<size_t>(width_) * static_cast<size_t>(height_);
    if (pos == 0) {
      trace_.resize(size);
      for (int x = 0; x < width_; ++x) {
        for (int y = 0; y < height_; ++y) trace_[at(x, y)] = {x, y};
      }
      before_ = trace_;
      if (residual_) to_bgr(first_);
    } else {
      accumulate();
    }
    if (pos < pos_) return;
    done_ = true;
    if (residual_) {
      to_bgr(last_);
      out_.resize(size * 3);
      for (int y = 0; y < height_; ++y) {
        for (int x = 0; x < width_; ++x) {
          const Point& from = trace_[at(x, y)];
          const uint8_t* source = &first_[sample(from[0], from[1])];
          const size_t p = sample(x, y);
          for (size_t c = 0; c < 3; ++c) out_[p + c] = last_[p + c] - source[c];
        }
      }
      return;
    }
    out_.resize(size * 2);
    for (int y = 0; y < height_; ++y) {
      for (int x = 0; x < width_; ++x) {
        const Point& from = trace_[at(x, y)];
        const size_t p =
            (static_cast<size_t>(y) * static_cast<size_t>(width_) + static_cast<size_t>(x)) * 2;
        out_[p] = x - from[0];
        out_[p + 1] = y - from[1];
      }
    }
  }

  void accumulate() {
    const AVFrameSideData* data = av_frame_get_side_data(frame_, AV_FRAME_DATA_MOTION_VECTORS);
    if (data == nullptr) return;
    const auto* vectors = reinterpret_cast<const AVMotionVector*>(data->data);
    const size_t count = data->size / sizeof(AVMotionVector);
    for (size_t i = 0; i < count; ++i) {
      const AVMotionVector& v = vectors[i];
      if (v.dst_x == v.src_x && v.dst_y == v.src_y) continue;
      for (int ox = -v.w / 2; ox < v.w / 2; ++ox) {
        const int x = v.dst_x + ox;
        const int sx = v.src_x + ox;
        if (x < 0 || x >= width_ || sx < 0 || sx >= width_) continue;
        for (int oy = -v.h / 2; oy < v.h / 2; ++oy) {
          const int y = v.dst_y + oy;
          const int sy = v.src_y + oy;
          if (y < 0 || y >= height_ || sy < 0 || sy >= height_) continue;
          trace_[at(x, y)] = before_[at(sx, sy)];
        }
      }
    }
    before_ = trace_;
  }

  void to_bgr(std::vector<uint8_t>& out) {
    out.resize(static_cast<size_t>(width_) * static_cast<size_t>(height_) * 3);
    scaler_ = sws_getCachedContext(scaler_, width_, height_, AV_PIX_FMT_YUV420P, width_, height_,
                                   AV_PIX_FMT_BGR24, SWS_BICUBIC, nullptr, nullptr, nullptr);
    uint8_t* planes[1] = {out.data()};
    const int strides[1] = {width_ * 3};
    sws_scale(scaler_, frame_->data, frame_->linesize, 0, height_, planes, strides);
  }

  size_t at(int x, int y) const {
    return static_cast<size_t>(x) * static_cast<size_t>(height_) + static_cast<size_t>(y);
  }
  size_t sample(int x, int y) const {
    return (static_cast<size_t>(y) * static_cast<size_t>(width_) + static_cast<size_t>(x)) * 3;
  }

  int gop_;
  int pos_;
  bool residual_;
  FILE* file_ = nullptr;
  AVCodecContext* context_ = nullptr;
  AVCodecParserContext* parser_ = nullptr;
  AVPacket* packet_ = nullptr;
  AVFrame* frame_ = nullptr;
  SwsContext* scaler_ = nullptr;
  int current_gop_ = -1;
  int seen_ = 0;
  bool done_ = false;
  int width_ = 0;
  int height_ = 0;
  std::vector<Point> trace_, before_;
  std::vector<uint8_t> first_, last_;
  std::vector<int32_t> out_;
};

}  // namespace

int main(int argc, char** argv) {
  if (argc < 5) {
    std::fprintf(stderr, "usage: coviar_standin FILE GOP_POS REPRESENTATION GOP...\n");
    return 2;
  }
  av_log_set_level(AV_LOG_QUIET);
  const int pos = std::atoi(argv[2]);
  const bool residual = std::atoi(argv[3]) == 2;
  std::vector<int64_t> sums;  // of the values by place: two loaders that agree have the same
  double seconds = 0;
  for (int i = 4; i < argc; ++i) {
    const double begin = cpu_seconds();
    std::vector<int32_t> out = Load(argv[1], std::atoi(argv[i]), pos, residual).run();
    seconds += cpu_seconds() - begin;
    if (out.empty()) {
      std::fprintf(stderr, "no position %d in GOP %s of %s\n", pos, argv[i], argv[1]);
      return 1;
    }
    int64_t sum = 0;
    for (size_t p = 0; p < out.size(); ++p) sum += out[p] * static_cast<int64_t>(p % 1009 + 1);
    sums.push_back(sum);
  }
  std::printf("{\"seconds\": %.9f, \"frames\": %d, \"sums\": [", seconds, argc - 4);
  for (size_t i = 0; i < sums.size(); ++i) {
    std::printf("%s%lld", i == 0 ? "" : ", ", static_cast<long long>(sums[i]));
  }
  std::printf("]}\n");
  return 0;
}
