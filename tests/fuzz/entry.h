// Where libFuzzer enters a target that is one function of the input: its fuzz::parse(). A typed
// error is an answer; whatever else leaves it is a finding.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "base/error.h"

namespace cvdecode::fuzz {

void parse(std::span<const uint8_t> input);

}  // namespace cvdecode::fuzz

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  try {
    cvdecode::fuzz::parse({data, size});
  } catch (const cvdecode::Error&) {
  }
  return 0;
}
