// Vectors, macroblock types and quantisers of MPEG-4 part 2 by parsing alone, where a stream holds
// nothing but plain I- and P-VOPs: the same values that libavcodec exports, without decoding.
#pragma once

#include <cstdint>

#include "backend/backend.h"
#include "backend/libav_planes.h"
#include "mpeg/vop_parser.h"

namespace cvdecode {

class Mpeg4Motion {
 public:
  explicit Mpeg4Motion(const BackendContext& context);

  // Fills `planes` (of mv, ref, mb_type, qp and the internal reference pictures) of the row. False,
  // with the row left as it may be, where the picture is not plain or not in order: libavcodec has
  // the word then.
  bool read(int32_t picture, const References& references, PlaneMask planes, int64_t row,
            Clip& clip);

  // Whether every vector that libavcodec exported with a P-VOP is the one that it decoded. To
  // predict the first macroblock of a video packet, it sets the vector to the left of it to 0; the
  // export shows that where both macroblocks have four vectors (docs/libavcodec.md).
  bool is_exported(const AVFrame& frame, int32_t picture, const Geometry& geometry);

 private:
  bool enter_headers(int64_t packet);

  BackendContext context_;
  bool usable_ = false;
  mpeg::VopParser parser_;
  int64_t headers_from_ = -2;  // the packet whose VOL the parser knows, -1 = extradata
  mpeg::VopMotion motion_;
};

}  // namespace cvdecode
