// Entropy decoding of recorded slices (phase A), CABAC and CAVLC, with and without residual.
#include "bench_clip.h"
#include "h264/slice_decoder.h"

namespace cvdecode::bench {
namespace {

using h264::PictureSyntax;
using h264::SliceDecoder;
using h264::SliceTargets;

void parse_slices(benchmark::State& state, const char* name, bool residual) {
  const std::string path = clip_path(state, name);
  if (path.empty()) return;
  OpenClip clip(path);
  const std::vector<RecordedSlice> slices = record_slices(clip);
  PictureSyntax picture;
  picture.start(*slices.front().entry->sets.sps, 1, false);
  const auto macroblocks = static_cast<size_t>(picture.PicSizeInMbs());
  std::vector<int16_t> y(macroblocks * 256), u(macroblocks * 64), v(macroblocks * 64);
  std::vector<h264::ResidualMask> written(macroblocks);
  SliceTargets targets;
  if (residual) {
    targets.residual = {
        y.data(),      u.data(), v.data(), picture.PicWidthInMbs * 16, picture.PicWidthInMbs * 8,
        written.data()};
  }
  SliceDecoder decoder;
  int64_t bits = 0;
  for (auto _ : state) {
    for (const RecordedSlice& slice : slices) {
      picture.start(*slice.entry->sets.sps, 1, false);
      decoder.decode(slice.entry->header, slice.entry->sets, slice.bytes(), 0,
                     picture.PicSizeInMbs(), targets, picture);
      if (picture.slices[0].damaged) return state.SkipWithError("a slice is damaged");
      bits += static_cast<int64_t>(slice.rbsp_size) * 8;
    }
  }
  state.SetItemsProcessed(state.iterations() * static_cast<int64_t>(slices.size()));
  state.counters["bits"] =
      benchmark::Counter(static_cast<double>(bits), benchmark::Counter::kIsRate);
  state.counters["s_per_bit"] = benchmark::Counter(
      static_cast<double>(bits), benchmark::Counter::kIsRate | benchmark::Counter::kInvert);
}
BENCHMARK_CAPTURE(parse_slices, cabac, kCabacClip, false)->Unit(benchmark::kMillisecond);
BENCHMARK_CAPTURE(parse_slices, cabac_residual, kCabacClip, true)->Unit(benchmark::kMillisecond);
BENCHMARK_CAPTURE(parse_slices, cavlc, kCavlcClip, false)->Unit(benchmark::kMillisecond);
BENCHMARK_CAPTURE(parse_slices, cavlc_residual, kCavlcClip, true)->Unit(benchmark::kMillisecond);

}  // namespace
}  // namespace cvdecode::bench
