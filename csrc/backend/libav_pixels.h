// Decoded frames as planar RGB at display size (docs/planes.md, `rgb`).
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "av/handles.h"

namespace cvdecode {

// Keeps one libswscale context and its scratch memory. Not thread-safe.
class PixelConverter {
 public:
  // Writes R, G, B planes of width x height samples to `rgb`. Returns why not, "" = done: a frame
  // whose display size is not width x height is refused, as is a format that libswscale lacks.
  std::string convert(const AVFrame& frame, int width, int height, uint8_t* rgb);
  // The same frame as pytorch-coviar's loader converts it: (height, width, 3) BGR, bicubic, with
  // libswscale's default matrix and range, whatever the stream says.
  std::string convert_bgr(const AVFrame& frame, int width, int height, uint8_t* bgr);

 private:
  // The frame in scratch_, or why not.
  std::string scale(const AVFrame& frame, int width, int height, bool bgr);
  bool prepare(const AVFrame& frame, bool bgr);
  int stride() const;

  av::SwsPtr context_;
  int columns_ = 0;
  int height_ = 0;
  int format_ = -1;
  bool bgr_ = false;
  int colorspace_ = -1;
  int full_range_ = -1;
  std::vector<uint8_t> scratch_;  // RGB24 or BGR24, rows padded
};

}  // namespace cvdecode
