// The NAL layer: splitting in every framing, unescaping with and without a limit.
#include <cstdlib>

#include "base/error.h"
#include "bitstream/nal.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace cvdecode;
  const std::span<const uint8_t> input(data, size);
  std::vector<NalSpan> nals;
  std::vector<uint8_t> buffer;
  for (int length = 0; length <= 4; ++length) {
    split_packet(input, length, nals);
    size_t end = 0;
    for (const NalSpan& nal : nals) {
      if (nal.size == 0 || nal.offset < end) std::abort();
      end = size_t{nal.offset} + nal.size;
      if (end > size) std::abort();
      const auto rbsp = nal_rbsp(input, nal.offset, nal.size, buffer);
      if (rbsp.size() > nal.size) std::abort();
      for (size_t i = 0; i < kRbspPadding; ++i) {
        if (rbsp.data()[rbsp.size() + i] != 0) std::abort();
      }
      unescape(input.subspan(nal.offset, nal.size), buffer, 7);
    }
  }
  return 0;
}
