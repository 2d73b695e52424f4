// How far the blocks of a macroblock move alike: parsers find out, accumulation makes use of it.
#pragma once

#include <cstdint>

namespace cvdecode {

enum MotionShape : uint8_t {
  kAnyMotion = 0,    // nothing is alike, or it is not known
  kOneMotion = 1,    // all 4x4 blocks move alike
  kFourMotions = 2,  // those of each 8x8 block do
};

}  // namespace cvdecode
