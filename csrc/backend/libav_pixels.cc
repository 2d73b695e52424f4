#include "backend/libav_pixels.h"

#include <cstddef>

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

// libswscale's SIMD may write up to a vector beyond the row.
int padded_stride(int width) { return (3 * width + 63) / 64 * 64; }

}  // namespace

bool PixelConverter::prepare(const AVFrame& frame) {
  const int range = frame.color_range == AVCOL_RANGE_JPEG ? 1 : 0;
  if (context_ && frame.width == width_ && frame.height == height_ && frame.format == format_ &&
      frame.colorspace == colorspace_ && range == range_) {
    return true;
  }
  context_.reset(sws_getContext(frame.width, frame.height, static_cast<AVPixelFormat>(frame.format),
                                frame.width, frame.height, AV_PIX_FMT_RGB24, SWS_BILINEAR, nullptr,
                                nullptr, nullptr));
  if (!context_) return false;
  // Unspecified means BT.601, limited range: libswscale's own default, made explicit. Formats with
  // "full range" in their name (yuvj420p) carry color_range as well when they come from a decoder.
  const int* matrix = sws_getCoefficients(frame.colorspace);
  const bool full = range == 1 || frame.format == AV_PIX_FMT_YUVJ420P ||
                    frame.format == AV_PIX_FMT_YUVJ422P || frame.format == AV_PIX_FMT_YUVJ444P ||
                    frame.format == AV_PIX_FMT_YUVJ440P || frame.format == AV_PIX_FMT_YUVJ411P;
  // Fails, harmlessly, for sources that are RGB already.
  sws_setColorspaceDetails(context_.get(), matrix, full ? 1 : 0, matrix, 1, 0, 1 << 16, 1 << 16);
  width_ = frame.width;
  height_ = frame.height;
  format_ = frame.format;
  colorspace_ = frame.colorspace;
  range_ = range;
  scratch_.resize(static_cast<size_t>(padded_stride(width_)) * static_cast<size_t>(height_) + 64);
  return true;
}

std::string PixelConverter::convert(const AVFrame& frame, int width, int height, uint8_t* rgb) {
  if (frame.width != width || frame.height != height) {
    return "the decoder gives " + std::to_string(frame.width) + "x" + std::to_string(frame.height) +
           " samples where the headers say " + std::to_string(width) + "x" + std::to_string(height);
  }
  if (!prepare(frame)) {
    const char* name = av_get_pix_fmt_name(static_cast<AVPixelFormat>(frame.format));
    return std::string("libswscale does not convert ") + (name != nullptr ? name : "this format") +
           " to RGB";
  }
  const int stride = padded_stride(width);
  uint8_t* const dst[4] = {scratch_.data(), nullptr, nullptr, nullptr};
  const int strides[4] = {stride, 0, 0, 0};
  const int rows = sws_scale(context_.get(), frame.data, frame.linesize, 0, height, dst, strides);
  if (rows != height) return "libswscale failed";
  const ptrdiff_t plane = static_cast<ptrdiff_t>(width) * height;
  for (int y = 0; y < height; ++y) {
    const uint8_t* from = scratch_.data() + static_cast<ptrdiff_t>(y) * stride;
    uint8_t* to = rgb + static_cast<ptrdiff_t>(y) * width;
    split_row(from, to, to + plane, to + 2 * plane, width);
  }
  return {};
}

}  // namespace cvdecode
