// How the layers of slice data give up.
#pragma once

namespace cvdecode::h264 {

// Thrown and caught inside SliceDecoder::decode(), never seen outside.
struct SliceDamage {
  const char* element;  // the syntax element that failed
  bool ran_on = false;  // SliceSyntax::ran_on
};

[[noreturn, gnu::cold, gnu::noinline]] inline void damage(const char* element) {
  throw SliceDamage{element};
}

[[noreturn, gnu::cold, gnu::noinline]] inline void run_on(const char* element) {
  throw SliceDamage{element, true};
}

}  // namespace cvdecode::h264
