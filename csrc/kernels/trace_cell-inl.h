// The one definition of what a cell of a map takes over from where its vector points
// (docs/accumulation.md), over lanes: OneLane in plain C++ and in a CUDA thread, many lanes in
// SIMD. Every build includes this file; none repeats it. trace_pixel.h says where a vector points.
//
// Lanes offer set16, sub_sat, add_sat, add_hop, is_void, zero_where over their own types.

// Per-target include guard of Highway, or an ordinary one where there is no Highway.
#if defined(CVDECODE_KERNELS_TRACE_CELL_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef CVDECODE_KERNELS_TRACE_CELL_INL_H_
#undef CVDECODE_KERNELS_TRACE_CELL_INL_H_
#else
#define CVDECODE_KERNELS_TRACE_CELL_INL_H_
#endif

#include <cstdint>

#include "kernels/trace_pixel.h"

#ifdef __CUDACC__
#define CVDECODE_LANES_INLINE __host__ __device__ inline
#else
#define CVDECODE_LANES_INLINE inline
#endif

#ifdef HWY_BEFORE_NAMESPACE
HWY_BEFORE_NAMESPACE();
#endif
namespace cvdecode::kernels {
#ifdef HWY_NAMESPACE
namespace HWY_NAMESPACE {
#endif

// E_t(p) = -v + E_r(pi(p, v)), saturating; nothing where the trace is void.
template <class L, class V, class M, class C>
CVDECODE_LANES_INLINE V next_displacement(L lanes, V e, V v, M dead, C& clipped) {
  return lanes.zero_where(dead, lanes.sub_sat(e, v, dead, clipped));
}

// R_t(p) = res_t(p) + R_r(pi(p, v)), saturating; nothing where the trace is void.
template <class L, class V, class M, class C>
CVDECODE_LANES_INLINE V next_residual(L lanes, V r, V res, M dead, C& clipped) {
  return lanes.zero_where(dead, lanes.add_sat(r, res, dead, clipped));
}

// One more step, up to 65535; 0 where the trace is void.
template <class L, class V, class M>
CVDECODE_LANES_INLINE V next_hops(L lanes, V h, M dead) {
  return lanes.zero_where(dead, lanes.add_hop(h));
}
// Where the trace ended, at which sample and with which mask: taken over as it is.

// The same for a whole cell of grid=4.
template <class L, class C>
CVDECODE_LANES_INLINE uint64_t next_cell(L lane, uint64_t cell, int x, int y, C& clipped) {
  const bool dead = is_void(cell_mask(cell));
  return pack_cell(next_displacement(lane, int{cell_x(cell)}, x, dead, clipped),
                   next_displacement(lane, int{cell_y(cell)}, y, dead, clipped), cell_end(cell),
                   cell_mask(cell));
}

#ifdef HWY_NAMESPACE
}  // namespace HWY_NAMESPACE
#endif
}  // namespace cvdecode::kernels
#ifdef HWY_AFTER_NAMESPACE
HWY_AFTER_NAMESPACE();
#endif

#endif  // per-target guard
