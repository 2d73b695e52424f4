#include "accumulate/selection.h"

#include <algorithm>
#include <array>
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

// What a type says of the motion, or kAsk.
constexpr uint8_t kAsk = 255;
constexpr std::array<uint8_t, 256> shapes_of_types() {
  std::array<uint8_t, 256> shapes{};
  shapes.fill(kAsk);
  const auto set = [&](MbType type, kernels::MotionShape shape) {
    shapes[static_cast<size_t>(type)] = shape;
  };
  for (const MbType one : {MbType::kI4x4, MbType::kI8x8, MbType::kI16x16, MbType::kIPcm,
                           MbType::kPSkip, MbType::kInter16x16, MbType::kLost}) {
    set(one, kernels::kOneMotion);
  }
  set(MbType::kInter16x8, kernels::kFourMotions);
  set(MbType::kInter8x16, kernels::kFourMotions);
  return shapes;
}
constexpr std::array<uint8_t, 256> kShapeOfType = shapes_of_types();

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

void Selector::find_meaning(int32_t ref0, int32_t ref1, Meaning& meaning) {
  const Choice& choice = chooser_->of(ref0, ref1);
  const bool led = choice.list >= 0 && choice.source >= 0;
  meaning.ref[0] = ref0;
  meaning.ref[1] = ref1;
  meaning.led = led ? ~uint32_t{0} : 0;
  meaning.source = static_cast<uint64_t>(static_cast<uint32_t>(choice.source)) << 32;
  meaning.x = led ? static_cast<size_t>(choice.list) * 2 * cells_ : 0;
}

bool Selector::rows(int top, int bottom, BlockMotion* blocks, uint8_t* shapes) {
  if (view_.mb_type == nullptr && view_.lost) {
    std::fill_n(blocks, static_cast<size_t>(bottom - top) * w4_, BlockMotion{0, 0, kSourceBroken});
    out_.broken = true;
    return false;
  }
  if (view_.mb_type == nullptr || !view_.types_tell) {
    by_rows(top, bottom, blocks);
    return false;
  }
  for (int y = top; y < bottom; y += 4, blocks += 4 * w4_, shapes += w4_ / 4) {
    by_macroblocks(y / 4, blocks, shapes);
  }
  return true;
}

// Where some type does not tell (mostly direct ones), by what the planes say.
void Selector::find_shapes(int mb_y, uint8_t* shapes) {
  const size_t w16 = w4_ / 4;
  const uint8_t* const types = view_.mb_type + static_cast<size_t>(mb_y) * w16;
  bool ask = false;
  for (size_t mb = 0; mb < w16; ++mb) {
    shapes[mb] = kShapeOfType[types[mb]];
    ask |= shapes[mb] == kAsk;
  }
  if (!ask) return;
  looked_up_.resize(w16);
  const size_t first = static_cast<size_t>(mb_y) * 4 * w4_;
  kernels::ShapeJob job;
  for (size_t i = 0; i < 4; ++i) job.mv[i] = view_.mv + i * cells_ + first;
  for (size_t i = 0; i < 2; ++i) job.ref[i] = view_.ref_picture + i * cells_ + first;
  job.stride = static_cast<ptrdiff_t>(w4_);
  job.count = static_cast<int>(w16);
  job.out = looked_up_.data();
  kernels_.shapes(job);
  for (size_t mb = 0; mb < w16; ++mb) {
    shapes[mb] = shapes[mb] == kAsk ? looked_up_[mb] : shapes[mb];
  }
}

// Most macroblocks have one motion: one block is looked at. In the others 8x8 blocks share their
// references (H.264), and mostly their vectors.
void Selector::by_macroblocks(int mb_y, BlockMotion* blocks, uint8_t* shapes) {
  find_shapes(mb_y, shapes);
  const size_t w4 = w4_;
  const size_t cells = cells_;
  const size_t first = static_cast<size_t>(mb_y) * 4 * w4;
  const int32_t* const ref0 = view_.ref_picture + first;
  const int32_t* const ref1 = ref0 + cells;
  const uint8_t* const types = view_.mb_type + static_cast<size_t>(mb_y) * (w4 / 4);
  const int16_t* const vectors = view_.mv + first;
  uint32_t magnitudes = 0;  // of two components each, some one less where they are negative
  const auto word_at = [&](size_t at) {
    const Meaning& meaning = meaning_of(ref0[at], ref1[at]);
    const int16_t* const x = vectors + meaning.x + at;
    const uint32_t v =
        (static_cast<uint16_t>(x[0]) | uint32_t{static_cast<uint16_t>(x[cells])} << 16) &
        meaning.led;
    magnitudes |= magnitude(v);
    return meaning.source | v;
  };
  for (size_t at = 0; at < w4; at += 4) {
    BlockMotion* const out = blocks + at;
    const uint8_t shape = shapes[at / 4];
    if (shape == kernels::kOneMotion) {
      uint64_t word = word_of(0, 0, kSourceBroken);
      if (is_lost(types[at / 4])) {
        out_.broken = true;
      } else {
        word = word_at(at);
      }
      put<4>(word, out);
      put<4>(word, out + w4);
      put<4>(word, out + 2 * w4);
      put<4>(word, out + 3 * w4);
      continue;
    }
    for (const size_t corner : {size_t{0}, size_t{2}, 2 * w4, 2 * w4 + 2}) {
      if (shape == kernels::kFourMotions) {
        const uint64_t word = word_at(at + corner);
        put<2>(word, out + corner);
        put<2>(word, out + corner + w4);
        continue;
      }
      for (const size_t one : {corner, corner + 1, corner + w4, corner + w4 + 1}) {
        put<1>(word_at(at + one), out + one);
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
    if (view.mb_type == nullptr && view.lost) {
      out.others.resize(out.blocks.size());
    } else {
      select_others(view, geometry, selector.chooser(), out);
    }
  }
  return out;
}

}  // namespace cvdecode
