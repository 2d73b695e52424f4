// Rows of cells that leave past the caches: nobody reads them soon.

// Per-target include guard of Highway.
#if defined(CVDECODE_KERNELS_TRACE_SENDING_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef CVDECODE_KERNELS_TRACE_SENDING_INL_H_
#undef CVDECODE_KERNELS_TRACE_SENDING_INL_H_
#else
#define CVDECODE_KERNELS_TRACE_SENDING_INL_H_
#endif

#include <hwy/cache_control.h>

#include <cstddef>
#include <cstdint>
#include <cstring>

#include "kernels/trace_lanes-inl.h"

HWY_BEFORE_NAMESPACE();
namespace cvdecode::kernels {
namespace HWY_NAMESPACE {
namespace {

// Only whole lines of memory go past the caches: what fills a part of one is slower than a store.
// hwy::FlushStream() comes after the last.
template <typename T>
HWY_INLINE void send(const T* from, size_t n, T* to) {
  const size_t bytes = n * sizeof(T);
  const auto* in = reinterpret_cast<const uint8_t*>(from);
  auto* out = reinterpret_cast<uint8_t*>(to);
  if ((reinterpret_cast<uintptr_t>(to) | bytes) % 64 != 0) {
    std::memcpy(out, in, bytes);
    return;
  }
  const hn::CappedTag<uint8_t, 64> d;
  for (size_t i = 0; i < bytes; i += hn::Lanes(d)) hn::Stream(hn::LoadU(d, in + i), d, out + i);
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace cvdecode::kernels
HWY_AFTER_NAMESPACE();

#endif  // per-target guard
