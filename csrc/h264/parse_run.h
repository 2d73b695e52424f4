// One call of the parser: a set of pictures, and the chain of co-located pictures behind them.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <deque>
#include <exception>
#include <map>
#include <memory>
#include <mutex>
#include <span>
#include <string>
#include <vector>

#include "h264/mv_prediction.h"
#include "h264/parser.h"
#include "h264/picture_planes.h"
#include "h264/slice_decoder.h"
#include "h264/slice_places.h"

namespace cvdecode::h264 {

bool all_intra(const PictureEntry& entry);
// Slice numbers of macroblocks have 16 bits.
bool is_readable(const PictureEntry& entry);
bool same_size(const PictureEntry& a, const PictureEntry& b);

struct ParserState::Worker {
  SliceDecoder decoder;
  MotionScratch motion;
  std::vector<uint8_t> rbsp;
};

// Threads take slices in decode order. A B slice that looks at a picture which is not finished is
// parked there once it is entropy-decoded, and its thread takes another one: nobody waits while
// there is work. A co-located picture that nobody asked for is parsed at once (a picture of the
// chain), unless it lies too many steps from what was asked for: its B slices are deferred, and
// when all else is done the rest of the chain is taken from the headers and worked off from its
// oldest end, which bounds what must be held.
class ParseRun {
 public:
  ParseRun(ParserState& state, PlaneMask planes, Clip& clip, bool intra_modes);

  // In the order of decode numbers.
  void add(const PictureRow& row);
  // How many pictures may have to be held at once, those of the chain included.
  size_t pictures() const { return jobs_.size() + reachable_.size(); }
  void run();
  ParsedPtr keep;  // set by run() when intra_modes: the last picture added

 private:
  enum class Progress : uint8_t { kWaiting, kDone, kDeferred };
  enum class Outcome : uint8_t { kDone, kParked, kDeferred };

  struct Job;
  struct Unit {
    Job* job = nullptr;
    int slice = 0;
    bool decode = false;  // entropy decoding is still to be done
    std::span<const uint8_t> rbsp;
    bool readable = true;
    ParsedPtr colocated;  // set when it is at hand
  };
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
    SlicePlaces places;
    std::vector<int> todo;      // slices of the next pass
    std::vector<int> deferred;  // slices left to the last pass
    std::vector<Unit> parked;   // slices of other pictures that look at this one
    bool decoded = false;       // entropy decoding is done
    int slices_left = 0;
    // In the last pass:
    int users = 0;                  // how often it stands in looks_at of jobs not finished yet
    std::vector<int32_t> looks_at;  // co-located pictures
    Progress progress = Progress::kWaiting;
  };

  Job& add_job(int32_t picture);
  Job& add_chain(int32_t picture);

  // Which slice when, and by whom (parse_schedule.cc).
  void reach(int32_t picture, int steps);
  void pass(std::vector<Job*> jobs);
  void last_pass();
  void append_units(Job& job, std::deque<Unit>& units);
  void work(ParserState::Worker& worker);
  bool claim(ParserState::Worker& worker, Unit* unit);
  void read_slice(ParserState::Worker& worker, Unit& unit);
  void process(ParserState::Worker& worker, Unit& unit);
  Outcome find_colocated(Unit& unit, bool needed, Colocated* found);
  bool settle(Job& job);
  void unpark(Job& job);
  // The co-located picture of a B slice as the headers say; -1 = none or all intra.
  int32_t colocated_number(int32_t picture, int slice) const;

  // What is done with one.
  void start(Job& job);
  void replay(Job& job);
  void decode(ParserState::Worker& worker, const Unit& unit);
  Outcome derive(ParserState::Worker& worker, Unit& unit);
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
  // Pictures that may be parsed for the chain before the last pass, and how many steps from there.
  std::map<int32_t, int> reachable_;
  bool last_ = false;  // in the last pass
  std::exception_ptr failure_;
  std::mutex mutex_;                 // of what follows, and of the state of jobs
  std::condition_variable changed_;  // there is a unit to take, or nothing is left
  std::deque<Unit> units_;           // not taken yet, in decode order
  std::deque<Unit> ready_;           // to be taken first: unparked, or of the chain
  size_t parked_ = 0;
  size_t left_ = 0;     // units of this pass that are not done
  std::mutex reading_;  // of the packets, of what follows, and of beginning a picture
  int64_t packet_number_ = -1;
  std::span<const uint8_t> packet_;
};

}  // namespace cvdecode::h264
