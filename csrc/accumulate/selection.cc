#include "accumulate/selection.h"

#include <algorithm>
#include <cstdlib>
#include <cstring>

#include "accumulate/chooser.h"

namespace cvdecode {
namespace {

using kernels::BlockMotion;
using kernels::kSourceBroken;
using kernels::kSourceCut;
using kernels::kSourceStop;

// A BlockMotion as it lies in memory.
uint64_t word_of(int16_t x, int16_t y, int32_t source) {
  const BlockMotion block{x, y, source};
  uint64_t word = 0;
  static_assert(sizeof word == sizeof block);
  std::memcpy(&word, &block, sizeof word);
  return word;
}

// Whether the four 8x8 blocks of a macroblock, or its 16 blocks, have the same.
bool same_references(const int32_t* ref, size_t w4) {
  return ((ref[0] ^ ref[2]) | (ref[0] ^ ref[2 * w4]) | (ref[0] ^ ref[2 * w4 + 2])) == 0;
}
bool same_vectors(const int16_t* v, size_t w4) {
  const uint64_t want = static_cast<uint16_t>(*v) * uint64_t{0x0001000100010001};
  uint64_t differ = 0;
  for (size_t r = 0; r < 4; ++r) {
    uint64_t row = 0;
    std::memcpy(&row, v + r * w4, sizeof row);
    differ |= row ^ want;
  }
  return differ == 0;
}

// Four of them.
void put(const uint64_t* words, BlockMotion* to) {
  std::memcpy(static_cast<void*>(to), words, 4 * sizeof *to);
}

// Of two 16-bit numbers v in a word: v, or -v or -v - 1 (the odd one) where v is negative.
uint32_t magnitude(uint32_t two) {
  const uint32_t negative = (two >> 15) & 0x00010001;
  return (two ^ negative * 0xFFFF) | negative;
}

bool is_lost(uint8_t mb_type) { return mb_type == static_cast<uint8_t>(MbType::kLost); }

// Types of one motion, or of none.
bool is_whole(uint8_t mb_type) {
  return mb_type <= static_cast<uint8_t>(MbType::kPSkip) ||
         mb_type == static_cast<uint8_t>(MbType::kInter16x16);
}

// hops=1 through both lists: the other predictor of bi-predicted blocks.
void select_others(const MotionView& view, const Geometry& geometry, Chooser& chooser,
                   SelectedMotion& out) {
  const size_t cells = out.blocks.size();
  const auto w4 = static_cast<size_t>(geometry.w4());
  out.others.resize(cells);
  for (size_t at = 0; at < cells; ++at) {
    const int32_t ref[2] = {view.ref_picture[at], view.ref_picture[cells + at]};
    if (ref[0] == kRefPictureUnused || ref[1] == kRefPictureUnused) continue;
    if (view.mb_type != nullptr && is_lost(view.mb_type[at / w4 / 4 * (w4 / 4) + at % w4 / 4])) {
      continue;
    }
    const Choice choice = chooser.of(ref[0], ref[1]);
    if (choice.untrusted) continue;
    const int list = 1 - choice.list;
    const int16_t* mv = view.mv + static_cast<size_t>(list) * 2 * cells;
    const BlockMotion other{mv[at], mv[cells + at], chooser.source_of(ref[list])};
    BlockMotion& block = out.blocks[at];
    if (other.source == kSourceBroken || (other.source < 0 && block.source >= 0)) {
      block = {0, 0, other.source};  // mask 2 wins over everything, 3 over what is known
      out.broken = true;
    } else if (block.source >= 0) {
      out.others[at] = other;
    }
  }
}

}  // namespace

Selector::Selector(const MotionView& view, const MotionProvider& provider, int32_t t,
                   const Geometry& geometry, const AccumulateOptions& options, Fates& fates,
                   SelectedMotion& out)
    : view_(view),
      w4_(static_cast<size_t>(geometry.w4())),
      cells_(w4_ * static_cast<size_t>(geometry.h4())),
      kernels_(options.kernels != nullptr ? *options.kernels : kernels::trace_best()),
      chooser_(std::make_unique<Chooser>(provider, t, options, fates, out)),
      out_(out) {}

Selector::~Selector() = default;

// Which references follow each other cannot be foretold; that they are known mostly can.
const Selector::Meaning& Selector::meaning_of(int32_t ref0, int32_t ref1) {
  const uint32_t hash =
      static_cast<uint32_t>(ref0) * 0x9E3779B1U + static_cast<uint32_t>(ref1) * 0x85EBCA6BU;
  Meaning& meaning = meanings_[hash >> 26];
  if (meaning.known && meaning.ref[0] == ref0 && meaning.ref[1] == ref1) [[likely]]
    return meaning;
  const Choice& choice = chooser_->of(ref0, ref1);
  const bool led = choice.list >= 0 && choice.source >= 0;
  meaning.known = true;
  meaning.ref[0] = ref0;
  meaning.ref[1] = ref1;
  meaning.led = led ? ~uint32_t{0} : 0;
  meaning.source = static_cast<uint64_t>(static_cast<uint32_t>(choice.source)) << 32;
  meaning.x = led ? static_cast<size_t>(choice.list) * 2 * cells_ : 0;
  return meaning;
}

bool Selector::rows(int top, int bottom, BlockMotion* blocks, uint8_t* whole) {
  if (view_.mb_type == nullptr && view_.lost) {
    std::fill_n(blocks, static_cast<size_t>(bottom - top) * w4_, BlockMotion{0, 0, kSourceBroken});
    out_.broken = true;
    return false;
  }
  if (view_.mb_type == nullptr || !view_.types_tell) {
    by_rows(top, bottom, blocks);
    return false;
  }
  for (int y = top; y < bottom; y += 4, blocks += 4 * w4_, whole += w4_ / 4) {
    by_macroblocks(y / 4, blocks, whole);
  }
  return true;
}

// Most macroblocks have one motion: their type says so, and one block is looked at. In the others
// 8x8 blocks share their references (H.264).
void Selector::by_macroblocks(int mb_y, BlockMotion* blocks, uint8_t* whole) {
  const size_t w16 = w4_ / 4;
  const size_t first = static_cast<size_t>(mb_y) * 4 * w4_;
  const int32_t* const ref0 = view_.ref_picture + first;
  const int32_t* const ref1 = ref0 + cells_;
  const uint8_t* const types = view_.mb_type + static_cast<size_t>(mb_y) * w16;
  const int16_t* const vectors = view_.mv + first;
  uint32_t magnitudes = 0;  // of two components each, some one less where they are negative
  for (size_t mb = 0; mb < w16; ++mb) {
    BlockMotion* const out = blocks + 4 * mb;
    const size_t at = 4 * mb;
    const uint8_t type = types[mb];
    // Lost, of one motion by its type, or (mostly direct ones) by what it says.
    bool one = is_whole(type) || is_lost(type);
    if (!one && same_references(ref0 + at, w4_) && same_references(ref1 + at, w4_)) {
      const Meaning& meaning = meaning_of(ref0[at], ref1[at]);
      const int16_t* const x = vectors + meaning.x;
      one = meaning.led == 0 || (same_vectors(x + at, w4_) && same_vectors(x + cells_ + at, w4_));
    }
    if (one) {
      uint64_t word = word_of(0, 0, kSourceBroken);
      if (is_lost(type)) {
        out_.broken = true;
      } else {
        const Meaning& meaning = meaning_of(ref0[at], ref1[at]);
        const int16_t* const x = vectors + meaning.x + at;
        const uint32_t v =
            (static_cast<uint16_t>(x[0]) | uint32_t{static_cast<uint16_t>(x[cells_])} << 16) &
            meaning.led;
        word = meaning.source | v;
        magnitudes |= magnitude(v);
      }
      const uint64_t four[4] = {word, word, word, word};
      for (size_t r = 0; r < 4; ++r) put(four, out + r * w4_);
      whole[mb] = 1;
      continue;
    }
    uint64_t words[16];
    for (size_t q = 0; q < 4; ++q) {
      const size_t corner = at + q / 2 * 2 * w4_ + q % 2 * 2;
      const Meaning& meaning = meaning_of(ref0[corner], ref1[corner]);
      const int16_t* const x = vectors + meaning.x + corner;
      for (size_t r = 0; r < 2; ++r) {
        uint64_t* const to = words + q / 2 * 8 + q % 2 * 2 + 4 * r;
        uint32_t vx = 0;
        uint32_t vy = 0;  // of two blocks
        std::memcpy(&vx, x + r * w4_, 4);
        std::memcpy(&vy, x + cells_ + r * w4_, 4);
        vx &= meaning.led;
        vy &= meaning.led;
        magnitudes |= magnitude(vx) | magnitude(vy);
        to[0] = meaning.source | (vx & 0xFFFF) | vy << 16;
        to[1] = meaning.source | vx >> 16 | (vy & 0xFFFF0000);
      }
    }
    for (size_t r = 0; r < 4; ++r) put(words + 4 * r, out + r * w4_);
    whole[mb] = 0;
  }
  const uint32_t most = std::max(magnitudes & 0xFFFF, magnitudes >> 16);
  out_.longest = std::max(out_.longest, most == 0 ? 0 : static_cast<int32_t>(most) + 1);
}

void Selector::by_rows(int top, int bottom, BlockMotion* blocks) {
  const size_t first = static_cast<size_t>(top) * w4_;
  for (int by = top; by < bottom; ++by) {
    for (size_t bx = 0; bx < w4_;) {
      const size_t at = static_cast<size_t>(by) * w4_ + bx;
      kernels::SelectJob job;
      job.ref0 = view_.ref_picture + at;
      job.ref1 = job.ref0 + cells_;
      const Choice& choice = chooser_->of(*job.ref0, *job.ref1);
      job.source = choice.source;
      if (choice.list >= 0 && choice.source >= 0) {
        job.x = view_.mv + static_cast<size_t>(choice.list) * 2 * cells_ + at;
        job.y = job.x + cells_;
      }
      job.count = static_cast<int>(w4_ - bx);
      job.out = blocks + (at - first);
      bx += static_cast<size_t>(kernels_.select(job, out_.longest));
    }
  }
  if (view_.mb_type == nullptr) return;
  const size_t w16 = w4_ / 4;
  for (size_t mb = first / 16; mb < static_cast<size_t>(bottom) / 4 * w16; ++mb) {
    if (!is_lost(view_.mb_type[mb])) continue;
    out_.broken = true;
    BlockMotion* corner = blocks + mb / w16 * 4 * w4_ - first + mb % w16 * 4;
    for (size_t y = 0; y < 4; ++y) {
      std::fill_n(corner + y * w4_, 4, BlockMotion{0, 0, kSourceBroken});
    }
  }
}

SelectedMotion select_motion(const MotionView& view, const MotionProvider& provider, int32_t t,
                             const Geometry& geometry, const AccumulateOptions& options,
                             Fates& fates, bool both, const std::shared_ptr<Scratch>& scratch) {
  SelectedMotion out;
  out.blocks =
      BlockArray(scratch, static_cast<size_t>(geometry.w4()) * static_cast<size_t>(geometry.h4()));
  Selector selector(view, provider, t, geometry, options, fates, out);
  std::vector<uint8_t> whole(static_cast<size_t>(geometry.w16() * geometry.h16()));
  selector.rows(0, geometry.h4(), out.blocks.data(), whole.data());
  if (both) {
    if (view.mb_type == nullptr && view.lost) {
      out.others.resize(out.blocks.size());
    } else {
      select_others(view, geometry, selector.chooser(), out);
    }
  }
  return out;
}

}  // namespace cvdecode
