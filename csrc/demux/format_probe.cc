#include "demux/format_probe.h"

#include <algorithm>
#include <array>
#include <cctype>
#include <span>
#include <string_view>
#include <utility>
#include <vector>

namespace cvdecode {
namespace {

constexpr size_t kMaxProbe = 1 << 20;

// Annex B streams that are too short or too odd for libavformat's own probe: a sequence parameter
// set whose profile_idc exists.
const char* sniff_annex_b(std::span<const uint8_t> data) {
  size_t zeros = 0;
  while (zeros < data.size() && data[zeros] == 0) ++zeros;
  if (zeros < 2 || zeros + 1 >= data.size() || data[zeros] != 1) return nullptr;
  // forbidden_zero_bit and a common nal_unit_type: MPEG-1, MPEG-2 and MPEG-4 start otherwise.
  const int first = data[zeros + 1];
  const bool hevc_first = first == 0x40 || first == 0x42 || first == 0x46;
  if ((first & 0x80) != 0 || (((first & 0x1f) < 1 || (first & 0x1f) > 12) && !hevc_first)) {
    return nullptr;
  }
  for (size_t i = zeros - 2; i + 5 < data.size(); ++i) {
    if (data[i] != 0 || data[i + 1] != 0 || data[i + 2] != 1) continue;
    const int header = data[i + 3];
    if ((header & 0x80) == 0 && (header & 0x60) != 0 && (header & 0x1f) == 7) {
      static constexpr std::array<uint8_t, 13> kProfiles = {66, 77, 88, 100, 110, 122, 244,
                                                            44, 83, 86, 118, 128, 138};
      if (std::find(kProfiles.begin(), kProfiles.end(), data[i + 4]) != kProfiles.end()) {
        return "h264";
      }
    }
    if ((header == 0x40 || header == 0x42) && data[i + 4] == 1) return "hevc";  // VPS or SPS
  }
  return nullptr;
}

// The first box of an ISO file (MP4, MOV) says what it is: libavformat's demuxer is as sure of it,
// but asking all of its formats takes longer than opening the file. JPEG 2000 and XL begin alike.
bool is_iso_media(std::span<const uint8_t> data) {
  const auto tag_at = [&](size_t at) {
    return std::string_view(reinterpret_cast<const char*>(data.data()) + at, 4);
  };
  if (data.size() < 12 || tag_at(4) != "ftyp") return false;
  const std::string_view brand = tag_at(8);
  return brand != "jp2 " && brand != "jpx " && brand != "jxl ";
}

const char* format_of_suffix(const std::string& name) {
  const size_t dot = name.rfind('.');
  if (dot == std::string::npos) return nullptr;
  std::string suffix = name.substr(dot + 1);
  std::transform(suffix.begin(), suffix.end(), suffix.begin(),
                 [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  static constexpr std::pair<std::string_view, const char*> kSuffixes[] = {
      {"264", "h264"},    {"h264", "h264"},     {"avc", "h264"},      {"jsv", "h264"},
      {"jvt", "h264"},    {"26l", "h264"},      {"bit", "h264"},      {"265", "hevc"},
      {"h265", "hevc"},   {"hevc", "hevc"},     {"m4v", "m4v"},       {"cmp", "m4v"},
      {"h263", "h263"},   {"m1v", "mpegvideo"}, {"m2v", "mpegvideo"}, {"mpv", "mpegvideo"},
      {"mjpeg", "mjpeg"}, {"mjpg", "mjpeg"},
  };
  for (const auto& [known, format] : kSuffixes) {
    if (suffix == known) return format;
  }
  return nullptr;
}

}  // namespace

av::InputFormatConst* probe_format(ByteSource& source) {
  const auto most = static_cast<size_t>(std::min<int64_t>(source.size(), int64_t{kMaxProbe}));
  std::vector<uint8_t> head;
  size_t have = 0;
  // Growing pieces, as libavformat does: most formats show themselves in the first 2 KiB.
  for (size_t want = 2048;; want *= 2) {
    want = std::min(want, most);
    head.resize(want + AVPROBE_PADDING_SIZE);  // zero behind what is read
    have += source.read_at(static_cast<int64_t>(have), std::span(head).subspan(have, want - have));
    if (is_iso_media(std::span(head).first(have))) {
      if (auto* format = av_find_input_format("mov"); format != nullptr) return format;
    }
    AVProbeData data{};
    data.filename = "";
    // FFmpeg 8 takes for a playlist (hls) only what has its suffix or media type. No other format
    // looks at this type; with it hls goes by the bytes, like all formats here.
    data.mime_type = "application/vnd.apple.mpegurl";
    data.buf = head.data();
    data.buf_size = static_cast<int>(have);
    // Low scores come from formats with hardly any structure (mp3 finds itself in most bytes).
    constexpr int kSure = AVPROBE_SCORE_EXTENSION;
    const bool last = want == most || have < want;
    int score = last ? 0 : AVPROBE_SCORE_RETRY;
    auto* format = av_probe_input_format2(&data, 1, &score);
    if (format != nullptr && score > kSure) return format;
    if (const char* name = sniff_annex_b(std::span(head).first(have)); name != nullptr) {
      return av_find_input_format(name);
    }
    if (format != nullptr) return format;
    if (last) break;
  }
  if (const char* name = format_of_suffix(source.name()); name != nullptr) {
    return av_find_input_format(name);
  }
  return nullptr;
}

}  // namespace cvdecode
