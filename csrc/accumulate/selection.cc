#include "accumulate/selection.h"

#include <algorithm>
#include <cstdlib>
#include <cstring>

#include "accumulate/chooser.h"

namespace cvdecode {
namespace {

using kernels::BlockMotion;
using kernels::kSourceBroken;

// Blocks of one word side by side.
template <int kCount>
void put(uint64_t word, BlockMotion* to) {
  for (int i = 0; i < kCount; ++i) std::memcpy(static_cast<void*>(to + i), &word, sizeof word);
}

// Of two 16-bit numbers v in a word: v, or -v or -v - 1 (the odd one) where v is negative.
uint32_t magnitude(uint32_t two) {
  const uint32_t negative = (two >> 15) & 0x00010001;
  return (two ^ negative * 0xFFFF) | negative;
}

bool is_lost(uint8_t mb_type) { return mb_type == static_cast<uint8_t>(MbType::kLost); }

// Of the block `at`, which lies in macroblock `mb`.
Prediction prediction_at(const MotionView& view, size_t cells, size_t at, size_t w4, size_t mb) {
  const MotionRow& row = view.motion;
  if (row.first == nullptr) {
    return {
        {{view.mv[at], view.mv[cells + at]}, {view.mv[2 * cells + at], view.mv[3 * cells + at]}},
        {view.ref_picture[at], view.ref_picture[cells + at]}};
  }
  if (row.shapes[mb] == kOneMotion) return row.first[mb];
  const size_t x = at % w4 % 4;
  const size_t y = at / w4 % 4;
  const bool four = row.shapes[mb] == kFourMotions;
  return row.blocks[mb * MotionRow::kBlocks + (four ? y / 2 * 2 + x / 2 : y * 4 + x)];
}

// hops=1 through both lists: the other predictor of bi-predicted blocks.
void select_others(const MotionView& view, const Geometry& geometry, Chooser& chooser,
                   SelectedMotion& out) {
  const size_t cells = out.blocks.size();
  const auto w4 = static_cast<size_t>(geometry.w4());
  out.others.resize(cells);
  for (size_t at = 0; at < cells; ++at) {
    const size_t mb = at / w4 / 4 * (w4 / 4) + at % w4 / 4;
    const Prediction p = prediction_at(view, cells, at, w4, mb);
    if (p.picture[0] == kRefPictureUnused || p.picture[1] == kRefPictureUnused) continue;
    if (view.mb_type != nullptr && is_lost(view.mb_type[mb])) continue;
    const Choice choice = chooser.of(p.picture[0], p.picture[1]);
    if (choice.untrusted) continue;
    const int list = 1 - choice.list;
    const BlockMotion other{p.mv[list][0], p.mv[list][1], chooser.source_of(p.picture[list])};
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

void Selector::find_meaning(const int32_t (&picture)[2], Meaning& meaning) {
  const Choice& choice = chooser_->of(picture[0], picture[1]);
  const bool led = choice.list >= 0 && choice.source >= 0;
  std::memcpy(&meaning.pair, picture, sizeof meaning.pair);
  meaning.led = led ? ~uint32_t{0} : 0;
  meaning.source = static_cast<uint64_t>(static_cast<uint32_t>(choice.source)) << 32;
  meaning.list = led ? static_cast<uint32_t>(choice.list) : 0;
}

bool Selector::rows(int top, int bottom, BlockMotion* blocks, uint8_t* shapes) {
  if (view_.motion.first != nullptr) {
    for (int y = top; y < bottom; y += 4, blocks += 4 * w4_, shapes += w4_ / 4) {
      by_macroblocks(y / 4, blocks, shapes);
    }
    return true;
  }
  if (view_.mb_type == nullptr && view_.lost) {
    std::fill_n(blocks, static_cast<size_t>(bottom - top) * w4_, BlockMotion{0, 0, kSourceBroken});
    out_.broken = true;
  } else {
    by_rows(top, bottom, blocks);
  }
  return false;
}

// Most macroblocks have one motion.
void Selector::by_macroblocks(int mb_y, BlockMotion* blocks, uint8_t* shapes) {
  const size_t w4 = w4_;
  const size_t w16 = w4 / 4;
  const size_t mb0 = static_cast<size_t>(mb_y) * w16;
  std::copy_n(view_.motion.shapes + mb0, w16, shapes);
  uint32_t magnitudes = 0;  // of two components each, some one less where they are negative
  const auto word_as = [&](const Meaning& meaning, const Prediction& p) {
    uint32_t v = 0;
    std::memcpy(&v, p.mv[meaning.list], sizeof v);
    v &= meaning.led;
    magnitudes |= magnitude(v);
    return meaning.source | v;
  };
  const auto word_of = [&](const Prediction& p) { return word_as(meaning_of(p.picture), p); };
  for (size_t mb = 0; mb < w16; ++mb) {
    BlockMotion* const out = blocks + 4 * mb;
    const uint8_t shape = shapes[mb];
    if (shape == kOneMotion) {
      const uint64_t word = word_of(view_.motion.first[mb0 + mb]);
      put<4>(word, out);
      put<4>(word, out + w4);
      put<4>(word, out + 2 * w4);
      put<4>(word, out + 3 * w4);
      continue;
    }
    const Prediction* of = view_.motion.blocks + (mb0 + mb) * MotionRow::kBlocks;
    if (shape == kFourMotions) {
      for (const size_t corner : {size_t{0}, size_t{2}, 2 * w4, 2 * w4 + 2}) {
        const uint64_t word = word_of(*of++);
        put<2>(word, out + corner);
        put<2>(word, out + corner + w4);
      }
      continue;
    }
    // The blocks of an 8x8 block have the same references.
    for (const size_t y : {0, 2}) {
      for (const size_t x : {0, 2}) {
        const Meaning& meaning = meaning_of(of[4 * y + x].picture);
        for (const size_t one : {4 * y + x, 4 * y + x + 1, 4 * y + x + 4, 4 * y + x + 5}) {
          put<1>(word_as(meaning, of[one]), out + one / 4 * w4 + one % 4);
        }
      }
    }
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
  std::vector<uint8_t> shapes(static_cast<size_t>(geometry.w16() * geometry.h16()));
  selector.rows(0, geometry.h4(), out.blocks.data(), shapes.data());
  if (both) {
    if (view.motion.first == nullptr && view.mb_type == nullptr && view.lost) {
      out.others.resize(out.blocks.size());
    } else {
      select_others(view, geometry, selector.chooser(), out);
    }
  }
  return out;
}

}  // namespace cvdecode
