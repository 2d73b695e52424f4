// The grid of a launch, walked on the CPU.
#include "kernels/cuda/grid.h"
#include "kernels/cuda/launch.h"
#include "kernels/cuda/raster.h"

namespace cvdecode::kernels {
namespace {

template <class Step, class Body>
void walk(const Launch& launch, bool backwards, Body body) {
  const auto* steps = reinterpret_cast<const Step*>(launch.steps);
  const int wide = (launch.width + kBlockX - 1) / kBlockX * kBlockX;
  const int high = (launch.height + kBlockY - 1) / kBlockY * kBlockY;
  const int64_t threads = static_cast<int64_t>(wide) * high * launch.count;
  for (int64_t i = 0; i < threads; ++i) {
    const int64_t n = backwards ? threads - 1 - i : i;
    body(steps, Place{static_cast<int>(n % wide), static_cast<int>(n / wide % high),
                      static_cast<int>(n / wide / high)});
  }
}

}  // namespace

void emulate(const Launch& launch, bool backwards) {
  switch (launch.kernel) {
    case Kernel::kLuma: return walk<GridStep>(launch, backwards, trace_luma);
    case Kernel::kChroma: return walk<GridStep>(launch, backwards, trace_chroma);
    case Kernel::kBlocks: return walk<GridStep>(launch, backwards, trace_blocks);
    case Kernel::kDiff: return walk<DiffStep>(launch, backwards, recon_diff);
    case Kernel::kHide: return walk<HideStep>(launch, backwards, hide_ends);
    case Kernel::kRaster: return walk<RasterStep>(launch, backwards, raster);
  }
}

}  // namespace cvdecode::kernels
