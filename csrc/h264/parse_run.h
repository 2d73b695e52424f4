// One call of the parser: a set of pictures, and the chain of co-located pictures behind them.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <exception>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <span>
#include <string>
#include <vector>

#include "h264/mv_prediction.h"
#include "h264/parser.h"
#include "h264/picture_planes.h"
#include "h264/slice_decoder.h"

namespace cvdecode::h264 {

struct ParserState::Worker {
  SliceDecoder decoder;
  MotionScratch motion;
  std::vector<uint8_t> rbsp;
  ParsedPtr colocated;  // keeps the co-located picture alive while a slice is derived
};

// Threads take slices in decode order, so a slice only ever waits for one that was taken before.
// A B slice whose co-located picture is not at hand is put off (deferred), the missing pictures are
// parsed in a pass of their own, and so on; after a few such passes the rest of the chain is taken
// from the headers and worked off from its oldest end, which bounds what must be held.
class ParseRun {
 public:
  ParseRun(ParserState& state, PlaneMask planes, Clip& clip, bool intra_modes);

  void add(const PictureRow& row);
  void run();
  ParsedPtr keep;  // set by run() when intra_modes: the last picture added

 private:
  enum class Progress : uint8_t { kWaiting, kDone, kDeferred };

  struct Job {
    int32_t picture = -1;
    const PictureEntry* entry = nullptr;
    bool chain = false;        // parsed only because another picture looks at it
    bool want_motion = false;  // and not all of its slices are I
    bool replay = false;       // nothing to decode: `parsed` comes from the cache
    int64_t row = -1;
    PlaneRow out;
    ParsedPtr parsed;
    std::vector<SliceLabels> labels;
    std::vector<int> mb_end;    // per slice: no macroblock from here on is its
    std::vector<int> todo;      // slices of the next pass
    std::vector<int> deferred;  // slices put off in this pass
    bool decoded = false;       // entropy decoding is done
    int slices_left = 0;
    // In the last pass:
    int users = 0;                  // how often it stands in looks_at of jobs not finished yet
    std::vector<int32_t> looks_at;  // co-located pictures
    Progress progress = Progress::kWaiting;
  };
  struct Unit {
    Job* job = nullptr;
    int slice = 0;
    bool decode = false;
    std::span<const uint8_t> rbsp;
    bool readable = true;
  };

  Job& add_job(int32_t picture);
  Job& add_chain(int32_t picture);
  void pass(std::vector<Job*> jobs);
  void last_pass();
  void work(ParserState::Worker& worker);
  bool claim(ParserState::Worker& worker, Unit* unit);
  void start(Job& job);
  void process(ParserState::Worker& worker, const Unit& unit);
  void replay(Job& job);
  void decode(ParserState::Worker& worker, const Unit& unit);
  bool derive(ParserState::Worker& worker, Job& job, int slice);
  Colocated colocated(ParserState::Worker& worker, const Job& job, int slice, bool wait);
  // The co-located picture of a B slice as the headers say; -1 = none or all intra.
  int32_t colocated_number(const Job& job, int slice) const;
  PlaneSink sink(const Job& job, int slice) const;
  void write_gaps(Job& job);
  SliceTargets targets(Job& job) const;
  void finish(Job& job);
  void release(Job& job);
  std::string describe_damage(const Job& job, int* slices_lost) const;

  ParserState& state_;
  const PlaneMask planes_;
  Clip& clip_;
  const bool intra_modes_;
  std::map<int32_t, std::unique_ptr<Job>> jobs_;
  std::vector<Unit> units_;
  size_t next_ = 0;
  bool last_ = false;  // in the last pass
  std::mutex mutex_;
  std::condition_variable changed_;
  std::exception_ptr failure_;
  std::set<int32_t> missing_;  // co-located pictures that are not at hand
  int64_t packet_number_ = -1;
  std::span<const uint8_t> packet_;
};

}  // namespace cvdecode::h264
