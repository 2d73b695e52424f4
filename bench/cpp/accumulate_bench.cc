// The kernels of accumulation by themselves: each build, the memcpy of the bytes that must move,
// and a gather written pixel by pixel. Motion is synthetic: macroblocks of one vector, some split.
#include <benchmark/benchmark.h>

#include <cstring>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "kernels/trace.h"
#include "kernels/trace_pixel.h"

namespace cvdecode::kernels {
namespace {

struct Planes {
  Planes(int width, int height, int divide)
      : cells(static_cast<size_t>(width / divide) * static_cast<size_t>(height / divide)),
        x(cells),
        y(cells),
        end(cells, 7),
        mask(cells),
        packed(divide == 1 ? 0 : cells),
        shared(divide == 1 ? cells / 256 : 0) {}
  Map map() {
    Map m;
    m.x = x.data();
    m.y = y.data();
    m.end = end.data();
    m.mask = mask.data();
    if (!packed.empty()) m.packed = packed.data();
    if (!shared.empty()) m.shared = shared.data();
    return m;
  }
  size_t cells;
  std::vector<int16_t> x, y;
  std::vector<int32_t> end;
  std::vector<uint8_t> mask;
  std::vector<uint64_t> packed;
  std::vector<cvdecode::kernels::Shared> shared;
};

// `kind` 0: half of the macroblocks skip along with their neighbour, a quarter has 8x8 blocks.
std::vector<BlockMotion> motion(int width, int height, uint32_t seed) {
  std::mt19937 random(seed);
  const int w4 = width / 4;
  std::vector<BlockMotion> blocks(static_cast<size_t>(w4) * static_cast<size_t>(height / 4));
  BlockMotion last{3, -2, 0};
  const auto vector = [&] {
    return BlockMotion{static_cast<int16_t>(static_cast<int>(random() % 33) - 16),
                       static_cast<int16_t>(static_cast<int>(random() % 33) - 16), 0};
  };
  for (int my = 0; my < height / 16; ++my) {
    for (int mx = 0; mx < width / 16; ++mx) {
      const uint32_t kind = random() % 4;
      BlockMotion quarter[4];
      for (BlockMotion& q : quarter) q = kind == 3 ? vector() : last;
      if (kind == 2) {
        last = vector();
        for (BlockMotion& q : quarter) q = last;
      }
      for (int b = 0; b < 16; ++b) {
        blocks[static_cast<size_t>((4 * my + b / 4) * w4 + 4 * mx + b % 4)] =
            quarter[b / 8 * 2 + b % 4 / 2];
      }
    }
  }
  return blocks;
}

constexpr int kGop = 12;

// A GOP in which each picture refers to the one before it; maps stay in memory, as results do.
void gop(benchmark::State& state, const TraceKernels& kernels, bool pixels) {
  const auto width = static_cast<int>(state.range(0));
  const auto height = static_cast<int>(state.range(1));
  std::vector<std::unique_ptr<Planes>> planes;
  std::vector<std::vector<BlockMotion>> motions;
  for (int t = 0; t < kGop; ++t) {
    planes.push_back(std::make_unique<Planes>(width, height, pixels ? 1 : 4));
    motions.push_back(motion(width, height, static_cast<uint32_t>(t)));
  }
  for (auto _ : state) {
    for (int t = 1; t < kGop; ++t) {
      Source source;
      source.is_end = t == 1;
      source.may_void = false;
      source.reach = 16 * t;
      if (t > 1) source.map = planes[static_cast<size_t>(t - 1)]->map();
      TraceJob job;
      job.width = width;
      job.height = height;
      job.blocks = motions[static_cast<size_t>(t)].data();
      job.sources = &source;
      job.source_count = 1;
      job.out = planes[static_cast<size_t>(t)]->map();
      benchmark::DoNotOptimize(pixels ? kernels.pixels(job) : kernels.blocks(job));
    }
    benchmark::ClobberMemory();
  }
  const auto cells = static_cast<int64_t>(planes[0]->cells);
  state.SetBytesProcessed(state.iterations() * (kGop - 1) * cells * 9);
  state.SetItemsProcessed(state.iterations() * (kGop - 1) * cells);
}

// From planes to the selected predictor, for the motion of one GOP.
void select(benchmark::State& state, const TraceKernels& kernels) {
  const auto width = static_cast<int>(state.range(0));
  const auto height = static_cast<int>(state.range(1));
  const int w4 = width / 4;
  const auto cells = static_cast<size_t>(w4) * static_cast<size_t>(height / 4);
  std::vector<int16_t> x(cells), y(cells);
  std::vector<int32_t> ref0(cells), ref1(cells, -1);
  const std::vector<BlockMotion> from = motion(width, height, 1);
  std::vector<BlockMotion> to(cells);
  for (size_t i = 0; i < cells; ++i) {
    x[i] = from[i].x;
    y[i] = from[i].y;
    ref0[i] = from[i].x > 12 ? 4 : 5;
  }
  for (auto _ : state) {
    for (int t = 1; t < kGop; ++t) {
      int32_t longest = 0;
      for (size_t row = 0; row < cells; row += static_cast<size_t>(w4)) {
        for (int b = 0; b < w4;) {
          const size_t at = row + static_cast<size_t>(b);
          SelectJob job;
          job.x = x.data() + at;
          job.y = y.data() + at;
          job.ref0 = ref0.data() + at;
          job.ref1 = ref1.data() + at;
          job.count = w4 - b;
          job.source = 0;
          job.out = to.data() + at;
          b += kernels.select(job, longest);
        }
      }
      benchmark::DoNotOptimize(longest);
    }
    benchmark::ClobberMemory();
  }
  state.SetItemsProcessed(state.iterations() * (kGop - 1) * static_cast<int64_t>(cells));
}

// The bytes that must move: 9 per cell, from one map to the next.
void copy(benchmark::State& state) {
  const auto cells = static_cast<size_t>(state.range(0) * state.range(1));
  std::vector<std::vector<uint8_t>> maps(kGop, std::vector<uint8_t>(cells * 9, 1));
  for (auto _ : state) {
    for (size_t t = 1; t < kGop; ++t) std::memcpy(maps[t].data(), maps[t - 1].data(), cells * 9);
    benchmark::ClobberMemory();
  }
  state.SetBytesProcessed(state.iterations() * (kGop - 1) * static_cast<int64_t>(cells) * 9);
}

// What one writes first: for each pixel its block, the source, a gather of each plane.
void gather(benchmark::State& state) {
  const auto width = static_cast<int>(state.range(0));
  const auto height = static_cast<int>(state.range(1));
  std::vector<std::unique_ptr<Planes>> planes;
  std::vector<std::vector<BlockMotion>> motions;
  for (int t = 0; t < kGop; ++t) {
    planes.push_back(std::make_unique<Planes>(width, height, 1));
    motions.push_back(motion(width, height, static_cast<uint32_t>(t)));
  }
  for (auto _ : state) {
    for (size_t t = 1; t < kGop; ++t) {
      const Map in = planes[t - 1]->map();
      const Map out = planes[t]->map();
      size_t at = 0;
      for (int y = 0; y < height; ++y) {
        const BlockMotion* row = motions[t].data() + static_cast<ptrdiff_t>(y / 4) * (width / 4);
        for (int x = 0; x < width; ++x, ++at) {
          const BlockMotion& m = row[x / 4];
          const size_t from =
              static_cast<size_t>(source_luma(y, m.y, height)) * static_cast<size_t>(width) +
              static_cast<size_t>(source_luma(x, m.x, width));
          out.x[at] = static_cast<int16_t>(in.x[from] - m.x);
          out.y[at] = static_cast<int16_t>(in.y[from] - m.y);
          out.end[at] = in.end[from];
          out.mask[at] = in.mask[from];
        }
      }
    }
    benchmark::ClobberMemory();
  }
  state.SetBytesProcessed(state.iterations() * (kGop - 1) * int64_t{width} * height * 9);
}

void sizes(benchmark::internal::Benchmark* b) {
  b->Args({352, 256})->Args({1920, 1088})->Unit(benchmark::kMicrosecond);
}

[[maybe_unused]] const int registered = [] {
  benchmark::RegisterBenchmark("memcpy", copy)->Apply(sizes);
  benchmark::RegisterBenchmark("gather", gather)->Apply(sizes);
  std::vector<TraceKernels> builds = trace_targets();
  builds.push_back(trace_scalar());
  for (const TraceKernels& k : builds) {
    benchmark::RegisterBenchmark(("select/" + k.name).c_str(), [k](benchmark::State& s) {
      select(s, k);
    })->Apply(sizes);
    for (const bool pixels : {true, false}) {
      benchmark::RegisterBenchmark((std::string(pixels ? "pixel/" : "grid4/") + k.name).c_str(),
                                   [k, pixels](benchmark::State& s) { gop(s, k, pixels); })
          ->Apply(sizes);
    }
  }
  return 0;
}();

}  // namespace
}  // namespace cvdecode::kernels
