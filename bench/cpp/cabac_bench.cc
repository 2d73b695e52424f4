// The CABAC engine by itself: bins per second on recorded slices.
//
// The slice parser is instantiated once more, with an engine that notes every bin (its context and
// value) while a real slice is decoded. The benchmark then decodes the same bits with the real
// engine, bin for bin in the same contexts, and without any syntax around it.
#include <algorithm>
#include <unordered_map>

#include "bench_clip.h"
#include "bitstream/cabac_engine.h"
#include "h264/slice_decoder.h"

namespace cvdecode {

struct RecordedBin {
  uint8_t* context = nullptr;  // null: no context
  uint8_t state = 0;           // before the bin
  uint8_t value = 0;
  bool terminate = false;
};

class RecordingEngine : public CabacEngine {
 public:
  static std::vector<RecordedBin>& bins() {
    static std::vector<RecordedBin> all;
    return all;
  }
  int decision(uint8_t& state) {
    const uint8_t before = state;
    const int value = CabacEngine::decision(state);
    bins().push_back({&state, before, static_cast<uint8_t>(value), false});
    return value;
  }
  int bypass() {
    const int value = CabacEngine::bypass();
    bins().push_back({nullptr, 0, static_cast<uint8_t>(value), false});
    return value;
  }
  int terminate() {
    const int value = CabacEngine::terminate();
    bins().push_back({nullptr, 0, static_cast<uint8_t>(value), true});
    return value;
  }
};

}  // namespace cvdecode

// Everything below that says CabacEngine in the parser's templates gets the recording one. They
// are instantiated with a coverage class of our own, so nothing of the library is redefined.
#define CabacEngine RecordingEngine
#include "h264/slice_data_run-inl.h"
#undef CabacEngine

namespace cvdecode::bench {
namespace {

struct Recording {
  static constexpr bool kCounts = false;
  static void hit(bool, h264::Branch, int) {}
};

constexpr uint16_t kBypass = 1024;
constexpr uint16_t kTerminate = 1025;

struct BinScript {
  std::vector<uint16_t> step;     // a context by number, or one of the above
  std::vector<uint8_t> value;     // what came out
  std::vector<uint8_t> contexts;  // states at the start
  size_t slice = 0;
};

BinScript script_of(const RecordedSlice& slice) {
  const h264::ParameterSets& sets = slice.entry->sets;
  h264::PictureSyntax picture;
  picture.start(*sets.sps, 1, false);
  h264::CabacScratch scratch;
  h264::SliceJob job;
  job.header = &slice.entry->header;
  job.sps = sets.sps.get();
  job.pps = sets.pps.get();
  job.rbsp = slice.bytes();
  job.picture = &picture;
  job.slice = &picture.slices[0];
  job.width = picture.PicWidthInMbs;
  job.mb_end = picture.PicSizeInMbs();
  RecordingEngine::bins().clear();
  h264::run_cabac<Recording>(job, scratch);

  BinScript script;
  std::unordered_map<const uint8_t*, uint16_t> numbers;
  for (const RecordedBin& bin : RecordingEngine::bins()) {
    script.value.push_back(bin.value);
    if (bin.context == nullptr) {
      script.step.push_back(bin.terminate ? kTerminate : kBypass);
      continue;
    }
    const auto [found, is_new] =
        numbers.try_emplace(bin.context, static_cast<uint16_t>(script.contexts.size()));
    if (is_new) script.contexts.push_back(bin.state);
    script.step.push_back(found->second);
  }
  return script;
}

int run_step(CabacEngine& engine, uint8_t* contexts, uint16_t step) {
  if (step < kBypass) return engine.decision(contexts[step]);
  return step == kBypass ? engine.bypass() : engine.terminate();
}

void cabac_bins(benchmark::State& state) {
  const std::string path = clip_path(state, kCabacClip);
  if (path.empty()) return;
  OpenClip clip(path);
  const std::vector<RecordedSlice> slices = record_slices(clip, 12);
  std::vector<BinScript> scripts;
  int64_t bins = 0;
  int64_t bits = 0;
  for (const RecordedSlice& slice : slices) {
    scripts.push_back(script_of(slice));
    bins += static_cast<int64_t>(scripts.back().step.size());
    bits += static_cast<int64_t>(slice.rbsp_size) * 8;
  }
  std::vector<uint8_t> contexts(kBypass);
  const auto start = [&](size_t s) {
    CabacEngine engine;
    engine.start(slices[s].bytes(), (slices[s].entry->header.header_bits + 7) >> 3);
    std::copy(scripts[s].contexts.begin(), scripts[s].contexts.end(), contexts.begin());
    return engine;
  };
  for (size_t s = 0; s < slices.size(); ++s) {  // the script must give the recorded bins
    CabacEngine engine = start(s);
    for (size_t i = 0; i < scripts[s].step.size(); ++i) {
      if (run_step(engine, contexts.data(), scripts[s].step[i]) != scripts[s].value[i]) {
        return state.SkipWithError("the recording does not play back");
      }
    }
  }
  for (auto _ : state) {
    for (size_t s = 0; s < slices.size(); ++s) {
      CabacEngine engine = start(s);
      int sum = 0;
      for (const uint16_t step : scripts[s].step) sum += run_step(engine, contexts.data(), step);
      benchmark::DoNotOptimize(sum);
    }
  }
  state.SetItemsProcessed(state.iterations() * bins);
  state.counters["bins_per_bit"] = static_cast<double>(bins) / static_cast<double>(bits);
}
BENCHMARK(cabac_bins)->Unit(benchmark::kMillisecond);

}  // namespace
}  // namespace cvdecode::bench
