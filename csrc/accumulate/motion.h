// What accumulation asks of a stream: pictures by decode number, their motion, residual, pixels.
#pragma once

#include <cstdint>
#include <functional>
#include <span>

#include "frame/frame_index.h"
#include "frame/motion_row.h"
#include "frame/planes.h"

namespace cvdecode {

inline constexpr int32_t kNotTold = -2;

struct MotionPicture {
  int32_t presentation = -1;  // presentation index, -1 = not presented
  int64_t time = 0;           // rank in output order over all pictures, presented or not
  int32_t segment = 0;
  FrameType type = FrameType::kUnknown;
  bool all_intra = false;     // every slice is I
  bool is_reference = false;  // some later picture may refer to it
  int32_t decode = -1;        // place in the decode order of the stream, -1 = unknown
  // Told by providers that may lack pictures of the stream: the nearest reference picture earlier
  // in decode order (-1 = not here), and a number n of which those below, and no others, come
  // before the last all-intra picture at or before this one.
  int32_t previous_reference = kNotTold;
  int32_t from_last_intra = kNotTold;
};

// MotionView::ref_picture of a picture that is not here and is shown n frames away: kAway - n.
inline constexpr int32_t kAway = -16;

// Planes of one picture at coded size (rgb at display size), laid out as in Clip; null where not
// asked for. kRefPicture holds decode numbers of this provider. Valid only inside the sink.
struct MotionView {
  const int16_t* mv = nullptr;
  const int32_t* ref_picture = nullptr;
  const uint8_t* mb_type = nullptr;  // may be null even when asked for: then `lost` decides
  MotionRow motion;                  // kMotion: then mv, ref_picture and mb_type are null
  bool lost = false;                 // in whole or in part
  const int16_t* residual_y = nullptr;
  const int16_t* residual_uv = nullptr;
  const uint8_t* rgb = nullptr;
};

// Used by one thread at a time. Pictures are named by decode number: a reference of picture n has
// a number below n.
class MotionProvider {
 public:
  using Sink = std::function<void(int32_t picture, const MotionView& view)>;

  virtual ~MotionProvider() = default;
  virtual int32_t picture_count() const = 0;
  virtual MotionPicture picture(int32_t number) const = 0;
  // Decode number of a presented picture, -1 = not here.
  virtual int32_t find(int64_t presentation) const = 0;
  virtual Geometry geometry(int32_t segment) const = 0;
  // False where reading a picture means decoding all before it: then pictures that will probably
  // be needed are asked for in the same call.
  virtual bool random_access() const = 0;
  // The planes to ask for where motion is wanted: kMv, kRefPicture and kMbType, or kMotion alone.
  virtual PlaneMask motion_planes() const {
    return mask_of(Plane::kMv) | mask_of(Plane::kRefPicture) | mask_of(Plane::kMbType);
  }
  // Hands every picture to `sink` once, in ascending order. `pictures` ascend and lie in one
  // segment. Throws kPlaneUnavailable when a plane cannot be had.
  virtual void read(std::span<const int32_t> pictures, PlaneMask planes, const Sink& sink) = 0;
};

}  // namespace cvdecode
