// The parameter sets in force at one place of the stream (7.4.1.2.1), wherever they came from:
// avcC, in-band, or new extradata inside the file.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "bitstream/nal.h"
#include "h264/parameter_sets.h"

namespace cvdecode::h264 {

class ParameterSetStore {
 public:
  // rbsp: payload after the NAL header. A set that cannot be read changes nothing: the text says
  // why, "" = taken. A set with the bytes of the one before keeps the object that slices share.
  std::string add_sps(std::span<const uint8_t> rbsp);
  std::string add_pps(std::span<const uint8_t> rbsp);

  // Rises with every set whose bytes differ from those before.
  int64_t changes() const { return changes_; }

  // The PPS of this id with the SPS that it names now; both null where there is none (`why` says
  // which is missing or wrong). A PPS is read again when its SPS has changed, because its scaling
  // lists fall back to those of the SPS.
  ParameterSets find(uint32_t pic_parameter_set_id, std::string& why);

 private:
  struct SpsSlot {
    std::vector<uint8_t> bytes;
    std::shared_ptr<const Sps> sps;
  };
  struct PpsSlot {
    std::vector<uint8_t> bytes;      // empty = none
    std::shared_ptr<const Sps> sps;  // with which `pps` was read
    std::shared_ptr<const Pps> pps;  // null = not read yet, or unreadable with `sps`
    std::string why;                 // why it is unreadable
  };
  std::array<SpsSlot, 32> sps_;
  std::array<PpsSlot, 256> pps_;
  int64_t changes_ = 0;
};

// Parameter sets outside the stream: an avcC box (ISO/IEC 14496-15, 5.3.3.1) or Annex B.
struct Extradata {
  int nal_length_size = 0;    // 1 to 4 as the avcC says, 0 for Annex B
  std::vector<NalSpan> nals;  // places in the extradata
  bool damaged = false;       // it ends too early; what came before is there
};
Extradata split_extradata(std::span<const uint8_t> extradata);

}  // namespace cvdecode::h264
