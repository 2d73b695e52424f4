// libavcodec's exported side data as rows of planes (docs/planes.md, docs/libavcodec.md).
#pragma once

extern "C" {
#include <libavutil/motion_vector.h>
}

#include <array>
#include <cstdint>
#include <span>
#include <vector>

#include "av/handles.h"
#include "backend/libav_traits.h"
#include "frame/clip.h"
#include "frame/frame_index.h"

namespace cvdecode {

// As libavcodec exported them, in raster order of the macroblocks; empty = none.
std::span<const AVMotionVector> vectors_of(const AVFrame& frame);

// The two pictures that the vectors of one picture refer to, as far as the codec's rules tell:
// list 0 and list 1 in the sense of AVMotionVector::source.
struct References {
  std::array<int16_t, 2> distance{kRefUntrusted, kRefUntrusted};               // kRef
  std::array<int32_t, 2> picture{kRefPictureUntrusted, kRefPictureUntrusted};  // kRefPicture
};

// For MPEG-1/2/4: the nearest reference pictures before each picture in decode order. They do not
// depend on vectors, only on the order of pictures, so they are exact for every frame picture.
class ReferenceTable {
 public:
  ReferenceTable(const FrameIndex& index, CodecFamily family);
  // `sprite`: the picture is an S-VOP, where a vector may be an average of the global motion.
  References of(int32_t picture, bool sprite) const;

 private:
  int16_t distance(int32_t from, int32_t to) const;

  const FrameIndex& index_;
  CodecFamily family_;
  // Per picture: the last and the last but one reference picture before it; -1 = none.
  std::vector<int32_t> last_;
  std::vector<int32_t> last_but_one_;
};

// Fills those of mv, ref, mb_type, ref_picture that are in `planes`. A frame without vectors is one
// without inter macroblocks: the caller knows the frames that lost theirs.
void fill_motion(const AVFrame& frame, CodecFamily family, const References& references,
                 PlaneMask planes, int64_t row, Clip& clip);

// List 0 of the mv plane alone, of a picture that is no B picture: int16 (2 (x, y), H4, W4).
void fill_list0(const AVFrame& frame, const Geometry& geometry, int16_t* mv);

bool has_qp(const AVFrame& frame);
// True when the frame carries vectors or QPs.
bool has_side_data(const AVFrame& frame);
// What libavcodec's number is in terms of the bitstream.
enum class QpScale : uint8_t {
  kSame,    // H.264: QP_Y
  kDouble,  // MPEG: twice quantiser_scale (MPEG-1, MPEG-4, H.263) or quantiser_scale_code (MPEG-2)
  kNonLinear,  // MPEG-2 with q_scale_type 1: the value that quantiser_scale_code selects
};
// Fills qp with what the bitstream says; kQpNone where the number is none of its values.
void fill_qp(const AVFrame& frame, QpScale scale, int64_t row, Clip& clip);

}  // namespace cvdecode
