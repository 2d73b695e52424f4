// Finding NAL units and taking emulation prevention out of them.
#include <cstring>
#include <random>

#include "bench_clip.h"

namespace cvdecode::bench {
namespace {

void unescape_slices(benchmark::State& state, const char* name) {
  const std::string path = clip_path(state, name);
  if (path.empty()) return;
  OpenClip clip(path);
  const std::vector<RecordedSlice> slices = record_slices(clip);
  std::vector<uint8_t> buffer;
  int64_t bytes = 0;
  for (auto _ : state) {
    for (const RecordedSlice& slice : slices) {
      benchmark::DoNotOptimize(unescape(slice.nal, buffer).data());
      bytes += static_cast<int64_t>(slice.nal.size());
    }
  }
  state.SetBytesProcessed(bytes);
}
BENCHMARK_CAPTURE(unescape_slices, cabac, kCabacClip);
BENCHMARK_CAPTURE(unescape_slices, cavlc, kCavlcClip);

// 64 KiB with an emulation_prevention_three_byte every `range(0)` bytes, 0 = none.
std::vector<uint8_t> payload(int64_t every) {
  std::mt19937 random(3);
  std::vector<uint8_t> bytes(1 << 16);
  for (uint8_t& b : bytes) b = static_cast<uint8_t>(4 + random() % 252);
  for (size_t i = 3; every > 0 && i + 3 < bytes.size(); i += static_cast<size_t>(every)) {
    bytes[i] = bytes[i + 1] = 0;
    bytes[i + 2] = 3;
    bytes[i + 3] = 1;
  }
  return bytes;
}

void unescape_synthetic(benchmark::State& state) {
  const std::vector<uint8_t> bytes = payload(state.range(0));
  std::vector<uint8_t> buffer;
  for (auto _ : state) benchmark::DoNotOptimize(unescape(bytes, buffer).data());
  state.SetBytesProcessed(state.iterations() * static_cast<int64_t>(bytes.size()));
}
BENCHMARK(unescape_synthetic)->Arg(0)->Arg(4096)->Arg(64);

// The floor: the bytes that must move.
void copy(benchmark::State& state) {
  const std::vector<uint8_t> bytes = payload(0);
  std::vector<uint8_t> buffer(bytes.size());
  for (auto _ : state) {
    std::memcpy(buffer.data(), bytes.data(), bytes.size());
    benchmark::ClobberMemory();
  }
  state.SetBytesProcessed(state.iterations() * static_cast<int64_t>(bytes.size()));
}
BENCHMARK(copy);

void split(benchmark::State& state) {
  const std::vector<uint8_t> bytes = payload(0);
  std::vector<NalSpan> spans;
  for (auto _ : state) {
    split_annex_b(bytes, spans);
    benchmark::DoNotOptimize(spans.data());
  }
  state.SetBytesProcessed(state.iterations() * static_cast<int64_t>(bytes.size()));
}
BENCHMARK(split);

}  // namespace
}  // namespace cvdecode::bench
