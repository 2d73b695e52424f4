// One register function per type; module.cc is the table of contents.
#pragma once

#include <pybind11/pybind11.h>

namespace cvdecode::bind {

void register_errors(pybind11::module_& m);
void register_buffers(pybind11::module_& m);     // live-allocation counters
void register_clip(pybind11::module_& m);        // the memory of clips
void register_reader(pybind11::module_& m);      // VideoReader
void register_libav_test(pybind11::module_& m);  // private: the libav backend without a file
void register_accumulate(pybind11::module_& m);
void register_demux(pybind11::module_& m);         // private: packets and index by themselves
void register_h264_headers(pybind11::module_& m);  // private: phase H for tests
void register_h264_debug(pybind11::module_& m);    // private: one picture, everything known
void register_h264_syntax(pybind11::module_& m);   // private: phase A for tests
void register_rasterize(pybind11::module_& m);
void register_resample(pybind11::module_& m);
void register_trace_test(pybind11::module_& m);  // private: one kernel over a test's memory
void register_plan(pybind11::module_& m);        // accumulation for a device
void register_coviar(pybind11::module_& m);      // cvdecode.coviar

}  // namespace cvdecode::bind
