#include "mpeg/vop_parser.h"

#include <algorithm>
#include <bit>

#include "mpeg/start_codes.h"
#include "mpeg/vop_codes.h"

namespace cvdecode::mpeg {
namespace {

// A code of one of the tables, -1 = none. No code is longer than 12 bits.
int read_code(BitReader& bits, const CodeTable<Code>& table) {
  bits.refill();
  const Code code = table[bits.cache() >> (64 - kLongestCode)];
  bits.consume(code.length);
  return code.value;
}

// Reads over the events of a block, the first of which stands at `position` in scan order.
bool skip_coefficients(BitReader& bits, const CodeTable<CoefficientCode>& table,
                       const std::array<std::array<uint8_t, 32>, 2>& max_run, int position) {
  for (;;) {
    bits.refill();  // 56 bits or more: an escape takes 30
    CoefficientCode code = table[bits.cache() >> (64 - kLongestCode)];
    if (code.level != 0) [[likely]] {
      bits.consume(code.length + 1);
      position += code.run + 1;
    } else {
      if (code.length == 0) return false;
      bits.consume(code.length);
      const auto kind = static_cast<unsigned>(bits.cache() >> 62);
      if (kind == 3) {  // fixed length: last, run, marker, level, marker
        const uint64_t fields = bits.cache() << 2;
        code.last = static_cast<uint8_t>(fields >> 63);
        position += static_cast<int>((fields >> 57) & 63) + 1;
        const bool markers = ((fields >> 56) & 1) != 0 && ((fields >> 43) & 1) != 0;
        if (!markers) return false;
        bits.consume(2 + 1 + 6 + 1 + 12 + 1);
      } else {  // the level, or the run, is larger by the table's largest
        bits.consume(kind == 2 ? 2 : 1);
        code = table[bits.cache() >> (64 - kLongestCode)];
        if (code.level == 0) return false;
        bits.consume(code.length + 1);
        position += code.run + 1;
        if (kind == 2) position += max_run[code.last][code.level] + 1;
      }
    }
    if (position > 64) return false;
    if (code.last != 0) return true;
  }
}

int median(int a, int b, int c) { return std::max(std::min(a, b), std::min(std::max(a, b), c)); }

// What may follow the last macroblock: next_start_code()'s 0 and ones up to the next byte, then
// nothing, zero bytes, or another start code.
bool ends_well(BitReader& bits) {
  const int left = 8 - static_cast<int>(bits.position() & 7);
  if (bits.u(left) != (1u << (left - 1)) - 1 || !bits.ok()) return false;
  const auto rest = bits.bytes().subspan(static_cast<size_t>(bits.position() / 8));
  size_t zeros = 0;
  while (zeros < rest.size() && rest[zeros] == 0) ++zeros;
  return zeros == rest.size() || (zeros >= 2 && rest[zeros] == 1);
}

}  // namespace

void VopParser::read_headers(std::span<const uint8_t> data) {
  for (size_t at = find_start_code(data, 0); at < data.size(); at = find_start_code(data, at + 3)) {
    const int code = data[at + 3];
    if (code < kVideoObjectLayer || code > kVideoObjectLayerLast) continue;
    has_vol_ |= parse_vol(data.subspan(at + 4), vol_);
  }
}

bool VopParser::read_packet(std::span<const uint8_t> packet, VopMotion& out) {
  bool done = false;
  for (size_t at = find_start_code(packet, 0); at < packet.size();
       at = find_start_code(packet, at + 3)) {
    const int code = packet[at + 3];
    if (code == kVop) {
      if (done || !read_vop(packet.subspan(at + 4), out)) return false;
      done = true;
    } else if (code >= kVideoObjectLayer && code <= kVideoObjectLayerLast) {
      if (done || !parse_vol(packet.subspan(at + 4), vol_)) return false;
      has_vol_ = true;
    }
  }
  return done;
}

bool VopParser::read_vop(std::span<const uint8_t> payload, VopMotion& out) {
  Vop vop;
  if (!has_vol_ || !vol_.plain || !parse_vop(payload, vol_, vop) || !vop.vop_coded) return false;
  if (vop.vop_coding_type != VopType::kI && vop.vop_coding_type != VopType::kP) return false;
  is_p_ = vop.vop_coding_type == VopType::kP;
  BitReader bits(payload, vop.bits_to_vop_coded);
  if (is_p_) bits.skip(1);  // vop_rounding_type
  // Table 6-21: quantisers from this one on code intra DC as any other coefficient.
  static constexpr int kIntraDcThresholds[8] = {99, 13, 15, 17, 19, 21, 23, 0};
  intra_dc_below_ = kIntraDcThresholds[bits.u(3)];
  quantiser_ = static_cast<int>(bits.u(5));  // vop_quant
  if (is_p_) vop_fcode_forward_ = static_cast<int>(bits.u(3));
  if (quantiser_ == 0 || vop_fcode_forward_ == 0) return false;

  out.width = (vol_.video_object_layer_width + 15) / 16;
  out.height = (vol_.video_object_layer_height + 15) / 16;
  if (out.width < 1 || out.height < 1) return false;
  out.to_quarter = vol_.quarter_sample ? 1 : 2;
  // A macroblock takes a bit at least: so sizes are bounded by the bytes that are there.
  const auto count = static_cast<size_t>(out.width) * static_cast<size_t>(out.height);
  if (static_cast<int64_t>(count) > bits.bits_left()) return false;
  out.kinds.resize(count);
  out.quantisers.resize(count);
  out.vectors.assign(out.at(2 * out.width, 2 * out.height - 1) + 1, MotionVector{});
  return read_macroblocks(bits, out) && ends_well(bits);
}

bool VopParser::read_macroblocks(BitReader& bits, VopMotion& out) {
  const VopCodes& codes = vop_codes();
  const int count = out.width * out.height;
  packet_start_ = 0;
  for (int number = 0; number < count; ++number) {
    if (number > 0 && at_video_packet(bits) && !read_video_packet(bits, number, count)) {
      return false;
    }
    int mcbpc = 0;
    bool not_coded = false;
    do {  // stuffing
      not_coded = is_p_ && bits.flag();
      if (not_coded) break;
      mcbpc = read_code(bits, is_p_ ? codes.mcbpc_p : codes.mcbpc_i);
    } while (mcbpc == (is_p_ ? 20 : 8) && !bits.overrun());
    if (mcbpc < 0 || bits.overrun()) return false;
    MacroblockKind kind = MacroblockKind::kIntra;
    if (not_coded) {
      kind = MacroblockKind::kInter16x16;
    } else if (!is_p_) {
      if (!read_intra(bits, mcbpc >= 4 ? 12 + mcbpc - 4 : 4 + mcbpc)) return false;
    } else if ((mcbpc & 4) != 0) {
      if (!read_intra(bits, mcbpc)) return false;
    } else {
      kind = (mcbpc & 16) != 0 ? MacroblockKind::kInter8x8 : MacroblockKind::kInter16x16;
      if (!read_inter(bits, mcbpc, number, out)) return false;
    }
    out.kinds[static_cast<size_t>(number)] = kind;
    out.quantisers[static_cast<size_t>(number)] = static_cast<uint8_t>(quantiser_);
  }
  return bits.ok();
}

// A 0 and ones up to the next byte, then 16 zeros at least: no macroblock begins like this.
bool VopParser::at_video_packet(BitReader& bits) const {
  if (vol_.resync_marker_disable) return false;
  const int stuffing = 8 - static_cast<int>(bits.position() & 7);
  const uint32_t next = bits.peek(32);
  return next >> (32 - stuffing) == (1u << (stuffing - 1)) - 1 && next << stuffing >> 16 == 0;
}

// 6.2.5.2. Packets must follow one another without a gap.
bool VopParser::read_video_packet(BitReader& bits, int number, int count) {
  bits.skip(8 - (bits.position() & 7));
  const int zeros = is_p_ ? 15 + vop_fcode_forward_ : 16;
  if (bits.u(zeros) != 0 || !bits.flag()) return false;  // resync_marker
  const int number_bits = static_cast<int>(std::bit_width(static_cast<unsigned>(count - 1)));
  if (static_cast<int>(bits.u(number_bits)) != number) return false;  // macroblock_number
  quantiser_ = static_cast<int>(bits.u(5));                           // quant_scale
  if (quantiser_ == 0) return false;
  if (bits.flag()) {       // header_extension_code: the VOP header again
    while (bits.flag()) {  // modulo_time_base; ends: zeros follow the end of the bytes
    }
    bits.skip(1 + vol_.time_increment_bits() + 1);
    if (bits.u(2) != (is_p_ ? 1u : 0u)) return false;  // vop_coding_type
    bits.skip(3);                                      // intra_dc_vlc_thr
    if (is_p_ && static_cast<int>(bits.u(3)) != vop_fcode_forward_) return false;
  }
  packet_start_ = number;
  return bits.ok();
}

void VopParser::change_quantiser(BitReader& bits) {
  static constexpr int kSteps[4] = {-1, -2, 1, 2};  // table 6-32
  quantiser_ = std::clamp(quantiser_ + kSteps[bits.u(2)], 1, 31);
}

bool VopParser::read_intra(BitReader& bits, int mcbpc) {
  const VopCodes& codes = vop_codes();
  bits.skip(1);  // ac_pred_flag
  const int cbpy = read_code(bits, codes.cbpy);
  if (cbpy < 0) return false;
  const bool dc_apart = quantiser_ < intra_dc_below_;  // by the quantiser before dquant
  if ((mcbpc & 8) != 0) change_quantiser(bits);
  const int coded = cbpy << 2 | (mcbpc & 3);
  for (int block = 0; block < 6; ++block) {
    if (dc_apart) {
      const int size = read_code(bits, block < 4 ? codes.dc_luminance : codes.dc_chrominance);
      if (size < 0 || size > 9) return false;
      bits.skip(size);
      if (size > 8 && !bits.flag()) return false;
    }
    if ((coded & (32 >> block)) != 0 &&
        !skip_coefficients(bits, codes.intra, codes.intra_max_run, dc_apart ? 1 : 0)) {
      return false;
    }
  }
  return true;
}

bool VopParser::read_inter(BitReader& bits, int mcbpc, int number, VopMotion& out) {
  const VopCodes& codes = vop_codes();
  const int cbpy = read_code(bits, codes.cbpy);
  if (cbpy < 0) return false;
  if ((mcbpc & 8) != 0) change_quantiser(bits);
  const int vectors = (mcbpc & 16) != 0 ? 4 : 1;
  for (int block = 0; block < vectors; ++block) {
    if (!read_vector(bits, number, block, out)) return false;
  }
  if (vectors == 1) {
    const size_t top = out.at(2 * (number % out.width), 2 * (number / out.width));
    const size_t bottom = top + out.stride();
    out.vectors[top + 1] = out.vectors[bottom] = out.vectors[bottom + 1] = out.vectors[top];
  }
  const int coded = (cbpy ^ 15) << 2 | (mcbpc & 3);
  for (int block = 0; block < 6; ++block) {
    if ((coded & (32 >> block)) != 0 &&
        !skip_coefficients(bits, codes.inter, codes.inter_max_run, 0)) {
      return false;
    }
  }
  return true;
}

// 7.6.5 and figure 7-34: the median of the blocks to the left, above, and above to the right (for
// the lower right block, to the left). Of those outside the VOP or the video packet, one counts as
// zero, two as the third, three as zero.
bool VopParser::read_vector(BitReader& bits, int number, int block, VopMotion& out) {
  const CodeTable<Code>& table = vop_codes().mvd;
  const int column = number % out.width;
  const size_t at = out.at(2 * column + (block & 1), 2 * (number / out.width) + (block >> 1));
  const int above_number = number - out.width;
  const bool lower = block >= 2;
  const bool has_left = (block & 1) != 0 || (column > 0 && number > packet_start_);
  const bool has_above = lower || above_number >= packet_start_;
  const bool has_third = lower || (column + 1 < out.width && above_number + 1 >= packet_start_);
  static constexpr int kThird[4] = {2, 1, 1, -1};  // columns from here, in the row above
  const size_t up = at - out.stride();
  const MotionVector zero;
  const MotionVector left = has_left ? out.vectors[at - 1] : zero;
  const MotionVector above = has_above ? out.vectors[up] : zero;
  const MotionVector third =
      has_third ? out.vectors[up + static_cast<size_t>(kThird[block])] : zero;
  MotionVector predictor;
  if (has_left + has_above + has_third == 1) {
    predictor = has_left ? left : has_above ? above : third;
  } else {
    predictor.x = static_cast<int16_t>(median(left.x, above.x, third.x));
    predictor.y = static_cast<int16_t>(median(left.y, above.y, third.y));
  }
  const int r_size = vop_fcode_forward_ - 1;
  const auto component = [&](int from, int16_t& value) {
    const int magnitude = read_code(bits, table);
    if (magnitude < 0) return false;
    int difference = magnitude;
    if (magnitude > 0) {
      const bool negative = bits.flag();
      if (r_size > 0) {  // motion_residual
        difference = ((magnitude - 1) << r_size) + static_cast<int>(bits.u(r_size)) + 1;
      }
      if (negative) difference = -difference;
    }
    // Vectors wrap around in [-32 * f, 32 * f).
    const int low = -(32 << r_size);
    value = static_cast<int16_t>(((from + difference - low) & ((64 << r_size) - 1)) + low);
    return true;
  };
  MotionVector& vector = out.vectors[at];
  return component(predictor.x, vector.x) && component(predictor.y, vector.y);
}

}  // namespace cvdecode::mpeg
