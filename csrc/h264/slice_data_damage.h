// How the layers of slice data give up.
#pragma once

namespace cvdecode::h264 {

// Thrown and caught inside SliceDecoder::decode(), never seen outside.
struct SliceDamage {
  const char* element;  // the syntax element that failed
};

[[noreturn, gnu::cold, gnu::noinline]] inline void damage(const char* element) {
  throw SliceDamage{element};
}

}  // namespace cvdecode::h264
