#include "mpeg/vop_codes.h"

#include <algorithm>
#include <span>

namespace cvdecode::mpeg {
namespace {

#include "mpeg/vop_codes.inc"

// The last code is all ones, so codes are laid out from the end of the table backwards.
template <typename T>
void lay_out(std::span<const T> codes, CodeTable<T>& table) {
  size_t end = table.size();
  for (auto it = codes.rbegin(); it != codes.rend(); ++it) {
    const size_t count = table.size() >> it->length;
    std::fill_n(table.begin() + static_cast<ptrdiff_t>(end - count), count, *it);
    end -= count;
  }
}

void note_runs(std::span<const CoefficientCode> codes,
               std::array<std::array<uint8_t, 32>, 2>& max_run) {
  for (const CoefficientCode& c : codes) {
    uint8_t& most = max_run[c.last][c.level];
    most = std::max(most, c.run);
  }
}

VopCodes make() {
  VopCodes codes{};
  lay_out<CoefficientCode>(kInterCoefficients, codes.inter);
  lay_out<CoefficientCode>(kIntraCoefficients, codes.intra);
  lay_out<Code>(kMcbpcI, codes.mcbpc_i);
  lay_out<Code>(kMcbpcP, codes.mcbpc_p);
  lay_out<Code>(kCbpy, codes.cbpy);
  lay_out<Code>(kMvd, codes.mvd);
  lay_out<Code>(kDcSizeLuminance, codes.dc_luminance);
  lay_out<Code>(kDcSizeChrominance, codes.dc_chrominance);
  note_runs(kInterCoefficients, codes.inter_max_run);
  note_runs(kIntraCoefficients, codes.intra_max_run);
  return codes;
}

}  // namespace

const VopCodes& vop_codes() {
  static const VopCodes codes = make();
  return codes;
}

}  // namespace cvdecode::mpeg
