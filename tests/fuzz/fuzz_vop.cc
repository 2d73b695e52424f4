// The index of MPEG-4 part 2 and the parser of its VOPs, of any bytes, cut behind each VOP as
// libavformat does. Memory that held another VOP must not matter.
#include <cstdlib>

#include "base/packet.h"
#include "entry.h"
#include "mpeg/mpeg4_indexer.h"
#include "mpeg/start_codes.h"
#include "mpeg/vop_parser.h"

namespace cvdecode {
namespace {

std::vector<std::span<const uint8_t>> split(std::span<const uint8_t> input) {
  std::vector<std::span<const uint8_t>> packets;
  size_t begin = 0;
  bool in_vop = false;
  for (size_t at = mpeg::find_start_code(input, 0); at < input.size();
       at = mpeg::find_start_code(input, at + 3)) {
    if (in_vop) {
      packets.push_back(input.subspan(begin, at - begin));
      begin = at;
    }
    in_vop = input[at + 3] == 0xb6;
  }
  packets.push_back(input.subspan(begin));
  return packets;
}

bool same(const mpeg::VopMotion& a, const mpeg::VopMotion& b) {
  return a.width == b.width && a.height == b.height && a.to_quarter == b.to_quarter &&
         a.kinds == b.kinds && a.quantisers == b.quantisers && a.vectors == b.vectors;
}

}  // namespace

void fuzz::parse(std::span<const uint8_t> input) {
  StreamInfo info;
  info.path = "<fuzz>";
  info.codec = "mpeg4";
  info.width = info.height = 32;
  const auto packets = split(input);
  info.extradata.assign(packets[0].begin(), packets[0].end());
  mpeg::Mpeg4Indexer indexer(info);
  mpeg::VopParser used;
  mpeg::VopMotion motion;
  used.read_headers(packets[0]);
  for (size_t i = 0; i < packets.size(); ++i) {
    Packet packet;
    packet.data = packets[i];
    packet.number = static_cast<int64_t>(i);
    indexer.add_packet(packet);
    mpeg::VopParser copy = used;
    mpeg::VopMotion fresh;
    const bool read = used.read_packet(packets[i], motion);
    if (copy.read_packet(packets[i], fresh) != read) std::abort();
    if (read && !same(motion, fresh)) std::abort();
  }
  indexer.finish();
}

}  // namespace cvdecode
