// CUDA threads over the bodies of grid.h. The only source that needs a CUDA compiler.
#include <cuda_runtime.h>

#include <algorithm>
#include <string>

#include "kernels/cuda/grid.h"
#include "kernels/cuda/launch.h"
#include "kernels/cuda/raster.h"

namespace cvdecode::kernels::cuda {
namespace {

__device__ Place place() {
  return Place{static_cast<int>(blockIdx.x * blockDim.x + threadIdx.x),
               static_cast<int>(blockIdx.y * blockDim.y + threadIdx.y),
               static_cast<int>(blockIdx.z)};
}

__global__ void __launch_bounds__(kBlockX* kBlockY) luma_kernel(const GridStep* steps) {
  trace_luma(steps, place());
}
__global__ void __launch_bounds__(kBlockX* kBlockY) chroma_kernel(const GridStep* steps) {
  trace_chroma(steps, place());
}
__global__ void __launch_bounds__(kBlockX* kBlockY) blocks_kernel(const GridStep* steps) {
  trace_blocks(steps, place());
}
__global__ void __launch_bounds__(kBlockX* kBlockY) diff_kernel(const DiffStep* steps) {
  recon_diff(steps, place());
}
__global__ void __launch_bounds__(kBlockX* kBlockY) hide_kernel(const HideStep* steps) {
  hide_ends(steps, place());
}
__global__ void __launch_bounds__(kBlockX* kBlockY) raster_kernel(const RasterStep* steps) {
  raster(steps, place());
}

template <class Step>
int start(void (*kernel)(const Step*), const Launch& launch, uintptr_t stream) {
  constexpr int kMostZ = 65535;
  const auto* steps = reinterpret_cast<const Step*>(launch.steps);
  const dim3 block(kBlockX, kBlockY);
  for (int first = 0; first < launch.count; first += kMostZ) {
    const dim3 grid(static_cast<unsigned>((launch.width + kBlockX - 1) / kBlockX),
                    static_cast<unsigned>((launch.height + kBlockY - 1) / kBlockY),
                    static_cast<unsigned>(std::min(kMostZ, launch.count - first)));
    kernel<<<grid, block, 0, reinterpret_cast<cudaStream_t>(stream)>>>(steps + first);
    const cudaError_t error = cudaGetLastError();
    if (error != cudaSuccess) return error;
  }
  return 0;
}

// Makes a device the calling thread's current one, and puts back what was before.
class CurrentDevice {
 public:
  explicit CurrentDevice(int device) {
    error_ = cudaGetDevice(&before_);
    if (error_ != cudaSuccess || before_ == device) return;
    error_ = cudaSetDevice(device);
    changed_ = error_ == cudaSuccess;
  }
  ~CurrentDevice() {
    if (changed_) cudaSetDevice(before_);
  }
  CurrentDevice(const CurrentDevice&) = delete;
  CurrentDevice& operator=(const CurrentDevice&) = delete;
  cudaError_t error() const { return error_; }

 private:
  int before_ = 0;
  cudaError_t error_ = cudaSuccess;
  bool changed_ = false;
};

}  // namespace

Devices devices() {
  Devices found;
  found.error = cudaGetDeviceCount(&found.count);
  if (found.error != cudaSuccess) {
    found.count = 0;
    cudaGetLastError();  // or the next call of somebody else reports it
  }
  return found;
}

int launch(const Launch& launch, int device, uintptr_t stream) {
  if (launch.count <= 0 || launch.width <= 0 || launch.height <= 0) return 0;
  const CurrentDevice current(device);
  if (current.error() != cudaSuccess) return current.error();
  switch (launch.kernel) {
    case Kernel::kLuma: return start<GridStep>(luma_kernel, launch, stream);
    case Kernel::kChroma: return start<GridStep>(chroma_kernel, launch, stream);
    case Kernel::kBlocks: return start<GridStep>(blocks_kernel, launch, stream);
    case Kernel::kDiff: return start<DiffStep>(diff_kernel, launch, stream);
    case Kernel::kHide: return start<HideStep>(hide_kernel, launch, stream);
    case Kernel::kRaster: return start<RasterStep>(raster_kernel, launch, stream);
  }
  return cudaErrorInvalidValue;
}

std::string error_text(int error) { return cudaGetErrorString(static_cast<cudaError_t>(error)); }

std::string runtime_version() {
  return std::to_string(CUDART_VERSION / 1000) + "." + std::to_string(CUDART_VERSION % 1000 / 10);
}

}  // namespace cvdecode::kernels::cuda
