// The yardstick: a plain libavcodec decode of one video, one thread, nothing exported.
// decode_baseline FILE RUNS -> one line of CPU seconds and frames for each run.
extern "C" {
#include <libavcodec/avcodec.h>
#include <libavformat/avformat.h>
}

#include <cstdio>
#include <cstdlib>
#include <ctime>

namespace {

double cpu_seconds() {
  timespec t{};
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
  return static_cast<double>(t.tv_sec) + static_cast<double>(t.tv_nsec) * 1e-9;
}

long decode(const char* path) {
  AVFormatContext* format = nullptr;
  if (avformat_open_input(&format, path, nullptr, nullptr) < 0) return -1;
  avformat_find_stream_info(format, nullptr);
  const int stream = av_find_best_stream(format, AVMEDIA_TYPE_VIDEO, -1, -1, nullptr, 0);
  if (stream < 0) return -1;
  const AVCodec* codec = avcodec_find_decoder(format->streams[stream]->codecpar->codec_id);
  AVCodecContext* context = avcodec_alloc_context3(codec);
  avcodec_parameters_to_context(context, format->streams[stream]->codecpar);
  context->thread_count = 1;
  if (avcodec_open2(context, codec, nullptr) < 0) return -1;
  AVPacket* packet = av_packet_alloc();
  AVFrame* frame = av_frame_alloc();
  long frames = 0;
  const auto drain = [&] {
    while (avcodec_receive_frame(context, frame) == 0) ++frames;
  };
  while (av_read_frame(format, packet) >= 0) {
    if (packet->stream_index == stream) {
      avcodec_send_packet(context, packet);
      drain();
    }
    av_packet_unref(packet);
  }
  avcodec_send_packet(context, nullptr);
  drain();
  av_frame_free(&frame);
  av_packet_free(&packet);
  avcodec_free_context(&context);
  avformat_close_input(&format);
  return frames;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 3) {
    std::fprintf(stderr, "usage: decode_baseline FILE RUNS\n");
    return 2;
  }
  av_log_set_level(AV_LOG_QUIET);
  for (int run = 0; run < std::atoi(argv[2]); ++run) {
    const double begin = cpu_seconds();
    const long frames = decode(argv[1]);
    if (frames < 0) return 1;
    std::printf("{\"seconds\": %.9f, \"frames\": %ld}\n", cpu_seconds() - begin, frames);
    std::fflush(stdout);
  }
  return 0;
}
