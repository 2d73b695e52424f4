// What is kept of a picture after it was parsed, and for how long.
#pragma once

#include <cstdint>
#include <list>
#include <memory>
#include <string>
#include <vector>

#include "h264/picture_motion.h"
#include "h264/slice_decoder.h"

namespace cvdecode::h264 {

struct ParsedPicture {
  int32_t picture = -1;  // decode number
  PictureSyntax syntax;
  PictureMotion motion;        // where has_motion
  std::vector<uint16_t> bits;  // where has_bits
  bool has_motion = false;
  bool has_bits = false;
  int lost_blocks = 0;  // macroblocks lost through direct prediction
  std::string damage;   // "" = none

  size_t bytes() const;
};
using ParsedPtr = std::shared_ptr<ParsedPicture>;

// Keeps the pictures last used, and the memory of those that nobody holds any more. Not
// thread-safe.
class ParsedCache {
 public:
  ParsedCache(size_t max_pictures, size_t max_bytes);

  // An object to parse into: new, or one that fell out of the cache.
  ParsedPtr acquire();
  ParsedPtr find(int32_t picture);  // null where it is not kept; counts as a use
  void put(const ParsedPtr& parsed);

 private:
  size_t max_pictures_;
  size_t max_bytes_;
  std::list<ParsedPtr> kept_;  // last used first; few, so a walk is cheap
  std::vector<ParsedPtr> spare_;
};

}  // namespace cvdecode::h264
