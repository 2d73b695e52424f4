// The work of accumulation over frames that share one wanted anchor: which pictures the chain
// needs, their motion, their maps in decode order. A wanted frame whose references are traced
// already is traced while it is read, and leaves nothing behind but its maps.
#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <span>
#include <vector>

#include "accumulate/accumulate.h"
#include "accumulate/fate.h"
#include "accumulate/maps.h"
#include "accumulate/selection.h"

namespace cvdecode {

// How `end` names a picture: its presentation index, or a number below -1 where it has none.
int32_t end_of(const MotionPicture& picture, int32_t number);
// The decode number back from it.
int32_t picture_of_end(const MotionProvider& provider, int32_t end);

struct WantedFrame {
  int32_t picture = 0;  // decode number
  int64_t row = 0;      // of the result
};

class TraceGroup {
 public:
  TraceGroup(MotionProvider& provider, const AccumulateOptions& options, int32_t segment,
             int32_t wanted_anchor, AccumulateResult& result, const ResultRows& rows,
             MapPool& pool);

  // `frames` are unique pictures, ascending.
  void run(std::span<const WantedFrame> frames);

 private:
  struct Node {
    SelectedMotion motion;  // its blocks are held until they are traced, while the budget lasts
    std::vector<int16_t> residual_y, residual_uv;  // likewise
    bool needed = false;
    bool read = false;
    bool traced = false;
    int uses = 0;       // pictures still to come that look at this map
    int64_t row = -1;   // of the result, -1 = nobody asked for it
    int32_t step = -1;  // of a plan
    MapPool::Loan loan;
    kernels::Map map;
    std::unique_ptr<kernels::Shared[]> shared;  // Map::shared
    std::vector<uint8_t> wanted;                // kernels::TraceJob::wanted, empty = all of it
    bool may_void = false;                      // some cell of the map may be broken or cut
    int32_t reach = 0;                          // no displacement of the map is larger
  };
  using Nodes = std::map<int32_t, Node>;  // by decode number

  // Which planes are read, and whether they are held even beyond the budget.
  struct Reading {
    bool motion = true;
    bool residual = false;
    bool must_hold = false;
  };

  void gather(std::span<const WantedFrame> frames);
  void add_hints(std::vector<int32_t>& wave);
  void read(std::span<const int32_t> pictures, const Reading& what);
  void hold_motion(int32_t picture, Node& node, const MotionView& view, bool must);
  void hold_residual(Node& node, const MotionView& view, bool must);
  void ensure_motion(Nodes::iterator first);
  void ensure_residual(Nodes::iterator first);
  void let_go(Node& node);

  bool trace_now(int32_t picture, Node& node, const MotionView& view);
  void trace_later(int32_t picture, Node& node);
  int64_t trace_rows(const kernels::TraceJob& job) const;
  kernels::TraceJob make_job(int32_t picture, const Node& node, const int16_t* residual_y,
                             const int16_t* residual_uv);
  // Adds a source to those of the picture being traced, and to what is known of its map.
  void add_source(const SelectedSource& selected, Node& node);
  // Whether maps need not say where their traces ended.
  bool is_bare() const;
  void want_box();
  void want_sources(const Node& node);
  void finish(Node& node, const SelectedMotion& motion, int64_t clipped);
  void share(Node& node) const;
  void repack(Node& node);
  void drop_words(Node& node);
  void record(const kernels::TraceJob& job, Node& node);
  void release(const Node& node);

  int64_t luma() const {
    return int64_t{result_.geometry.coded_width} * result_.geometry.coded_height;
  }
  int64_t motion_bytes() const {
    return luma() / 16 * static_cast<int64_t>(sizeof(kernels::BlockMotion));
  }
  int64_t residual_bytes() const { return luma() * (rows_.layout.residual_uv ? 3 : 2); }

  MotionProvider& provider_;
  const AccumulateOptions& options_;
  Fates fates_;
  AccumulateResult& result_;
  const ResultRows& rows_;
  MapPool& pool_;
  const kernels::TraceKernels& kernels_;
  Nodes nodes_;
  std::vector<kernels::Source> sources_;  // of the picture being traced
  bool may_be_bare_ = false;              // if nothing turns out to be void
  bool bare_ = false;                     // maps carry sums alone
  int some_ = 0;                          // block rows selected at a time
  BlockArray some_rows_;                  // of its blocks
  std::vector<uint8_t> shapes_;           // MotionShape of its macroblocks
  std::deque<int32_t> packed_;  // grid=4: pictures traced when they were read, words still there
  int64_t motion_held_ = 0;     // bytes
  int64_t residual_held_ = 0;   // bytes
};

}  // namespace cvdecode
