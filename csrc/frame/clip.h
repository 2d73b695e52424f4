// A batch of T frames: one owned buffer per plane. Backends write rows; bindings wrap buffers.
#pragma once

#include <array>
#include <cstdint>
#include <vector>

#include "base/buffer.h"
#include "frame/planes.h"

namespace cvdecode {

// Bytes of one frame's row of a plane.
size_t plane_row_bytes(const Geometry& geometry, Plane plane);

struct Clip {
  Geometry geometry;
  int64_t frames = 0;  // T
  PlaneMask planes = 0;
  std::array<BufferPtr, kPlaneCount> buffers;  // null where the plane was not asked for
  std::vector<uint8_t> lost;                   // (T,), 1 = damage took some or all of the row

  // Allocates every plane in the mask. Rows are zero; fill_lost() gives a row its "none" values.
  static Clip allocate(const Geometry& geometry, int64_t frames, PlaneMask planes);

  template <typename T>
  T* row(Plane plane, int64_t t) {
    auto& buffer = buffers[static_cast<size_t>(plane)];
    return reinterpret_cast<T*>(static_cast<uint8_t*>(buffer->data()) +
                                static_cast<size_t>(t) * plane_row_bytes(geometry, plane));
  }
  template <typename T>
  const T* row(Plane plane, int64_t t) const {
    return const_cast<Clip*>(this)->row<T>(plane, t);
  }
  bool has_plane(Plane plane) const { return has(planes, plane); }

  // Sets row t to "lost": mv 0, ref 0, mb_type 255, qp -128, bits 0, residual 0; lost[t] = 1.
  // The rgb row is zeroed only when rgb is among `which`.
  void fill_lost(int64_t t, PlaneMask which);
};

}  // namespace cvdecode
