#include "mpeg/h263_headers.h"

#include "bitstream/bit_reader.h"

namespace cvdecode::mpeg {
namespace {

struct Size {
  int width, height;
};
// Table 6/H.263 source formats 1 to 5: sub-QCIF, QCIF, CIF, 4CIF, 16CIF.
constexpr Size kSourceFormats[] = {{0, 0},     {128, 96},  {176, 144},
                                   {352, 288}, {704, 576}, {1408, 1152}};

void set_size(uint32_t format, H263Picture& picture) {
  if (format < 1 || format > 5) return;
  picture.width = kSourceFormats[format].width;
  picture.height = kSourceFormats[format].height;
}

}  // namespace

bool parse_h263_picture(std::span<const uint8_t> data, H263Picture& out) {
  BitReader bits(data);
  H263Picture picture;
  if (bits.u(22) != 0x20) return false;  // PSC
  bits.skip(8);                          // TR
  if (bits.u(2) != 2) return false;      // PTYPE bits 1 and 2
  bits.skip(3);                          // split screen, document camera, freeze release
  const uint32_t format = bits.u(3);
  if (format != 7) {
    set_size(format, picture);
    picture.type = bits.flag() ? FrameType::kP : FrameType::kI;
  } else {  // 5.1.4: PLUSPTYPE
    const uint32_t ufep = bits.u(3);
    uint32_t plus_format = 0;
    if (ufep == 1) {
      plus_format = bits.u(3);
      set_size(plus_format, picture);
      bits.skip(15);
    } else if (ufep != 0) {
      return false;
    }
    switch (bits.u(3)) {  // MPPTYPE: picture type code
      case 0: picture.type = FrameType::kI; break;
      case 3: picture.type = FrameType::kB; break;
      default: picture.type = FrameType::kP;
    }
    bits.skip(6);
    if (bits.flag()) bits.skip(2);  // CPM, PSBI
    if (plus_format == 6) {         // CPFMT: custom picture format
      bits.skip(4);
      picture.width = (static_cast<int>(bits.u(9)) + 1) * 4;
      bits.skip(1);
      picture.height = static_cast<int>(bits.u(9)) * 4;
    }
  }
  if (!bits.ok()) return false;
  out = picture;
  return true;
}

bool parse_flv1_picture(std::span<const uint8_t> data, H263Picture& out) {
  BitReader bits(data);
  H263Picture picture;
  if (bits.u(17) != 1) return false;  // PictureStartCode
  bits.skip(5 + 8);                   // Version, TemporalReference
  const uint32_t size = bits.u(3);
  if (size <= 1) {
    picture.width = static_cast<int>(bits.u(size == 0 ? 8 : 16));
    picture.height = static_cast<int>(bits.u(size == 0 ? 8 : 16));
  } else {
    static constexpr Size kSizes[] = {{0, 0},    {0, 0},     {352, 288}, {176, 144},
                                      {128, 96}, {320, 240}, {160, 120}, {0, 0}};
    picture.width = kSizes[size].width;
    picture.height = kSizes[size].height;
  }
  picture.type = bits.u(2) == 0 ? FrameType::kI : FrameType::kP;
  if (!bits.ok()) return false;
  out = picture;
  return true;
}

}  // namespace cvdecode::mpeg
