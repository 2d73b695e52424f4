// From the planes of a picture to the one predictor per 4x4 block that the trace follows.
#pragma once

#include <array>
#include <cstdint>
#include <cstring>
#include <memory>
#include <vector>

#include "accumulate/fate.h"
#include "accumulate/motion.h"
#include "accumulate/scratch.h"
#include "kernels/trace.h"

namespace cvdecode {

struct SelectedSource {
  int32_t picture = 0;  // decode number
  Verdict verdict;      // kTrace or kEnd
};

struct SelectedMotion {
  BlockArray blocks;  // (h4, w4); source indexes `sources`
  // The other predictor of bi-predicted blocks, only when asked for; source = kSourceStop: none.
  std::vector<kernels::BlockMotion> others;
  std::vector<SelectedSource> sources;
  bool untrusted = false;  // some block uses a reference that the backend does not know
  int32_t longest = 0;     // largest component of a vector, absolute, or somewhat more
  bool broken = false;     // some block does not lead anywhere: kSourceBroken or kSourceCut
};

class Chooser;

// Selects row by row: what it meets is added to `out`, whose blocks and others it leaves alone.
class Selector {
 public:
  Selector(const MotionView& view, const MotionProvider& provider, int32_t t,
           const Geometry& geometry, const AccumulateOptions& options, Fates& fates,
           SelectedMotion& out);
  ~Selector();
  Selector(const Selector&) = delete;
  Selector& operator=(const Selector&) = delete;

  // Rows [top, bottom) of blocks, multiples of 4. `shapes` gets the MotionShape of each
  // macroblock; returns false where it cannot tell.
  bool rows(int top, int bottom, kernels::BlockMotion* blocks, uint8_t* shapes);
  Chooser& chooser() { return *chooser_; }

 private:
  // What a pair of references comes to.
  struct Meaning {
    uint64_t pair = ~uint64_t{0} / 2;  // both as they lie in memory; no reference is called that
    uint64_t source = 0;               // of a BlockMotion as it lies in memory
    uint32_t led = 0;                  // all bits: a vector leads there; none: the trace has none
    uint32_t list = 0;                 // whose vector counts
  };

  // Which references follow each other cannot be foretold; that they are known mostly can.
  const Meaning& meaning_of(const int32_t (&picture)[2]) {
    uint64_t pair = 0;
    std::memcpy(&pair, picture, sizeof pair);
    Meaning& meaning = meanings_[pair * 0x9E3779B97F4A7C15U >> 58];
    if (meaning.pair != pair) [[unlikely]]
      find_meaning(picture, meaning);
    return meaning;
  }
  void find_meaning(const int32_t (&picture)[2], Meaning& meaning);
  void by_macroblocks(int mb_y, kernels::BlockMotion* blocks, uint8_t* shapes);
  void by_rows(int top, int bottom, kernels::BlockMotion* blocks);

  const MotionView view_;
  const size_t w4_, cells_;
  const kernels::TraceKernels& kernels_;
  std::unique_ptr<Chooser> chooser_;
  SelectedMotion& out_;
  std::array<Meaning, 64> meanings_;
};

// A whole picture. `both` fills `others`, and a bi-predicted block with one broken reference is
// broken.
SelectedMotion select_motion(const MotionView& view, const MotionProvider& provider, int32_t t,
                             const Geometry& geometry, const AccumulateOptions& options,
                             Fates& fates, bool both, const std::shared_ptr<Scratch>& scratch);

}  // namespace cvdecode
