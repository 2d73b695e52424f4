// Planes as numpy arrays, for every binding that hands memory of the core to Python.
#pragma once

#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>

#include <cstdint>
#include <string>
#include <vector>

#include "base/buffer.h"
#include "frame/clip.h"
#include "reader/video_reader.h"

namespace cvdecode::bind {

// An object that keeps `buffer` alive: the base of every array over it.
pybind11::capsule keep_alive(BufferPtr buffer);

// The plane as a writable array with the public shape; residuals and pixels are views of the
// displayed part. `plane` is one of clip.planes.
pybind11::array plane_array(const Clip& clip, Plane plane);

// The plane of that name; throws ValueError naming the public planes.
Plane plane_of(const std::string& name);

// Every array of a batch by its public name: planes, index, pts, pts_seconds, duration_seconds,
// frame_type, is_key, lost, and rgb_index for rgb="key".
pybind11::dict batch_arrays(const VideoReader& reader, const Batch& batch);

// pts, pts_seconds, duration_seconds, frame_type and is_key of these presented frames.
void add_frame_arrays(const VideoReader& reader, const std::vector<int64_t>& frames,
                      pybind11::dict& arrays);

}  // namespace cvdecode::bind
