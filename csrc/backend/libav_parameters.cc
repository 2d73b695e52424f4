#include "backend/libav_parameters.h"

#include <algorithm>
#include <cstring>
#include <functional>

namespace cvdecode {
namespace {

using Bytes = std::span<const uint8_t>;
// Called with each NAL unit or with what follows each start code; true = stop.
using Visit = std::function<bool(Bytes)>;

constexpr int kSps = 7;
constexpr int kPps = 8;

// The place after the next 00 00 01, or data.size().
size_t after_start_code(Bytes data, size_t from) {
  size_t at = from + 2;  // a candidate for the 01
  while (at < data.size()) {
    const void* one = std::memchr(data.data() + at, 1, data.size() - at);
    if (one == nullptr) break;
    at = static_cast<size_t>(static_cast<const uint8_t*>(one) - data.data());
    if (data[at - 1] == 0 && data[at - 2] == 0) return at + 1;
    ++at;
  }
  return data.size();
}

bool visit_start_codes(Bytes data, const Visit& visit) {
  for (size_t at = after_start_code(data, 0); at < data.size();) {
    const size_t next = after_start_code(data, at);
    size_t end = next;
    if (next < data.size()) end = next - 3;
    if (end > at && visit(data.subspan(at, end - at))) return true;
    at = next;
  }
  return false;
}

// False when the lengths do not add up.
bool visit_lengths(Bytes data, int nal_length_size, const Visit& visit, bool& stopped) {
  stopped = false;
  const auto length_bytes = static_cast<size_t>(nal_length_size);
  for (size_t at = 0; at < data.size();) {
    if (data.size() - at < length_bytes) return false;
    size_t size = 0;
    for (size_t i = 0; i < length_bytes; ++i) size = size << 8 | data[at + i];
    at += length_bytes;
    if (size > data.size() - at) return false;
    if (size > 0 && visit(data.subspan(at, size))) {
      stopped = true;
      return true;
    }
    at += size;
  }
  return true;
}

bool visit_nals(Bytes data, int nal_length_size, const Visit& visit) {
  bool stopped = false;
  if (nal_length_size > 0 && visit_lengths(data, nal_length_size, visit, stopped)) return stopped;
  return visit_start_codes(data, visit);  // Annex B, also where a container promises lengths
}

bool is_parameter_set(Bytes nal) { return (nal[0] & 31) == kSps || (nal[0] & 31) == kPps; }

bool changes_mpeg4(Bytes unit) { return unit[0] >= 0x20 && unit[0] <= 0x2f; }  // VOL

bool changes_mpeg12(Bytes unit) {
  if (unit[0] == 0xb3) return true;  // sequence_header_code
  // extension_start_code with the ids of a sequence or quant matrix extension
  return unit[0] == 0xb5 && unit.size() > 1 && ((unit[1] >> 4) == 1 || (unit[1] >> 4) == 3);
}

// ue(v) of 9.1 at the front of `data`; 256 when it is longer than any id.
uint32_t first_ue(Bytes data) {
  size_t bit = 0;
  const auto next = [&]() -> uint32_t {
    const size_t at = bit++;
    return at / 8 < data.size() ? data[at / 8] >> (7 - at % 8) & 1u : 1u;
  };
  int zeros = 0;
  while (zeros < 9 && next() == 0) ++zeros;
  if (zeros > 8) return 256;
  uint32_t value = 1;
  for (int i = 0; i < zeros; ++i) value = value << 1 | next();
  return value - 1;
}

}  // namespace

bool carries_parameters(CodecFamily family, int nal_length_size, const Packet& packet) {
  if (!packet.new_extradata.empty()) return true;
  switch (family) {
    case CodecFamily::kH264: return visit_nals(packet.data, nal_length_size, is_parameter_set);
    case CodecFamily::kMpeg4: return visit_start_codes(packet.data, changes_mpeg4);
    case CodecFamily::kMpeg12: return visit_start_codes(packet.data, changes_mpeg12);
    default: return true;
  }
}

int q_scale_type(const Packet& packet) {
  int found = -2;  // none yet
  visit_start_codes(packet.data, [&](Bytes unit) {
    // picture_coding_extension (6.2.3.1): id, four f_codes, intra_dc_precision, picture_structure,
    // three flags, q_scale_type
    if (unit[0] != 0xb5 || unit.size() < 5 || unit[1] >> 4 != 8) return false;
    const int type = unit[4] >> 4 & 1;
    found = found == -2 || found == type ? type : -1;
    return false;
  });
  return found == -2 ? 0 : found;
}

void H264ParameterSets::add(Bytes nal) {
  // avcC gives 16 bits for the size; no real set comes near.
  if (nal.empty() || !is_parameter_set(nal) || nal.size() > 0xffff) return;
  const int type = nal[0] & 31;
  const size_t skip = type == kSps ? 4 : 1;  // header; profile, constraints, level
  if (nal.size() <= skip) return;
  const uint32_t id = first_ue(nal.subspan(skip));
  if (id > (type == kSps ? 31u : 255u)) return;
  sets_[{type, id}].assign(nal.begin(), nal.end());
}

void H264ParameterSets::add_extradata(Bytes extradata) {
  if (extradata.empty()) return;
  if (extradata[0] != 1) {
    add_packet(extradata, 0);
    return;
  }
  // avcC (14496-15, 5.3.3.1): the SPS and then the PPS, each with a count and 16-bit sizes
  size_t at = 5;
  for (const int mask : {0x1f, 0xff}) {
    if (at >= extradata.size()) return;
    int count = extradata[at++] & mask;
    for (; count > 0 && extradata.size() - at >= 2; --count) {
      const size_t size = static_cast<size_t>(extradata[at]) << 8 | extradata[at + 1];
      at += 2;
      if (size > extradata.size() - at) return;
      add(extradata.subspan(at, size));
      at += size;
    }
  }
}

void H264ParameterSets::add_packet(Bytes data, int nal_length_size) {
  visit_nals(data, nal_length_size, [&](Bytes nal) {
    while (!nal.empty() && nal.back() == 0) nal = nal.first(nal.size() - 1);
    add(nal);
    return false;
  });
}

std::vector<uint8_t> H264ParameterSets::extradata(int nal_length_size) const {
  std::vector<uint8_t> out;
  if (sets_.empty()) return out;
  if (nal_length_size == 0) {
    for (const auto& [key, nal] : sets_) {
      out.insert(out.end(), {0, 0, 0, 1});
      out.insert(out.end(), nal.begin(), nal.end());
    }
    return out;
  }
  const auto put = [&](int type, size_t most, uint8_t flags) {
    const size_t count_at = out.size();
    out.push_back(0);
    size_t count = 0;
    for (const auto& [key, nal] : sets_) {
      if (key.first != type || count == most) continue;
      out.push_back(static_cast<uint8_t>(nal.size() >> 8));
      out.push_back(static_cast<uint8_t>(nal.size() & 0xff));
      out.insert(out.end(), nal.begin(), nal.end());
      ++count;
    }
    out[count_at] = static_cast<uint8_t>(flags | count);
  };
  const std::vector<uint8_t>& first = sets_.begin()->second;  // its profile, constraints, level
  out.push_back(1);
  for (size_t i = 1; i <= 3; ++i) out.push_back(i < first.size() ? first[i] : 0);
  out.push_back(static_cast<uint8_t>(0xfc | (nal_length_size - 1)));
  put(kSps, 31, 0xe0);
  put(kPps, 255, 0);
  return out;
}

}  // namespace cvdecode
