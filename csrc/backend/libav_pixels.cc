#include "backend/libav_pixels.h"

#include <algorithm>
#include <cstddef>
#include <initializer_list>

#include "base/error.h"

extern "C" {
#include <libavutil/pixdesc.h>
#include <libavutil/pixfmt.h>
}

// Splitting RGB24 into planes needs byte shuffles, which the baseline of x86-64 lacks.
#if defined(__x86_64__) && defined(__linux__) && defined(__GNUC__) && !defined(__clang__) && \
    !defined(__SANITIZE_ADDRESS__)
#define CVDECODE_CLONES __attribute__((target_clones("avx2", "ssse3", "default")))
#else
#define CVDECODE_CLONES
#endif

namespace cvdecode {
namespace {

CVDECODE_CLONES
void split_row(const uint8_t* __restrict rgb, uint8_t* __restrict r, uint8_t* __restrict g,
               uint8_t* __restrict b, int width) {
  for (int x = 0; x < width; ++x) {
    r[x] = rgb[3 * x];
    g[x] = rgb[3 * x + 1];
    b[x] = rgb[3 * x + 2];
  }
}

bool is_any(int format, std::initializer_list<AVPixelFormat> formats) {
  return std::find(formats.begin(), formats.end(), format) != formats.end();
}

bool is_full_range(const AVFrame& frame) {
  return frame.color_range == AVCOL_RANGE_JPEG ||
         is_any(frame.format, {AV_PIX_FMT_YUVJ420P, AV_PIX_FMT_YUVJ422P, AV_PIX_FMT_YUVJ444P,
                               AV_PIX_FMT_YUVJ440P, AV_PIX_FMT_YUVJ411P});
}

// libswscale's SIMD for 4:2:0 and 4:2:2 works on blocks of columns, each from its own samples
// alone, and what it makes of an incomplete last block depends on the version and on the row's
// stride (FFmpeg 5.1: wrong colours). Frames are padded on the right, so whole blocks are converted
// and the surplus is dropped. Other formats take libswscale's general path, where columns mix.
int columns_to_convert(const AVFrame& frame) {
  constexpr int kBlock = 32;
  const int padded = (frame.width + kBlock - 1) / kBlock * kBlock;
  const bool blockwise =
      frame.height % 2 == 0 && is_any(frame.format, {AV_PIX_FMT_YUV420P, AV_PIX_FMT_YUVJ420P,
                                                     AV_PIX_FMT_YUV422P, AV_PIX_FMT_YUVJ422P});
  if (!blockwise) return frame.width;
  const bool halved = is_any(frame.format, {AV_PIX_FMT_YUV420P, AV_PIX_FMT_YUVJ420P});
  for (int i = 0; i < 3; ++i) {  // every column that will be read lies in the plane's buffer
    const AVBufferRef* buffer = av_frame_get_plane_buffer(const_cast<AVFrame*>(&frame), i);
    const ptrdiff_t rows = i > 0 && halved ? frame.height / 2 : frame.height;
    const ptrdiff_t bytes = i > 0 ? padded / 2 : padded;
    if (buffer == nullptr || frame.linesize[i] < 0) return frame.width;
    const ptrdiff_t offset = frame.data[i] - buffer->data;
    if (offset + (rows - 1) * frame.linesize[i] + bytes > static_cast<ptrdiff_t>(buffer->size)) {
      return frame.width;
    }
  }
  return padded;
}

// General code may write a vector beyond the row.
int padded_stride(int columns) { return (3 * columns + 63) / 64 * 64; }

}  // namespace

bool PixelConverter::prepare(const AVFrame& frame, bool bgr) {
  const int columns = columns_to_convert(frame);
  const int full = is_full_range(frame) ? 1 : 0;
  if (context_ && columns == columns_ && frame.height == height_ && frame.format == format_ &&
      frame.colorspace == colorspace_ && full == full_range_ && bgr == bgr_) {
    return true;
  }
  context_.reset(sws_getContext(columns, frame.height, static_cast<AVPixelFormat>(frame.format),
                                columns, frame.height, bgr ? AV_PIX_FMT_BGR24 : AV_PIX_FMT_RGB24,
                                bgr ? SWS_BICUBIC : SWS_BILINEAR, nullptr, nullptr, nullptr));
  if (!context_) return false;
  // Unspecified means BT.601, limited range: libswscale's own default, made explicit. The call
  // fails, harmlessly, for sources that are RGB already.
  const int* matrix = sws_getCoefficients(frame.colorspace);
  if (!bgr) sws_setColorspaceDetails(context_.get(), matrix, full, matrix, 1, 0, 1 << 16, 1 << 16);
  columns_ = columns;
  height_ = frame.height;
  format_ = frame.format;
  bgr_ = bgr;
  colorspace_ = frame.colorspace;
  full_range_ = full;
  scratch_.resize(static_cast<size_t>(padded_stride(columns_)) * static_cast<size_t>(height_) + 64);
  return true;
}

int PixelConverter::stride() const { return padded_stride(columns_); }

std::string PixelConverter::scale(const AVFrame& frame, int width, int height, bool bgr) {
  if (frame.width != width || frame.height != height) {
    return "the decoder gives " + std::to_string(frame.width) + "x" + std::to_string(frame.height) +
           " samples where the headers say " + std::to_string(width) + "x" + std::to_string(height);
  }
  if (!prepare(frame, bgr)) {
    const char* name = av_get_pix_fmt_name(static_cast<AVPixelFormat>(frame.format));
    return std::string("libswscale does not convert ") + (name != nullptr ? name : "this format") +
           " to RGB";
  }
  uint8_t* const dst[4] = {scratch_.data(), nullptr, nullptr, nullptr};
  const int strides[4] = {stride(), 0, 0, 0};
  const int rows = sws_scale(context_.get(), frame.data, frame.linesize, 0, height, dst, strides);
  return rows == height ? "" : "libswscale failed";
}

std::string PixelConverter::convert(const AVFrame& frame, int width, int height, uint8_t* rgb) {
  std::string problem = scale(frame, width, height, false);
  if (!problem.empty()) return problem;
  const ptrdiff_t plane = static_cast<ptrdiff_t>(width) * height;
  for (int y = 0; y < height; ++y) {
    const uint8_t* from = scratch_.data() + static_cast<ptrdiff_t>(y) * stride();
    uint8_t* to = rgb + static_cast<ptrdiff_t>(y) * width;
    split_row(from, to, to + plane, to + 2 * plane, width);
  }
  return {};
}

std::string PixelConverter::convert_bgr(const AVFrame& frame, int width, int height, uint8_t* bgr) {
  std::string problem = scale(frame, width, height, true);
  if (!problem.empty()) return problem;
  const ptrdiff_t row = 3 * static_cast<ptrdiff_t>(width);
  for (int y = 0; y < height; ++y) {
    std::copy_n(scratch_.data() + static_cast<ptrdiff_t>(y) * stride(), row, bgr + y * row);
  }
  return {};
}

}  // namespace cvdecode
