#include "h264/cabac_contexts.h"

#include <cstddef>

namespace cvdecode::h264 {
namespace {

struct Place {
  uint16_t ctxIdx = 0;
  uint16_t offset = 0;  // byte of CabacContexts
};

struct Places {
  std::array<Place, 512> place{};
  size_t count = 0;

  constexpr void add(size_t ctxIdx, size_t offset, size_t n) {
    for (size_t i = 0; i < n; ++i) {
      place[count++] = {static_cast<uint16_t>(ctxIdx + i), static_cast<uint16_t>(offset + i)};
    }
  }
};

// Which ctxIdx lies where. The counts per block category are those of Table 9-34's ranges.
constexpr Places make_places() {
  Places p;
  p.add(0, 0, 85);
  p.add(399, kCtxTransformSize8x8Flag, 3);
  constexpr size_t kSignificant[6] = {15, 14, 15, 3, 14, 15};
  constexpr size_t kLast[6] = {15, 14, 15, 3, 14, 9};
  constexpr size_t kAbs[6] = {10, 10, 10, 9, 10, 10};
  for (size_t cat = 0; cat < 6; ++cat) {
    const size_t base = offsetof(CabacContexts, block) + cat * sizeof(ResidualContexts);
    p.add(kSignificantBase[cat], base + offsetof(ResidualContexts, significant_coeff_flag),
          kSignificant[cat]);
    p.add(kLastBase[cat], base + offsetof(ResidualContexts, last_significant_coeff_flag),
          kLast[cat]);
    p.add(kAbsLevelBase[cat], base + offsetof(ResidualContexts, coeff_abs_level_minus1), kAbs[cat]);
    if (cat < 5) {
      p.add(kCodedBlockFlagBase[cat], base + offsetof(ResidualContexts, coded_block_flag), 4);
    }
  }
  return p;
}

constexpr Places kPlaces = make_places();

}  // namespace

void CabacContexts::init(int column, int qp) {
  uint8_t* bytes = reinterpret_cast<uint8_t*>(this);
  for (size_t i = 0; i < kPlaces.count; ++i) {
    const Place place = kPlaces.place[i];
    const int8_t* mn = kCabacInitMN[column][place.ctxIdx];
    bytes[place.offset] = cabac::initial_state(mn[0], mn[1], qp);
  }
}

}  // namespace cvdecode::h264
