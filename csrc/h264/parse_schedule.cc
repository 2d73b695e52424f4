// Which slice is parsed when, and by which thread.
#include <algorithm>

#include "base/error.h"
#include "bitstream/nal.h"
#include "h264/parse_run.h"

namespace cvdecode::h264 {
namespace {

// Decoded slices that wait for their co-located picture hold memory: above this many for each
// thread no new one is begun. A picture that they wait for is always begun already.
constexpr size_t kParkedPerThread = 8;

}  // namespace

void ParseRun::run() {
  std::vector<Job*> jobs;
  for (auto& [number, job] : jobs_) jobs.push_back(job.get());
  pass(jobs);
  last_pass();
}

// By the headers alone, so that what is parsed does not depend on the order in which threads ask.
void ParseRun::reach(int32_t picture, int steps) {
  if (steps <= 0) return;
  const auto& slices = state_.native->pictures[static_cast<size_t>(picture)].slices;
  for (size_t s = 0; s < slices.size(); ++s) {
    const int32_t number = colocated_number(picture, static_cast<int>(s));
    if (number < 0 || jobs_.contains(number)) continue;
    int& known = reachable_[number];
    if (known >= steps) continue;
    known = steps;
    reach(number, steps - 1);
  }
}

void ParseRun::pass(std::vector<Job*> jobs) {
  std::sort(jobs.begin(), jobs.end(),
            [](const Job* a, const Job* b) { return a->picture < b->picture; });
  for (Job* job : jobs) {
    if (!job->replay) append_units(*job, units_);
  }
  // Nothing waits for these: they fill the end, where threads run out of slices to decode.
  for (Job* job : jobs) {
    if (job->replay) append_units(*job, units_);
  }
  const int threads = std::min(state_.pool.size(), static_cast<int>(units_.size()));
  while (static_cast<int>(state_.workers.size()) < threads) {
    state_.workers.push_back(std::make_unique<ParserState::Worker>());
  }
  state_.pool.run(threads, [this](int i) { work(*state_.workers[static_cast<size_t>(i)]); });
  if (failure_) std::rethrow_exception(failure_);
}

void ParseRun::append_units(Job& job, std::deque<Unit>& units) {
  for (const int s : job.todo) {
    Unit& unit = units.emplace_back();
    unit.job = &job;
    unit.slice = s;
    unit.decode = !job.decoded && !job.replay;
  }
  left_ += job.todo.size();
  job.slices_left = static_cast<int>(job.todo.size());
  job.progress = Progress::kWaiting;
  job.todo.clear();
}

// Everything that was deferred, and all that the headers say it may look at.
void ParseRun::last_pass() {
  std::vector<Job*> jobs;
  for (auto& [number, job] : jobs_) {
    if (job->progress == Progress::kDeferred) jobs.push_back(job.get());
  }
  for (size_t i = 0; i < jobs.size(); ++i) {  // grows as it goes
    Job& job = *jobs[i];
    if (job.decoded) {
      job.todo.swap(job.deferred);
      job.deferred.clear();
    }
    const std::vector<int> slices = job.todo;
    for (const int s : slices) {
      const int32_t number = colocated_number(job.picture, s);
      if (number < 0) continue;
      const auto found = jobs_.find(number);
      Job* other = found == jobs_.end() ? nullptr : found->second.get();
      const bool pending = other && (other->progress != Progress::kDone || !other->todo.empty());
      if (!pending && (!other || !other->parsed)) {
        const ParsedPtr kept = state_.cache.find(number);
        other = &add_chain(number);
        if (kept && kept->has_motion) {
          other->parsed = kept;
          other->todo.clear();
          other->progress = Progress::kDone;
        } else {
          jobs.push_back(other);
        }
      }
      ++other->users;
      job.looks_at.push_back(number);
    }
  }
  last_ = true;
  if (!jobs.empty()) pass(jobs);
}

void ParseRun::work(ParserState::Worker& worker) {
  try {
    Unit unit;
    while (claim(worker, &unit)) process(worker, unit);
  } catch (...) {
    const std::lock_guard lock(mutex_);
    if (!failure_) failure_ = std::current_exception();
    changed_.notify_all();
  }
}

bool ParseRun::claim(ParserState::Worker& worker, Unit* unit) {
  std::unique_lock lock(mutex_);
  const size_t most_parked = kParkedPerThread * static_cast<size_t>(state_.pool.size());
  std::deque<Unit>* from = nullptr;
  changed_.wait(lock, [&] {
    if (!ready_.empty()) {
      from = &ready_;
    } else if (!units_.empty() && parked_ < most_parked) {
      from = &units_;
    }
    return from != nullptr || failure_ || left_ == 0;
  });
  if (failure_ || left_ == 0) return false;
  *unit = std::move(from->front());
  from->pop_front();
  lock.unlock();
  if (unit->decode) read_slice(worker, *unit);
  return true;
}

// One thread at a time, while the others go on.
void ParseRun::read_slice(ParserState::Worker& worker, Unit& unit) {
  const std::lock_guard lock(reading_);
  Job& job = *unit.job;
  if (!job.parsed) {
    start(job);
    ++state_.stats.pictures_parsed;
  }
  ++state_.stats.slices_parsed;
  const SliceEntry& slice = job.entry->slices[static_cast<size_t>(unit.slice)];
  if (slice.packet != packet_number_) {
    packet_number_ = -1;
    packet_ = state_.packets.read_packet(slice.packet).data;
    packet_number_ = slice.packet;
    ++state_.stats.packets_read;
  }
  try {
    unit.rbsp = nal_rbsp(packet_, slice.offset, slice.size, worker.rbsp);
  } catch (const Error& e) {
    if (e.kind() != ErrorKind::kCorrupt) throw;
    unit.readable = false;
  }
}

void ParseRun::process(ParserState::Worker& worker, Unit& unit) {
  Job& job = *unit.job;
  Outcome outcome = Outcome::kDone;
  if (job.replay) {
    replay(job);
  } else {
    if (unit.decode) decode(worker, unit);
    unit.decode = false;
    const auto& syntax = job.parsed->syntax.slices[static_cast<size_t>(unit.slice)];
    if (!syntax.damaged) outcome = derive(worker, unit);
    if (outcome == Outcome::kParked) return;  // another thread may be at it by now
  }
  bool whole = false;
  {
    const std::lock_guard lock(mutex_);
    if (outcome == Outcome::kDeferred) job.deferred.push_back(unit.slice);
    if (--job.slices_left == 0 && !settle(job)) {
      job.decoded = !job.replay;
      whole = job.deferred.empty();
      if (!whole) {
        job.progress = Progress::kDeferred;
        unpark(job);
      }
    }
  }
  if (whole) finish(job);
  const std::lock_guard lock(mutex_);
  if (--left_ == 0) changed_.notify_all();
}

// Called with the lock held, when all slices at hand are done: true where some are to be decoded
// again, because another was in their way.
bool ParseRun::settle(Job& job) {
  if (job.decoded || job.replay) return false;
  auto& slices = job.parsed->syntax.slices;
  const std::vector<int> again = job.places.settle(slices);
  std::erase_if(job.deferred, [&](int s) { return slices[static_cast<size_t>(s)].damaged; });
  for (const int s : again) {
    Unit& unit = ready_.emplace_back();
    unit.job = &job;
    unit.slice = s;
    unit.decode = true;
  }
  left_ += again.size();
  job.slices_left = static_cast<int>(again.size());
  if (!again.empty()) changed_.notify_all();
  return !again.empty();
}

// Called with the lock held, when the picture is done or deferred.
void ParseRun::unpark(Job& job) {
  for (Unit& unit : job.parked) {
    if (job.progress == Progress::kDone && job.parsed->has_motion) unit.colocated = job.parsed;
    ready_.push_back(std::move(unit));
  }
  parked_ -= job.parked.size();
  if (!job.parked.empty()) changed_.notify_all();
  job.parked.clear();
}

int32_t ParseRun::colocated_number(int32_t picture, int slice) const {
  const auto& pictures = state_.native->pictures;
  const PictureEntry& own = pictures[static_cast<size_t>(picture)];
  const SliceEntry& s = own.slices[static_cast<size_t>(slice)];
  if (s.header.slice_type != kSliceB || !own.references_sure || s.RefPicList[1].empty()) return -1;
  const int32_t number = s.RefPicList[1].front().picture;
  if (number < 0 || number >= picture) return -1;
  const PictureEntry& entry = pictures[static_cast<size_t>(number)];
  if (!is_readable(entry) || !same_size(entry, own) || all_intra(entry)) return -1;
  return number;
}

// kDone: *found says what is known, which is enough where `needed`. Else the slice was parked, and
// belongs to whoever takes it next, or is to be deferred.
ParseRun::Outcome ParseRun::find_colocated(Unit& unit, bool needed, Colocated* found) {
  const Job& job = *unit.job;
  const int32_t number = colocated_number(job.picture, unit.slice);
  if (number < 0) {
    const auto& pictures = state_.native->pictures;
    const auto slice = static_cast<size_t>(unit.slice);
    const int32_t id = job.parsed->motion.slices[slice].picture[1][0];
    const bool known = id >= 0 && id < job.picture &&
                       is_readable(pictures[static_cast<size_t>(id)]) &&
                       same_size(pictures[static_cast<size_t>(id)], *job.entry);
    found->state = known ? Colocated::State::kIntra : Colocated::State::kMissing;
    return Outcome::kDone;
  }
  if (!unit.colocated) {
    const std::lock_guard lock(mutex_);
    const auto at = jobs_.find(number);
    Job* other = at == jobs_.end() ? nullptr : at->second.get();
    if (other && (other->progress == Progress::kDone || other->replay)) {
      if (other->parsed && other->parsed->has_motion) unit.colocated = other->parsed;
    }
    if (!unit.colocated && (!other || other->progress == Progress::kDone)) {
      const ParsedPtr kept = state_.cache.find(number);
      if (kept && kept->has_motion) {
        unit.colocated = kept;
      } else if (needed && !last_ && (other || reachable_.contains(number))) {
        other = &add_chain(number);
        append_units(*other, ready_);
        changed_.notify_all();
      }
    }
    if (!unit.colocated && other && other->progress == Progress::kWaiting) {
      ++parked_;
      other->parked.push_back(std::move(unit));
      return Outcome::kParked;
    }
  }
  if (!unit.colocated) {
    found->state = Colocated::State::kUnresolved;
    return needed ? Outcome::kDeferred : Outcome::kDone;
  }
  found->state = Colocated::State::kMotion;
  found->motion = &unit.colocated->motion;
  return Outcome::kDone;
}

}  // namespace cvdecode::h264
