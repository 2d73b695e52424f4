// Plans of accumulation for a device, the buffer that takes them there, and the launches over it.
// Memory of a device and streams travel as integers.
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <array>
#include <memory>
#include <tuple>
#include <utility>
#include <vector>

#include "accumulate/device_batch.h"
#include "accumulate/plan.h"
#include "bind/bind.h"

namespace py = pybind11;

namespace cvdecode::bind {
namespace {

// kernel, first step, steps, threads wide, threads high.
using LaunchTuple = std::tuple<int, uintptr_t, int, int, int>;
// In the order of DeviceOutputs.
using Outputs = std::array<uintptr_t, 9>;

std::vector<LaunchTuple> pack(const DeviceBatch& batch, uintptr_t host, uintptr_t device,
                              uintptr_t scratch, const std::vector<Outputs>& outputs) {
  std::vector<DeviceOutputs> all;
  for (const Outputs& o : outputs) {
    all.push_back({o[0], o[1], o[2], o[3], o[4], o[5], o[6], o[7], o[8]});
  }
  std::vector<LaunchTuple> launches;
  const py::gil_scoped_release release;
  for (const kernels::Launch& launch :
       batch.pack(reinterpret_cast<uint8_t*>(host), device, scratch, all)) {
    launches.emplace_back(static_cast<int>(launch.kernel), launch.steps, launch.count, launch.width,
                          launch.height);
  }
  return launches;
}

void emulate(int kernel, uintptr_t steps, int count, int width, int height, bool backwards) {
  const py::gil_scoped_release release;
  kernels::emulate({static_cast<kernels::Kernel>(kernel), steps, count, width, height}, backwards);
}

py::dict stats_of(const TracePlan& plan) {
  py::dict stats;
  stats["pictures_read"] = plan.stats.pictures_read;
  stats["pictures_traced"] = plan.stats.pictures_traced;
  stats["cpu_seconds"] = plan.stats.cpu_seconds;
  return stats;
}

}  // namespace

void register_plan(py::module_& m) {
  py::class_<TracePlan, std::shared_ptr<TracePlan>>(m, "AccumulationPlan",
                                                    "The work of one accumulation.")
      .def_readonly("frames", &TracePlan::frames, "Rows of the result.")
      .def_readonly("repeats", &TracePlan::repeats, "(from row, to row), to be copied at the end.")
      .def_readonly("bytes", &TracePlan::bytes, "Memory that it holds.")
      .def_readwrite("wanted", &TracePlan::wanted,
                     "For tests: (row, its place among the pixels) of residual=\"recon_diff\".")
      .def_property_readonly("stats", &stats_of, "Work done so far.")
      .def_property_readonly(
          "coded_size",
          [](const TracePlan& p) {
            return std::make_pair(p.geometry.coded_width, p.geometry.coded_height);
          },
          "(width, height) in luma samples.")
      .def_property_readonly(
          "has_chroma", [](const TracePlan& p) { return p.layout.residual_uv; },
          "Whether residual_uv and mask_uv are among its planes.");
  py::class_<DeviceBatch>(m, "DeviceBatch", "Plans of several clips as one buffer for a device.")
      .def(py::init([](const std::vector<std::shared_ptr<TracePlan>>& plans) {
             return std::make_unique<DeviceBatch>(
                 std::vector<std::shared_ptr<const TracePlan>>(plans.begin(), plans.end()));
           }),
           py::arg("plans"))
      .def_property_readonly("upload_bytes", &DeviceBatch::upload_bytes, "Size of that buffer.")
      .def_property_readonly("scratch_bytes", &DeviceBatch::scratch_bytes,
                             "Memory of the device that the work needs beside the result.")
      .def("pack", &pack, py::arg("host"), py::arg("device"), py::arg("scratch"),
           py::arg("outputs"),
           "Fills the buffer at `host`, which goes to `device`; gives the launches in order.");
  m.def("emulate_launch", &emulate, py::arg("kernel"), py::arg("steps"), py::arg("count"),
        py::arg("width"), py::arg("height"), py::arg("backwards"),
        "For tests: a launch whose grid is walked on the CPU.");
}

}  // namespace cvdecode::bind
