// The whole native parser: index, entropy decoding, vectors, residual, of any bytes. Where the
// first byte says so, reading one by one in reverse order must give the same bytes as reading all
// at once.
#include <cstdlib>
#include <cstring>

#include "base/error.h"
#include "native_reading.h"

namespace {

using namespace cvdecode;

void parse(std::span<const uint8_t> input) {
  fuzz::MemoryStream stream(input);
  const fuzz::Opened opened = fuzz::open_stream(stream);
  if (!fuzz::small_enough(opened.index)) return;
  const fuzz::Choice choice(input);
  const PlaneMask planes = fuzz::native_planes(opened.index);
  const BackendContext context{stream.info(), opened.index, stream, 1};
  const auto all = make_native_backend(context, opened.native);
  if (!choice.read_again()) {
    fuzz::read_all(*all, opened.index, planes, [](const auto&, const Clip&) {});
    return;
  }
  const auto single = make_native_backend(context, opened.native);
  fuzz::read_all(*all, opened.index, planes, [&](const auto& requests, const Clip& clip) {
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

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  try {
    parse({data, size});
  } catch (const Error&) {
  }
  return 0;
}
