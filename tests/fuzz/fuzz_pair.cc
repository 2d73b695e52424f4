// The pair: what the native parser and libavcodec both call clean must be equal (QP of every
// macroblock, intra or inter, vectors at the first cell of every 8x8).
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <vector>

extern "C" {
#include <libavcodec/avcodec.h>
#include <libavutil/log.h>
}

#include "base/error.h"
#include "native_reading.h"

namespace {

using namespace cvdecode;

// Access units as libavcodec's own parser cuts them: libavcodec wants whole pictures per packet.
class AccessUnits final : public fuzz::Stream {
 public:
  explicit AccessUnits(std::span<const uint8_t> bytes) {
    // libavcodec's parser reads a little beyond what it is given.
    std::vector<uint8_t> padded(bytes.size() + AV_INPUT_BUFFER_PADDING_SIZE);
    std::copy(bytes.begin(), bytes.end(), padded.begin());
    std::span<const uint8_t> input(padded.data(), bytes.size());
    AVCodecParserContext* parser = av_parser_init(AV_CODEC_ID_H264);
    AVCodecContext* codec = avcodec_alloc_context3(nullptr);
    codec->codec_id = AV_CODEC_ID_H264;
    for (;;) {
      uint8_t* out = nullptr;
      int size = 0;
      const int used =
          av_parser_parse2(parser, codec, &out, &size, input.data(), static_cast<int>(input.size()),
                           AV_NOPTS_VALUE, AV_NOPTS_VALUE, 0);
      if (used < 0) break;
      if (size > 0) memory_.emplace_back(out, out + size);
      if (input.empty()) break;
      input = input.subspan(static_cast<size_t>(used));
    }
    avcodec_free_context(&codec);
    av_parser_close(parser);
    packets_.assign(memory_.begin(), memory_.end());
  }

 private:
  std::vector<std::vector<uint8_t>> memory_;
};

// Printed at the end of a run: a pair that never compares proves nothing.
struct Counters {
  int64_t inputs = 0;
  int64_t pictures = 0;
  ~Counters() {
    std::fprintf(stderr, "pair: %lld inputs, %lld pictures compared\n",
                 static_cast<long long>(inputs), static_cast<long long>(pictures));
  }
} counters;

void differ(const char* what, size_t picture, int x, int y, int expected, int got) {
  std::fprintf(stderr, "picture %zu macroblock (%d, %d) %s: libavcodec %d, native %d\n", picture, x,
               y, what, expected, got);
  std::abort();
}

void compare(size_t number, int64_t row, const Clip& libav, const Clip& native) {
  const Geometry& g = libav.geometry;
  const auto* their_type = libav.row<uint8_t>(Plane::kMbType, row);
  const auto* type = native.row<uint8_t>(Plane::kMbType, row);
  const auto* their_qp = libav.row<int16_t>(Plane::kQp, row);
  const auto* qp = native.row<int16_t>(Plane::kQp, row);
  const auto* their_mv = libav.row<int16_t>(Plane::kMv, row);
  const auto* mv = native.row<int16_t>(Plane::kMv, row);
  const int64_t cells = int64_t{g.w4()} * g.h4();
  for (int y = 0; y < g.h16(); ++y) {
    for (int x = 0; x < g.w16(); ++x) {
      const int mb = y * g.w16() + x;
      const bool pcm = type[mb] == static_cast<uint8_t>(MbType::kIPcm);
      const bool intra = type[mb] <= static_cast<uint8_t>(MbType::kIPcm);
      const bool their_intra = their_type[mb] == static_cast<uint8_t>(MbType::kIntraUnknown);
      if (intra != their_intra) differ("mb_type", number, x, y, their_type[mb], type[mb]);
      if (!pcm && qp[mb] != their_qp[mb]) differ("qp", number, x, y, their_qp[mb], qp[mb]);
      for (int plane = 0; plane < 4; ++plane) {
        for (int quad = 0; quad < 4; ++quad) {
          const int64_t at =
              plane * cells + int64_t{y * 4 + quad / 2 * 2} * g.w4() + x * 4 + quad % 2 * 2;
          if (mv[at] != their_mv[at]) differ("mv", number, x, y, their_mv[at], mv[at]);
        }
      }
    }
  }
}

bool lists_differ(const h264::PictureEntry& picture) {
  const h264::SliceEntry* first = nullptr;
  for (const h264::SliceEntry& slice : picture.slices) {
    if (slice.header.slice_type == h264::kSliceI) continue;
    if (first == nullptr) first = &slice;
    for (size_t list = 0; list < 2; ++list) {
      const auto& a = first->RefPicList[list];
      const auto& b = slice.RefPicList[list];
      if (!std::equal(a.begin(), a.end(), b.begin(), b.end(),
                      [](const auto& x, const auto& y) { return x.picture == y.picture; })) {
        return true;
      }
    }
  }
  return false;
}

// By decode number. libavcodec keeps one reference table for each co-located picture and is wrong
// where its slices have different lists and temporal direct prediction looks at it (docs/design.md,
// Oracles), and then wherever direct prediction looks at what came of that.
std::vector<bool> comparable(const NativeIndex& native) {
  std::vector<bool> good(native.pictures.size(), true);
  for (size_t p = 0; p < good.size(); ++p) {
    for (const h264::SliceEntry& slice : native.pictures[p].slices) {
      if (slice.header.slice_type != h264::kSliceB || slice.RefPicList[1].empty()) continue;
      const int32_t other = slice.RefPicList[1].front().picture;
      if (other < 0 || static_cast<size_t>(other) >= p) continue;
      const auto colocated = static_cast<size_t>(other);
      if (!good[colocated] ||
          (!slice.header.direct_spatial_mv_pred_flag && lists_differ(native.pictures[colocated]))) {
        good[p] = false;
      }
    }
  }
  return good;
}

void run(std::span<const uint8_t> input) {
  AccessUnits stream(input);
  const auto [index, native_index] = fuzz::open_stream(stream);
  if (!fuzz::small_enough(index)) return;
  const std::vector<bool> good = comparable(*native_index);
  const BackendContext context{stream.info(), index, stream, 1};
  const auto native = make_native_backend(context, native_index);
  const auto libav = make_libav_backend(context);
  constexpr PlaneMask planes =
      mask_of(Plane::kMv) | mask_of(Plane::kRef) | mask_of(Plane::kMbType) | mask_of(Plane::kQp);
  bool sure = true;
  fuzz::read_all(*native, index, planes, [&](const auto& requests, const Clip& ours) {
    if (!sure) return;
    Clip theirs = Clip::allocate(ours.geometry, ours.frames, planes);
    libav->read(requests, planes, theirs);
    const auto mbs = size_t{1} * ours.geometry.w16() * ours.geometry.h16();
    for (const Request& r : requests) {
      const auto row = static_cast<size_t>(r.row);
      const auto* type = ours.row<uint8_t>(Plane::kMbType, r.row);
      const auto lost = static_cast<uint8_t>(MbType::kLost);
      // One damaged picture casts doubt on all that follow: concealment, lost references.
      sure = sure && !ours.lost[row] && !theirs.lost[row] &&
             std::find(type, type + mbs, lost) == type + mbs;
      if (!sure) return;
      if (!good[static_cast<size_t>(r.picture)]) continue;
      compare(static_cast<size_t>(r.picture), r.row, theirs, ours);
      ++counters.pictures;
    }
  });
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  av_log_set_level(AV_LOG_QUIET);
  ++counters.inputs;
  try {
    run({data, size});
  } catch (const Error&) {
  }
  return 0;
}
