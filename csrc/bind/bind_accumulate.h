// Options and results of accumulate(), shared by its bindings.
#pragma once

#include <pybind11/pybind11.h>

#include <memory>

#include "accumulate/accumulate.h"

namespace cvdecode::bind {

AccumulateOptions accumulate_options(const pybind11::dict& options);
// Arrays by name, over memory that they own; "memory" can be handed to another call.
pybind11::dict accumulate_result(std::shared_ptr<AccumulateResult> result);

}  // namespace cvdecode::bind
