// The inverse transforms: the fast form on 16 bits and the checked one.
#include <benchmark/benchmark.h>

#include <random>
#include <vector>

#include "kernels/inverse_transform.h"

namespace cvdecode::kernels {
namespace {

constexpr int kBlocks = 256;

template <class Transform>
void transform(benchmark::State& state, Transform idct, int n) {
  const auto size = static_cast<size_t>(n * n);
  alignas(16) static int16_t coefficients[kBlocks * 64];
  std::mt19937 random(5);
  for (int16_t& c : coefficients) {  // sparse, as in a video
    c = static_cast<int16_t>(random() % 4 == 0 ? static_cast<int>(random() % 256) - 128 : 0);
  }
  std::vector<int16_t> out(kBlocks * size);
  for (auto _ : state) {
    for (size_t b = 0; b < kBlocks; ++b) idct(coefficients + b * size, out.data() + b * size, n);
    benchmark::ClobberMemory();
  }
  state.SetItemsProcessed(state.iterations() * kBlocks);
  state.SetBytesProcessed(state.iterations() * kBlocks * static_cast<int64_t>(size) * 2);
}
BENCHMARK_CAPTURE(transform, idct4x4, idct4x4, 4);
BENCHMARK_CAPTURE(transform, idct8x8, idct8x8, 8);
BENCHMARK_CAPTURE(transform, idct4x4_checked, idct4x4_checked, 4);
BENCHMARK_CAPTURE(transform, idct8x8_checked, idct8x8_checked, 8);

}  // namespace
}  // namespace cvdecode::kernels
