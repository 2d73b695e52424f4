// The whole native parser: index, entropy decoding, vectors, residual, of any bytes. Where the
// first byte says so, reading one by one in reverse order must give the same bytes as reading all
// at once.
#include <cstdlib>
#include <cstring>

#include "entry.h"
#include "native_reading.h"

namespace cvdecode::fuzz {

void parse(std::span<const uint8_t> input) {
  MemoryStream stream(input);
  const Opened opened = open_stream(stream);
  if (!small_enough(opened.index)) return;
  const Choice choice(input);
  const PlaneMask planes = native_planes(opened.index);
  const BackendContext context{stream.info(), opened.index, stream, 1};
  const auto all = make_native_backend(context, opened.native);
  if (!choice.read_again()) {
    read_all(*all, opened.index, planes, [](const auto&, const Clip&) {});
    return;
  }
  const auto single = make_native_backend(context, opened.native);
  read_all(*all, opened.index, planes, [&](const auto& requests, const Clip& clip) {
    for (auto r = requests.rbegin(); r != requests.rend(); ++r) {
      Clip one = Clip::allocate(clip.geometry, 1, planes);
      const Request request{r->picture, 0};
      single->read({&request, 1}, planes, one);
      if (one.lost[0] != clip.lost[static_cast<size_t>(r->row)]) std::abort();
      for (int p = 0; p < kPlaneCount; ++p) {
        const auto plane = static_cast<Plane>(p);
        if (!has(planes, plane)) continue;
        if (std::memcmp(one.row<uint8_t>(plane, 0), clip.row<uint8_t>(plane, r->row),
                        plane_row_bytes(clip.geometry, plane)) != 0) {
          std::abort();
        }
      }
    }
  });
}

}  // namespace cvdecode::fuzz
