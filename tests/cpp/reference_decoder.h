// The unpatched system libavcodec with the settings that make teacher forcing exact: one thread,
// no loop filter, no cropping, corrupt frames shown, strict order, edit lists ignored.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

struct AVFormatContext;
struct AVCodecContext;
struct AVFrame;
struct AVPacket;

namespace oracle {

struct ReferenceOptions {
  bool loop_filter = false;  // true: ordinary pixels, for pictures to look at
  bool mb_types = false;     // capture `-debug mb_type`
  bool mmco = false;         // capture `-debug mmco`
  bool planes = true;
  bool plain_c = false;  // no SIMD inside libavcodec
};

struct ReferenceFrame {
  int width = 0;  // coded size
  int height = 0;
  int64_t packet = -1;  // number of the packet in which the picture began
  int64_t pts = 0;      // of that packet
  int decode_error_flags = 0;
  bool corrupt = false;
  bool key_frame = false;
  char pict_type = '?';
  bool interlaced = false;
  std::string format;
  std::vector<uint8_t> planes[3];
  std::vector<uint8_t> vectors;  // AVMotionVector array, raw
  bool has_vectors = false;
  std::vector<int32_t> qp;  // one per macroblock, empty when there is no side data
  std::string mb_types;     // what libavcodec logged while this frame came out
};

class ReferenceDecoder {
 public:
  ReferenceDecoder(const std::string& path, const ReferenceOptions& options);
  ~ReferenceDecoder();
  ReferenceDecoder(const ReferenceDecoder&) = delete;
  ReferenceDecoder& operator=(const ReferenceDecoder&) = delete;

  bool next(ReferenceFrame& frame);     // output order; false at the end
  std::vector<std::string> take_log();  // lines logged since the last call
  int64_t failed_packets() const { return failed_packets_; }
  int64_t packets() const { return packet_number_; }

 private:
  void fill(ReferenceFrame& out);

  ReferenceOptions options_;
  AVFormatContext* format_ = nullptr;
  AVCodecContext* codec_ = nullptr;
  AVFrame* frame_ = nullptr;
  AVPacket* packet_ = nullptr;
  int stream_ = -1;
  int64_t packet_number_ = 0;
  int64_t failed_packets_ = 0;
  bool draining_ = false;
};

// The packets of the best video stream, in file order.
std::vector<std::string> read_packets(const std::string& path);

}  // namespace oracle
