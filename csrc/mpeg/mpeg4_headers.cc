#include "mpeg/mpeg4_headers.h"

#include <algorithm>
#include <bit>
#include <iterator>

#include "bitstream/bit_reader.h"

namespace cvdecode::mpeg {

int Vol::time_increment_bits() const {
  return std::max(1, static_cast<int>(
                         std::bit_width(static_cast<unsigned>(vop_time_increment_resolution - 1))));
}

namespace {

void skip_matrix(BitReader& bits) {
  for (int i = 0; i < 64 && bits.u(8) != 0; ++i) {  // a zero ends it early
  }
}

// From quant_type on, for a rectangular VOL; sets quarter_sample.
bool rest_is_plain(BitReader& bits, Vol& vol) {
  if (vol.quant_type != 0) {
    for (int matrix = 0; matrix < 2; ++matrix) {
      if (bits.flag()) skip_matrix(bits);
    }
  }
  const bool later = vol.video_object_layer_verid != 1;
  if (later) vol.quarter_sample = bits.flag();
  const bool complexity_estimation_disable = bits.flag();
  vol.resync_marker_disable = bits.flag();
  const bool data_partitioned = bits.flag();
  const bool newpred_enable = later && bits.flag();
  const bool reduced_resolution_vop_enable = later && bits.flag();
  const bool scalability = bits.flag();
  return bits.ok() && complexity_estimation_disable && !data_partitioned && !newpred_enable &&
         !reduced_resolution_vop_enable && !scalability;
}

}  // namespace

bool parse_vol(std::span<const uint8_t> payload, Vol& out) {
  BitReader bits(payload);
  Vol vol;
  bits.skip(1 + 8);   // random_accessible_vol, video_object_type_indication
  if (bits.flag()) {  // is_object_layer_identifier
    vol.video_object_layer_verid = static_cast<int>(bits.u(4));
    bits.skip(3);  // video_object_layer_priority
  }
  if (bits.u(4) == 15) bits.skip(8 + 8);  // aspect_ratio_info == extended_PAR
  if (bits.flag()) {                      // vol_control_parameters
    bits.skip(2);                         // chroma_format: 4:2:0 alone exists
    vol.low_delay = bits.flag();
    // vbv_parameters: bit rate, buffer size, occupancy in halves with markers between
    if (bits.flag()) bits.skip(15 + 1 + 15 + 1 + 15 + 1 + 3 + 11 + 1 + 15 + 1);
  }
  vol.video_object_layer_shape = static_cast<int>(bits.u(2));
  if (vol.video_object_layer_shape == 3 && vol.video_object_layer_verid != 1) bits.skip(4);
  bool markers = bits.flag();
  vol.vop_time_increment_resolution = static_cast<int>(bits.u(16));
  markers &= bits.flag();
  if (vol.vop_time_increment_resolution == 0) return false;
  if (bits.flag()) bits.skip(vol.time_increment_bits());  // fixed_vop_rate
  if (vol.video_object_layer_shape == 2) return false;    // binary only: no texture, no vectors
  if (vol.video_object_layer_shape == 0) {
    markers &= bits.flag();
    vol.video_object_layer_width = static_cast<int>(bits.u(13));
    markers &= bits.flag();
    vol.video_object_layer_height = static_cast<int>(bits.u(13));
    markers &= bits.flag();
  }
  vol.interlaced = bits.flag();
  const bool obmc_disable = bits.flag();
  vol.sprite_enable = static_cast<int>(bits.u(vol.video_object_layer_verid == 1 ? 1 : 2));
  if (vol.sprite_enable != 0) {
    if (vol.sprite_enable != 2) bits.skip(13 + 1 + 13 + 1 + 13 + 1 + 13 + 1);  // sprite's place
    bits.skip(6 + 2 + 1);  // no_of_sprite_warping_points, accuracy, brightness_change
    if (vol.sprite_enable != 2) bits.skip(1);  // low_latency_sprite_enable
  }
  if (vol.video_object_layer_verid != 1 && vol.video_object_layer_shape != 0) bits.skip(1);
  const bool not_8_bit = bits.flag();
  if (not_8_bit) bits.skip(4 + 4);  // quant_precision, bits_per_pixel
  if (vol.video_object_layer_shape == 3) bits.skip(3);
  vol.quant_type = bits.flag() ? 1 : 0;
  if (!bits.ok()) return false;
  // Encoders exist that forget markers; sizes decide whether this is a header at all.
  if (!markers && (vol.video_object_layer_width == 0 || vol.video_object_layer_height == 0)) {
    return false;
  }
  vol.plain = vol.video_object_layer_shape == 0 && !vol.interlaced && obmc_disable &&
              vol.sprite_enable == 0 && !not_8_bit && rest_is_plain(bits, vol);
  out = vol;
  return true;
}

bool parse_gov(std::span<const uint8_t> payload, Gov& out) {
  BitReader bits(payload);
  Gov gov;
  const auto hours = static_cast<int>(bits.u(5));
  const auto minutes = static_cast<int>(bits.u(6));
  bits.skip(1);  // marker_bit
  const auto seconds = static_cast<int>(bits.u(6));
  gov.time_code_seconds = (hours * 60 + minutes) * 60 + seconds;
  gov.closed_gov = bits.flag();
  if (!bits.ok()) return false;
  out = gov;
  return true;
}

bool parse_vop(std::span<const uint8_t> payload, const Vol& vol, Vop& out) {
  BitReader bits(payload);
  Vop vop;
  vop.vop_coding_type = static_cast<VopType>(bits.u(2));
  while (bits.flag()) ++vop.modulo_time_base;  // ends: zeros follow the end of the bytes
  const bool marker_before = bits.flag();
  vop.vop_time_increment = static_cast<int>(bits.u(vol.time_increment_bits()));
  const bool marker_after = bits.flag();
  vop.vop_coded = bits.flag();
  vop.bits_to_vop_coded = bits.position();
  if (!bits.ok() || !marker_before || !marker_after) return false;
  out = vop;
  return true;
}

std::vector<int> video_packet_starts(std::span<const uint8_t> packet, int macroblocks) {
  // resync_marker: 16 zeros at least, from the beginning of a byte on, and a 1.
  static constexpr uint8_t kZeros[2] = {0, 0};
  const int number_bits = static_cast<int>(std::bit_width(static_cast<unsigned>(macroblocks - 1)));
  std::vector<int> starts;
  auto at = packet.begin();
  for (;;) {
    at = std::search(at, packet.end(), std::begin(kZeros), std::end(kZeros));
    const auto one = std::find_if(at, packet.end(), [](uint8_t byte) { return byte != 0; });
    if (one == packet.end()) return starts;
    BitReader bits(packet, 8 * (one - packet.begin()));
    while (!bits.flag()) {
    }
    starts.push_back(static_cast<int>(bits.u(number_bits)));
    at = one;
  }
}

}  // namespace cvdecode::mpeg
