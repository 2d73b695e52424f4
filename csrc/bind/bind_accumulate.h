// Options and results of accumulate(), shared by its bindings.
#pragma once

#include <pybind11/pybind11.h>

#include "accumulate/accumulate.h"

namespace cvdecode::bind {

AccumulateOptions accumulate_options(const pybind11::dict& options);
pybind11::dict accumulate_result(const AccumulateResult& result);

}  // namespace cvdecode::bind
