// The work of accumulation over frames that share one wanted anchor: which pictures the chain
// needs, their motion, their maps in decode order.
#pragma once

#include <cstdint>
#include <map>
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
    SelectedMotion motion;
    std::vector<int16_t> residual_y, residual_uv;  // held while the budget lasts
    bool needed = false;
    bool read = false;
    int uses = 0;       // pictures still to come that look at this map
    int64_t row = -1;   // of the result, -1 = nobody asked for it
    int32_t step = -1;  // of a plan
    MapPool::Loan loan;
    kernels::Map map;
    bool may_void = false;  // some cell of the map may be broken or cut
    int32_t reach = 0;      // no displacement of the map is larger
  };
  using Nodes = std::map<int32_t, Node>;  // by decode number

  void gather(std::span<const WantedFrame> frames);
  void add_hints(std::vector<int32_t>& wave);
  void read(std::vector<int32_t> pictures, bool motion, bool residual);
  void trace(int32_t picture, Node& node);
  void record(const kernels::TraceJob& job, Node& node);
  void ensure_residual(Nodes::iterator first);
  void release(const Node& node);

  MotionProvider& provider_;
  const AccumulateOptions& options_;
  Fates fates_;
  AccumulateResult& result_;
  const ResultRows& rows_;
  MapPool& pool_;
  const kernels::TraceKernels& kernels_;
  Nodes nodes_;
  std::vector<kernels::Source> sources_;  // of the picture being traced
  int64_t residual_held_ = 0;             // bytes
};

}  // namespace cvdecode
