#include "h264/parameter_set_store.h"

#include <algorithm>

#include "base/error.h"
#include "bitstream/bit_reader.h"

namespace cvdecode::h264 {
namespace {

// Hostile sets could be large; no real one comes near (a PPS with 2^20 slice group ids is the
// exception, and such streams are not read natively).
constexpr size_t kMaxSetBytes = 1 << 20;

bool same(std::span<const uint8_t> a, const std::vector<uint8_t>& b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end());
}

}  // namespace

std::string ParameterSetStore::add_sps(std::span<const uint8_t> rbsp) {
  if (rbsp.size() > kMaxSetBytes) return "sequence parameter set: too large";
  try {
    // The id is the first thing after three bytes: look whether this is a repetition first.
    if (rbsp.size() > 3) {
      const uint32_t id = BitReader(rbsp.subspan(3)).ue();
      if (id < sps_.size() && sps_[id].sps != nullptr && same(rbsp, sps_[id].bytes)) return "";
    }
    auto sps = std::make_shared<const Sps>(parse_sps(rbsp));
    SpsSlot& slot = sps_[static_cast<size_t>(sps->seq_parameter_set_id)];
    slot.bytes.assign(rbsp.begin(), rbsp.end());
    slot.sps = std::move(sps);
    ++changes_;
    return "";
  } catch (const Error& error) {
    return error.what();
  }
}

std::string ParameterSetStore::add_pps(std::span<const uint8_t> rbsp) {
  if (rbsp.size() > kMaxSetBytes) return "picture parameter set: too large";
  try {
    const auto sps_id = static_cast<size_t>(peek_pps_sps_id(rbsp));
    const uint32_t id = BitReader(rbsp).ue();
    PpsSlot& slot = pps_[id];
    if (same(rbsp, slot.bytes)) return "";
    PpsSlot fresh;
    fresh.bytes.assign(rbsp.begin(), rbsp.end());
    // Its SPS may come later or change later; where it is known, a bad PPS is refused at once and
    // the good one before it stays.
    if (sps_[sps_id].sps != nullptr) {
      fresh.sps = sps_[sps_id].sps;
      fresh.pps = std::make_shared<const Pps>(parse_pps(rbsp, *fresh.sps));
    }
    slot = std::move(fresh);
    ++changes_;
    return "";
  } catch (const Error& error) {
    return error.what();
  }
}

ParameterSets ParameterSetStore::find(uint32_t pic_parameter_set_id, std::string& why) {
  if (pic_parameter_set_id >= pps_.size() || pps_[pic_parameter_set_id].bytes.empty()) {
    why = "picture parameter set " + std::to_string(pic_parameter_set_id) + " was never sent";
    return {};
  }
  PpsSlot& slot = pps_[pic_parameter_set_id];
  const auto sps_id = static_cast<size_t>(peek_pps_sps_id(slot.bytes));
  const std::shared_ptr<const Sps>& sps = sps_[sps_id].sps;
  if (sps == nullptr) {
    why = "sequence parameter set " + std::to_string(sps_id) + ", named by picture parameter set " +
          std::to_string(pic_parameter_set_id) + ", was never sent";
    return {};
  }
  if (slot.sps != sps) {
    slot.sps = sps;
    slot.pps = nullptr;
    slot.why.clear();
    try {
      slot.pps = std::make_shared<const Pps>(parse_pps(slot.bytes, *sps));
    } catch (const Error& error) {
      slot.why = error.what();
    }
  }
  if (slot.pps == nullptr) {
    why = slot.why;
    return {};
  }
  return {slot.sps, slot.pps};
}

Extradata split_extradata(std::span<const uint8_t> extradata) {
  Extradata result;
  if (extradata.size() < 4) return result;
  if (extradata[0] != 1) {  // configurationVersion; a start code begins with 0
    split_annex_b(extradata, result.nals);
    return result;
  }
  if (extradata.size() < 7) {
    result.damaged = true;
    return result;
  }
  result.nal_length_size = (extradata[4] & 3) + 1;
  size_t at = 5;
  for (int set = 0; set < 2; ++set) {  // numOfSequenceParameterSets, numOfPictureParameterSets
    if (at >= extradata.size()) {
      result.damaged = true;
      return result;
    }
    const int count = set == 0 ? extradata[at] & 31 : extradata[at];
    ++at;
    for (int i = 0; i < count; ++i) {
      if (extradata.size() - at < 2) {
        result.damaged = true;
        return result;
      }
      const size_t length = static_cast<size_t>(extradata[at]) << 8 | extradata[at + 1];
      at += 2;
      const size_t size = std::min(length, extradata.size() - at);
      if (size > 0) {
        result.nals.push_back({static_cast<uint32_t>(at), static_cast<uint32_t>(size)});
      }
      if (size < length) {
        result.damaged = true;
        return result;
      }
      at += length;
    }
  }
  return result;
}

}  // namespace cvdecode::h264
