#include "h264/parsed_picture.h"

#include <algorithm>
#include <atomic>

namespace cvdecode::h264 {

size_t ParsedPicture::bytes() const {
  size_t sum = motion.bytes() + bits.capacity() * sizeof(uint16_t) +
               syntax.macroblocks.capacity() * sizeof(Macroblock) +
               syntax.intra_modes.capacity() * sizeof(IntraModes);
  for (const auto& s : syntax.slices) sum += s.mvd.capacity() * sizeof(Mvd) + sizeof(SliceSyntax);
  return sum;
}

ParsedCache::ParsedCache(size_t max_pictures, size_t max_bytes)
    : max_pictures_(max_pictures), max_bytes_(max_bytes) {}

ParsedPtr ParsedCache::acquire() {
  // An object in spare_ that nobody else holds is free.
  for (auto& s : spare_) {
    if (s.use_count() != 1) continue;
    std::atomic_thread_fence(std::memory_order_acquire);  // whoever held it is done with it
    return s;
  }
  auto fresh = std::make_shared<ParsedPicture>();
  if (spare_.size() < max_pictures_ * 2) spare_.push_back(fresh);
  return fresh;
}

ParsedPtr ParsedCache::find(int32_t picture) {
  const auto it = std::find_if(kept_.begin(), kept_.end(),
                               [&](const ParsedPtr& p) { return p->picture == picture; });
  if (it == kept_.end()) return nullptr;
  kept_.splice(kept_.begin(), kept_, it);
  return kept_.front();
}

void ParsedCache::put(const ParsedPtr& parsed) {
  std::erase_if(kept_, [&](const ParsedPtr& p) { return p->picture == parsed->picture; });
  kept_.push_front(parsed);
  size_t sum = 0;
  size_t count = 0;
  for (auto it = kept_.begin(); it != kept_.end();) {
    sum += (*it)->bytes();
    if (++count > 1 && (count > max_pictures_ || sum > max_bytes_)) {
      it = kept_.erase(it);
    } else {
      ++it;
    }
  }
}

}  // namespace cvdecode::h264
