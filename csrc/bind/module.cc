// The compiled module: a table of contents.
#include "bind/bind.h"

PYBIND11_MODULE(_core, m) {
  m.doc() = "The compiled core of cvdecode. Private: import cvdecode instead.";
  cvdecode::bind::register_errors(m);
  cvdecode::bind::register_buffers(m);
  cvdecode::bind::register_clip(m);
  cvdecode::bind::register_reader(m);
  cvdecode::bind::register_libav_test(m);
  cvdecode::bind::register_accumulate(m);
  cvdecode::bind::register_plan(m);
  cvdecode::bind::register_rasterize(m);
  cvdecode::bind::register_resample(m);
  cvdecode::bind::register_trace_test(m);
  cvdecode::bind::register_coviar(m);
  cvdecode::bind::register_demux(m);
  cvdecode::bind::register_h264_headers(m);
  cvdecode::bind::register_h264_debug(m);
  cvdecode::bind::register_h264_syntax(m);
}
