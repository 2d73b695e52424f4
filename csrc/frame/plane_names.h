// The public names of the planes, as users write them.
#pragma once

#include "frame/planes.h"

namespace cvdecode {

constexpr const char* plane_name(Plane plane) {
  switch (plane) {
    case Plane::kMv: return "mv";
    case Plane::kRef: return "ref";
    case Plane::kMbType: return "mb_type";
    case Plane::kQp: return "qp";
    case Plane::kBits: return "bits";
    case Plane::kResidualY: return "residual_y";
    case Plane::kResidualUv: return "residual_uv";
    case Plane::kRgb: return "rgb";
    case Plane::kRefPicture: return "ref_picture";  // internal
    case Plane::kMotion: return "motion";           // internal
  }
  return "?";
}

}  // namespace cvdecode
