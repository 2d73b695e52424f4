// How much memory may still be taken.
#pragma once

#include <cstdint>

namespace cvdecode {

// Bytes that can be allocated without swapping: MemAvailable, or less where a control group says
// so. A large number where neither can be read.
int64_t free_memory();

}  // namespace cvdecode
