// Memory of a GPU or of the emulated one, between guards.
#pragma once

#include <cuda_runtime.h>

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <vector>

namespace cvdecode {

inline void check_cuda(cudaError_t error, const char* what) {
  if (error == cudaSuccess) return;
  std::fprintf(stderr, "%s: %s\n", what, cudaGetErrorString(error));
  std::exit(2);
}

class Guarded {
 public:
  Guarded(size_t bytes, bool gpu) : bytes_(bytes), gpu_(gpu) {
    const size_t all = bytes + 2 * kGuard;
    if (gpu_) {
      check_cuda(cudaMalloc(&data_, all), "cudaMalloc");
      check_cuda(cudaMemset(data_, kFill, all), "cudaMemset");
    } else {
      data_ = std::aligned_alloc(kGuard, (all + kGuard - 1) / kGuard * kGuard);
      std::memset(data_, kFill, all);
    }
  }
  ~Guarded() {
    if (gpu_) {
      cudaFree(data_);
    } else {
      std::free(data_);
    }
  }
  Guarded(const Guarded&) = delete;
  Guarded& operator=(const Guarded&) = delete;

  uintptr_t address() const { return reinterpret_cast<uintptr_t>(data_) + kGuard; }
  void write(const void* from) {
    copy(reinterpret_cast<void*>(address()), from, bytes_, cudaMemcpyHostToDevice);
  }
  void clear() { write(std::vector<uint8_t>(bytes_).data()); }
  std::vector<uint8_t> read() const {
    std::vector<uint8_t> out(bytes_);
    copy(out.data(), reinterpret_cast<const void*>(address()), bytes_, cudaMemcpyDeviceToHost);
    return out;
  }
  bool intact() const {
    std::vector<uint8_t> all(bytes_ + 2 * kGuard);
    copy(all.data(), data_, all.size(), cudaMemcpyDeviceToHost);
    const auto good = [](uint8_t b) { return b == kFill; };
    const auto end = static_cast<ptrdiff_t>(kGuard + bytes_);
    return std::all_of(all.begin(), all.begin() + kGuard, good) &&
           std::all_of(all.begin() + end, all.end(), good);
  }

 private:
  static constexpr size_t kGuard = 512;
  static constexpr uint8_t kFill = 0xA5;

  void copy(void* to, const void* from, size_t bytes, cudaMemcpyKind kind) const {
    if (gpu_) {
      check_cuda(cudaMemcpy(to, from, bytes, kind), "cudaMemcpy");
    } else {
      std::memcpy(to, from, bytes);
    }
  }

  void* data_ = nullptr;
  size_t bytes_;
  bool gpu_;
};

}  // namespace cvdecode
