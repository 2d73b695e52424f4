// Opening a file: demuxing all packets and making the index, as every first open of a file does.
#include "bench_clip.h"

namespace cvdecode::bench {
namespace {

void demux_and_index(benchmark::State& state, const char* name) {
  const std::string path = clip_path(state, name);
  if (path.empty()) return;
  int64_t frames = 0;
  for (auto _ : state) {
    const OpenClip clip(path);
    frames += static_cast<int64_t>(clip.index.pictures.size());
  }
  state.SetItemsProcessed(frames);
  state.SetBytesProcessed(state.iterations() *
                          static_cast<int64_t>(std::filesystem::file_size(path)));
}
BENCHMARK_CAPTURE(demux_and_index, cabac_340x256, kCabacClip)->Unit(benchmark::kMillisecond);
BENCHMARK_CAPTURE(demux_and_index, cavlc_340x256, kCavlcClip)->Unit(benchmark::kMillisecond);

void demux_only(benchmark::State& state) {
  const std::string path = clip_path(state, kCabacClip);
  if (path.empty()) return;
  int64_t packets = 0;
  for (auto _ : state) {
    const auto demuxer = Demuxer::open(path);
    demuxer->scan([&](const Packet&) { ++packets; });
  }
  state.SetItemsProcessed(packets);
}
BENCHMARK(demux_only)->Unit(benchmark::kMillisecond);

void read_packets_by_number(benchmark::State& state) {
  const std::string path = clip_path(state, kCabacClip);
  if (path.empty()) return;
  OpenClip clip(path);
  int64_t bytes = 0;
  for (auto _ : state) {
    for (int64_t n = clip.demuxer->packet_count() - 1; n >= 0; --n) {
      bytes += static_cast<int64_t>(clip.demuxer->read_packet(n).data.size());
    }
  }
  state.SetItemsProcessed(state.iterations() * clip.demuxer->packet_count());
  state.SetBytesProcessed(bytes);
}
BENCHMARK(read_packets_by_number)->Unit(benchmark::kMicrosecond);

}  // namespace
}  // namespace cvdecode::bench
