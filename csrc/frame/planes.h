// What a plane is: names, sentinels, geometry. The words of this header are the public contract.
#pragma once

#include <cstdint>

namespace cvdecode {

enum class Plane : uint8_t {
  kMv,          // int16 (T, 2 lists, 2 (x, y), H4, W4), quarter luma samples, source = here + mv/4
  kRef,         // int16 (T, 2, H4, W4), index(reference) - index(this), presentation order
  kMbType,      // uint8 (T, H16, W16), MbType
  kQp,          // int16 (T, H16, W16)
  kBits,        // uint16 (T, H16, W16), saturating
  kResidualY,   // int16 (T, Hc, Wc) at coded size
  kResidualUv,  // int16 (T, 2, ceil(Hc/2), ceil(Wc/2)) at coded size
  kRgb,         // uint8 (T, 3, H, W) at display size
  // Internal, never public: int32 (T, 2, H4, W4), the reference as a decode number (an index into
  // FrameIndex::pictures), or one of kRefPicture... below. Accumulation traces through it, because
  // a reference that is not presented has no presentation index.
  kRefPicture,
  // Internal: kMv and kRefPicture in the form of frame/motion_row.h, from the H.264 parser only.
  kMotion,
};
inline constexpr int kPlaneCount = 10;

using PlaneMask = uint32_t;
constexpr PlaneMask mask_of(Plane p) { return 1u << static_cast<unsigned>(p); }
constexpr bool has(PlaneMask mask, Plane p) { return (mask & mask_of(p)) != 0; }

// Values of kRef besides the distance itself.
inline constexpr int16_t kRefUnused = 0;           // list not used
inline constexpr int16_t kRefUntrusted = -32768;   // used; no trustworthy (vector, picture) pair
inline constexpr int16_t kRefNotShown = -32767;    // known picture, not presented or too far away
inline constexpr int16_t kRefMissing = -32766;     // the reference is missing (gap, damage)
inline constexpr int16_t kRefOtherField = -32765;  // the other field of the same frame

// Values of kRefPicture besides decode numbers >= 0.
inline constexpr int32_t kRefPictureUnused = -1;
inline constexpr int32_t kRefPictureUntrusted = -2;
inline constexpr int32_t kRefPictureMissing = -3;
inline constexpr int32_t kRefPictureOtherField = -4;

inline constexpr int16_t kQpNone = -128;  // lost, or I_PCM

enum class MbType : uint8_t {
  kI4x4 = 0,
  kI8x8 = 1,
  kI16x16 = 2,
  kIPcm = 3,
  kPSkip = 4,
  kBSkip = 5,
  kBDirect16x16 = 6,
  kInter16x16 = 7,
  kInter16x8 = 8,
  kInter8x16 = 9,
  kInter8x8 = 10,
  kInterUnknown = 252,
  kIntraUnknown = 253,
  kLost = 255,
};

// Sizes of one segment (constant coded size, crop and chroma format).
struct Geometry {
  int coded_width = 0;   // luma samples, multiple of 16
  int coded_height = 0;  // luma samples, multiple of 16
  int crop_left = 0;     // luma samples outside the display on each side
  int crop_top = 0;
  int crop_right = 0;
  int crop_bottom = 0;
  int chroma_format_idc = 1;  // 0 = 4:0:0, 1 = 4:2:0, 2 = 4:2:2, 3 = 4:4:4, -1 = other
  int bit_depth = 8;

  int width() const { return coded_width - crop_left - crop_right; }
  int height() const { return coded_height - crop_top - crop_bottom; }
  int w4() const { return coded_width / 4; }
  int h4() const { return coded_height / 4; }
  int w16() const { return coded_width / 16; }
  int h16() const { return coded_height / 16; }
  friend bool operator==(const Geometry&, const Geometry&) = default;
};

}  // namespace cvdecode
