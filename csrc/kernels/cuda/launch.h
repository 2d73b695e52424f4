// Launches on a device, and the same over a grid emulated on the CPU. Pointers and streams travel
// as integers: no header of CUDA or of a tensor library is needed to call these.
#pragma once

#include <cstdint>
#include <string>

namespace cvdecode::kernels {

enum class Kernel : uint8_t { kLuma, kChroma, kBlocks, kDiff, kHide, kRaster };
inline constexpr int kKernelCount = 6;

struct Launch {
  Kernel kernel = Kernel::kLuma;
  uintptr_t steps = 0;  // first of `count` steps (grid.h, raster.h), in memory of the device
  int count = 0;
  int width = 0;  // threads that the largest step needs
  int height = 0;
};

// Calls every thread of the grid, one after the other; `backwards` in the opposite order, which
// must make no difference.
void emulate(const Launch& launch, bool backwards);

// launch.cu. Errors come as cudaError_t; 0 = none.
namespace cuda {

struct Devices {
  int count = 0;
  int error = 0;  // why there are none
};
Devices devices();
// `device` counts GPUs; the stream is one of its own (0 = the default one).
int launch(const Launch& launch, int device, uintptr_t stream);
std::string error_text(int error);
// "13.0"; of the runtime that the module was built with.
std::string runtime_version();

}  // namespace cuda
}  // namespace cvdecode::kernels
