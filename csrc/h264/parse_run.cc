#include "h264/parse_run.h"

#include <algorithm>

#include "base/error.h"
#include "bitstream/nal.h"

namespace cvdecode::h264 {
namespace {

bool all_intra(const PictureEntry& entry) {
  return std::all_of(entry.slices.begin(), entry.slices.end(),
                     [](const SliceEntry& s) { return s.header.slice_type == kSliceI; });
}

// Slice numbers of macroblocks have 16 bits.
bool readable(const PictureEntry& entry) {
  return !entry.slices.empty() && entry.slices.size() < kNoSlice;
}

bool same_size(const PictureEntry& a, const PictureEntry& b) {
  const Sps& x = *a.slices.front().sets.sps;
  const Sps& y = *b.slices.front().sets.sps;
  return x.PicWidthInMbs() == y.PicWidthInMbs() && x.FrameHeightInMbs() == y.FrameHeightInMbs();
}

}  // namespace

ParseRun::ParseRun(ParserState& state, PlaneMask planes, Clip& clip, bool intra_modes)
    : state_(state), planes_(planes), clip_(clip), intra_modes_(intra_modes) {}

ParseRun::Job& ParseRun::add_job(int32_t picture) {
  auto& job = jobs_[picture];
  job = std::make_unique<Job>();
  job->picture = picture;
  job->entry = &state_.native->pictures[static_cast<size_t>(picture)];
  for (size_t s = 0; s < job->entry->slices.size(); ++s) job->todo.push_back(static_cast<int>(s));
  return *job;
}

ParseRun::Job& ParseRun::add_chain(int32_t picture) {
  Job& job = add_job(picture);
  job.chain = true;
  job.want_motion = true;
  return job;
}

void ParseRun::add(const PictureRow& row) {
  const PictureEntry& entry = state_.native->pictures[static_cast<size_t>(row.picture)];
  std::string why;
  if (!readable(entry)) {
    why = entry.slices.empty() ? "no slice of the picture could be read" : "too many slices";
  } else {
    const Sps& sps = *entry.slices.front().sets.sps;
    if (sps.PicWidthInMbs() != clip_.geometry.w16() ||
        sps.FrameHeightInMbs() != clip_.geometry.h16()) {
      why = "the picture's size is not that of its segment";
    }
  }
  if (!why.empty()) {
    clip_.fill_lost(row.row, planes_);
    state_.stats.damage.emplace(row.picture, why);
    return;
  }
  Job& job = add_job(row.picture);
  job.row = row.row;
  job.out = PlaneRow::of(clip_, row.row, planes_);
  job.want_motion = job.out.wants_motion() && !all_intra(entry);
  if (job.out.wants_residual() || intra_modes_) return;
  const ParsedPtr kept = state_.cache.find(row.picture);
  if (kept && (!job.out.bits || kept->has_bits) && (!job.want_motion || kept->has_motion)) {
    job.parsed = kept;
    job.replay = true;
    job.todo = {-1};
  }
}

void ParseRun::run() {
  std::vector<Job*> jobs;
  for (auto& [number, job] : jobs_) jobs.push_back(job.get());
  pass(jobs);
  for (int i = 1; i < state_.max_passes && !missing_.empty(); ++i) {
    jobs.clear();
    for (const int32_t number : missing_) jobs.push_back(&add_chain(number));
    missing_.clear();
    pass(jobs);
  }
  last_pass();
}

void ParseRun::pass(std::vector<Job*> jobs) {
  std::sort(jobs.begin(), jobs.end(),
            [](const Job* a, const Job* b) { return a->picture < b->picture; });
  units_.clear();
  next_ = 0;
  for (Job* job : jobs) {
    for (const int s : job->todo) {
      Unit unit;
      unit.job = job;
      unit.slice = s;
      unit.decode = !job->decoded && !job->replay;
      units_.push_back(unit);
    }
    job->slices_left = static_cast<int>(job->todo.size());
    job->progress = Progress::kWaiting;
    job->todo.clear();
  }
  const int threads = std::min(state_.pool.size(), static_cast<int>(units_.size()));
  while (static_cast<int>(state_.workers.size()) < threads) {
    state_.workers.push_back(std::make_unique<ParserState::Worker>());
  }
  state_.pool.run(threads, [this](int i) { work(*state_.workers[static_cast<size_t>(i)]); });
  if (failure_) std::rethrow_exception(failure_);
}

// Everything that was put off, and all that the headers say it may look at.
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
      const int32_t number = colocated_number(job, s);
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
  worker.colocated.reset();
}

bool ParseRun::claim(ParserState::Worker& worker, Unit* unit) {
  const std::lock_guard lock(mutex_);
  if (failure_ || next_ == units_.size()) return false;
  *unit = units_[next_++];
  if (!unit->decode) return true;
  Job& job = *unit->job;
  if (!job.parsed) start(job);
  const SliceEntry& slice = job.entry->slices[static_cast<size_t>(unit->slice)];
  if (slice.packet != packet_number_) {
    packet_number_ = -1;
    packet_ = state_.packets.read_packet(slice.packet).data;
    packet_number_ = slice.packet;
    ++state_.stats.packets_read;
  }
  try {
    unit->rbsp = nal_rbsp(packet_, slice.offset, slice.size, worker.rbsp);
  } catch (const Error& e) {
    if (e.kind() != ErrorKind::kCorrupt) throw;
    unit->readable = false;
  }
  return true;
}

void ParseRun::start(Job& job) {
  const ParsedPtr parsed = state_.cache.acquire();
  ParsedPicture& p = *parsed;
  const Sps& sps = *job.entry->slices.front().sets.sps;
  p.picture = job.picture;
  p.damage.clear();
  p.lost_blocks = 0;
  p.syntax.start(sps, static_cast<int>(job.entry->slices.size()), intra_modes_);
  p.has_motion = job.want_motion;
  if (job.want_motion) {
    // Kept where a later picture may look at it, or whoever debugs.
    const bool keep_arrays =
        job.chain || intra_modes_ ||
        state_.last_colocated_use[static_cast<size_t>(job.picture)] > job.picture;
    p.motion.reset(*job.entry, keep_arrays);
    if (!job.chain) make_labels(state_.index, job.picture, p.motion, job.labels);
  }
  p.has_bits = job.chain && has(planes_, Plane::kBits);
  if (p.has_bits) p.bits.resize(static_cast<size_t>(p.syntax.PicSizeInMbs()));
  // A slice ends where any later one begins, so that no two ever write to one macroblock, whatever
  // damage has done to their order.
  job.mb_end.resize(job.entry->slices.size());
  int end = p.syntax.PicSizeInMbs();
  for (size_t s = job.entry->slices.size(); s-- > 0;) {
    job.mb_end[s] = end;
    end = std::min(end, job.entry->slices[s].header.first_mb_in_slice);
  }
  job.parsed = parsed;
}

void ParseRun::process(ParserState::Worker& worker, const Unit& unit) {
  Job& job = *unit.job;
  bool deferred = false;
  if (job.replay) {
    replay(job);
  } else {
    if (unit.decode) decode(worker, unit);
    const auto& syntax = job.parsed->syntax.slices[static_cast<size_t>(unit.slice)];
    if (!syntax.damaged) {
      deferred = !derive(worker, job, unit.slice);
    }
  }
  {
    const std::lock_guard lock(mutex_);
    if (unit.decode) ++state_.stats.slices_parsed;
    if (deferred) job.deferred.push_back(unit.slice);
    if (--job.slices_left > 0) return;
    if (unit.decode) {
      job.decoded = true;
      ++state_.stats.pictures_parsed;
    }
    if (!job.deferred.empty()) {
      job.progress = Progress::kDeferred;
      changed_.notify_all();
      return;
    }
  }
  finish(job);
}

SliceTargets ParseRun::targets(Job& job) const {
  SliceTargets t;
  t.intra_modes = intra_modes_;
  t.bits = job.parsed->has_bits ? job.parsed->bits.data() : job.out.bits;
  if (!job.out.wants_residual()) return t;
  const ptrdiff_t width = job.parsed->syntax.PicWidthInMbs * 16;
  t.residual.y = job.out.residual_y;
  t.residual.y_stride = width;
  if (job.out.residual_uv != nullptr) {
    t.residual.u = job.out.residual_uv;
    t.residual.v = job.out.residual_uv + width / 2 * job.parsed->syntax.PicHeightInMbs * 8;
    t.residual.uv_stride = width / 2;
  }
  t.residual.written = job.out.residual_written;
  return t;
}

void ParseRun::decode(ParserState::Worker& worker, const Unit& unit) {
  Job& job = *unit.job;
  const SliceEntry& slice = job.entry->slices[static_cast<size_t>(unit.slice)];
  SliceSyntax& syntax = job.parsed->syntax.slices[static_cast<size_t>(unit.slice)];
  const int end = job.mb_end[static_cast<size_t>(unit.slice)];
  const Sps& first = *job.entry->slices.front().sets.sps;
  const Sps& own = *slice.sets.sps;
  const char* why = nullptr;
  if (!unit.readable) why = "the NAL unit is cut";
  if (slice.header.first_mb_in_slice < 0 || slice.header.first_mb_in_slice >= end) {
    why = "first_mb_in_slice";
  }
  if (own.PicWidthInMbs() != first.PicWidthInMbs() ||
      own.FrameHeightInMbs() != first.FrameHeightInMbs()) {
    why = "its parameter set gives another size";
  }
  if (why != nullptr) {
    syntax.damaged = true;
    syntax.damage = why;
    syntax.first_mb = slice.header.first_mb_in_slice;
    syntax.mb_count = 0;
    return;
  }
  worker.decoder.decode(slice.header, slice.sets, unit.rbsp, unit.slice, end, targets(job),
                        job.parsed->syntax);
}

int32_t ParseRun::colocated_number(const Job& job, int slice) const {
  const SliceEntry& s = job.entry->slices[static_cast<size_t>(slice)];
  if (s.header.slice_type != kSliceB || !job.entry->references_sure || s.RefPicList[1].empty()) {
    return -1;
  }
  const int32_t number = s.RefPicList[1].front().picture;
  if (number < 0 || number >= job.picture) return -1;
  const PictureEntry& entry = state_.native->pictures[static_cast<size_t>(number)];
  if (!readable(entry) || !same_size(entry, *job.entry) || all_intra(entry)) return -1;
  return number;
}

Colocated ParseRun::colocated(ParserState::Worker& worker, const Job& job, int slice, bool wait) {
  Colocated c;
  const int32_t number = colocated_number(job, slice);
  if (number < 0) {
    const int32_t id = job.parsed->motion.slices[static_cast<size_t>(slice)].picture[1][0];
    const bool known = id >= 0 && id < job.picture &&
                       readable(state_.native->pictures[static_cast<size_t>(id)]) &&
                       same_size(state_.native->pictures[static_cast<size_t>(id)], *job.entry);
    c.state = known ? Colocated::State::kIntra : Colocated::State::kMissing;
    return c;
  }
  std::unique_lock lock(mutex_);
  const auto found = jobs_.find(number);
  Job* other = found == jobs_.end() ? nullptr : found->second.get();
  if (other && wait) {
    changed_.wait(lock, [&] { return failure_ || other->progress != Progress::kWaiting; });
  }
  worker.colocated = nullptr;
  if (other && other->progress == Progress::kDone && other->parsed && other->parsed->has_motion) {
    worker.colocated = other->parsed;
  } else if (!other || other->progress == Progress::kDone) {
    const ParsedPtr kept = state_.cache.find(number);
    if (kept && kept->has_motion) {
      worker.colocated = kept;
    } else if (wait) {
      missing_.insert(number);
    }
  }
  if (worker.colocated) {
    c.state = Colocated::State::kMotion;
    c.motion = &worker.colocated->motion;
  } else {
    c.state = Colocated::State::kUnresolved;
  }
  return c;
}

PlaneSink ParseRun::sink(const Job& job, int slice) const {
  const PictureSyntax& syntax = job.parsed->syntax;
  const auto s = static_cast<size_t>(slice);
  return {syntax.PicWidthInMbs, syntax.PicHeightInMbs, syntax.macroblocks.data(),
          s < job.labels.size() ? &job.labels[s] : nullptr, job.out};
}

// Vectors of one slice, and its rows of the planes. False: put off, because the co-located picture
// is not at hand.
bool ParseRun::derive(ParserState::Worker& worker, Job& job, int slice) {
  const auto s = static_cast<size_t>(slice);
  ParsedPicture& p = *job.parsed;
  const SliceSyntax& syntax = p.syntax.slices[s];
  const SliceType slice_type = job.entry->slices[s].header.slice_type;
  PlaneSink rows = sink(job, slice);
  if (!job.want_motion || slice_type == kSliceI) {
    if (job.want_motion && p.motion.kept) {
      p.motion.set_still(syntax.first_mb, syntax.mb_count, static_cast<uint16_t>(slice));
    }
    if (job.row >= 0) rows.still(syntax.first_mb, syntax.mb_count);
    return true;
  }
  SliceMotionInput input;
  input.entry = job.entry;
  input.slice = slice;
  input.pictures = state_.native->pictures;
  input.macroblocks = p.syntax.macroblocks;
  input.mvd = syntax.mvd;
  input.first_mb = syntax.first_mb;
  input.mb_count = syntax.mb_count;
  MotionSink* const to = job.row >= 0 ? &rows : nullptr;
  // Without waiting first: many slices have no block that looks at the co-located picture.
  if (slice_type == kSliceB) input.colocated = colocated(worker, job, slice, false);
  int lost = 0;
  auto status = derive_motion(input, worker.motion, p.motion, to, &lost);
  if (status == MotionStatus::kNeedsColocated) {
    input.colocated = colocated(worker, job, slice, true);
    if (input.colocated.state == Colocated::State::kUnresolved) return false;
    lost = 0;
    status = derive_motion(input, worker.motion, p.motion, to, &lost);
  }
  if (lost > 0) {
    const std::lock_guard lock(mutex_);
    p.lost_blocks += lost;
  }
  return true;
}

// Macroblocks that no slice gave.
void ParseRun::write_gaps(Job& job) {
  ParsedPicture& p = *job.parsed;
  const auto& mbs = p.syntax.macroblocks;
  const int all = p.syntax.PicSizeInMbs();
  PlaneSink rows = sink(job, 0);
  for (int mb = 0; mb < all;) {
    int end = mb;
    while (end < all && mbs[static_cast<size_t>(end)].mb_type == MbType::kLost) ++end;
    if (end == mb) {
      ++mb;
      continue;
    }
    if (p.has_motion && p.motion.kept) p.motion.set_still(mb, end - mb, kNoSlice);
    if (job.row >= 0) rows.still(mb, end - mb);
    mb = end;
  }
}

void ParseRun::replay(Job& job) {
  ParsedPicture& p = *job.parsed;
  if (job.want_motion) make_labels(state_.index, job.picture, p.motion, job.labels);
  if (job.out.bits != nullptr) {
    std::copy_n(p.bits.data(), static_cast<size_t>(p.syntax.PicSizeInMbs()), job.out.bits);
  }
  const PictureMotion& motion = p.motion;
  for (size_t s = 0; s < p.syntax.slices.size(); ++s) {
    const SliceSyntax& syntax = p.syntax.slices[s];
    if (syntax.damaged) continue;
    PlaneSink rows = sink(job, static_cast<int>(s));
    const int end = syntax.first_mb + syntax.mb_count;
    if (!job.want_motion || job.entry->slices[s].header.slice_type == kSliceI) {
      rows.still(syntax.first_mb, syntax.mb_count);
      continue;
    }
    for (int mb = syntax.first_mb; mb < end;) {
      const int y = mb / motion.width_mbs;
      const int x0 = mb % motion.width_mbs;
      const int x1 = std::min(motion.width_mbs, x0 + end - mb);
      MotionRows r;
      for (size_t list = 0; list < (motion.has_list1 ? 2 : 1); ++list) {
        r.mv[list] = motion.mv[list].data() + static_cast<ptrdiff_t>(y) * 4 * motion.w4();
        r.ref_idx[list] = motion.ref_idx[list].data() + static_cast<ptrdiff_t>(y) * 2 * motion.w8();
      }
      rows.row(y, x0, x1, r);
      for (const int row_end = mb + x1 - x0; mb < row_end; ++mb) {
        if (motion.slice[static_cast<size_t>(mb)] == kNoSlice) rows.lost(mb);
      }
    }
  }
}

std::string ParseRun::describe_damage(const Job& job, int* slices_lost) const {
  const PictureSyntax& syntax = job.parsed->syntax;
  std::string text;
  const auto add = [&](const std::string& s) { text += (text.empty() ? "" : "; ") + s; };
  int covered = 0;
  int last_good = 0;
  int residual_lost = 0;
  for (const SliceSyntax& s : syntax.slices) {
    if (s.damaged) {
      ++*slices_lost;
      if (*slices_lost <= 4) {
        add("slice at macroblock " + std::to_string(s.first_mb) + " lost: " + s.damage);
      }
    } else {
      covered += s.mb_count;
      last_good = s.first_mb + s.mb_count;
      residual_lost += job.replay ? 0 : s.residual_lost;  // of an earlier read that asked for it
    }
  }
  if (*slices_lost > 4) add(std::to_string(*slices_lost) + " slices lost in all");
  const int all = syntax.PicSizeInMbs();
  if (covered < all && *slices_lost == 0) {
    add(std::to_string(all - covered) + " macroblocks in no slice" +
        (last_good < all ? ", the last at the end" : ""));
  }
  if (residual_lost > 0) {
    add(std::to_string(residual_lost) + " macroblocks without residual: coefficients out of range");
  }
  if (job.parsed->lost_blocks > 0) {
    add(std::to_string(job.parsed->lost_blocks) +
        " macroblocks lost because their direct prediction looks at something lost");
  }
  return text;
}

void ParseRun::finish(Job& job) {
  int slices_lost = 0;
  ParsedPicture& p = *job.parsed;
  const std::string damage = describe_damage(job, &slices_lost);
  int covered = 0;
  for (const auto& s : p.syntax.slices) covered += s.damaged ? 0 : s.mb_count;
  if (covered < p.syntax.PicSizeInMbs()) {
    if (!job.replay) clear_unreached(p.syntax, targets(job));
    write_gaps(job);
  }
  const std::lock_guard lock(mutex_);
  if (!job.replay) p.damage = damage;
  if (!damage.empty() && state_.stats.damage.emplace(job.picture, damage).second) {
    state_.stats.slices_lost += slices_lost;
  }
  if (!damage.empty() && job.row >= 0) clip_.lost[static_cast<size_t>(job.row)] = 1;
  if (intra_modes_ && job.row >= 0) keep = job.parsed;
  job.progress = Progress::kDone;
  release(job);
  changed_.notify_all();
}

// Called with the lock held: keeps what a later picture may look at, lets go of the rest.
void ParseRun::release(Job& job) {
  const bool useful = job.parsed->has_motion && job.parsed->motion.kept;
  if (useful && !intra_modes_ && !job.replay) state_.cache.put(job.parsed);
  if (last_ ? job.users == 0 : !job.chain) job.parsed = nullptr;
  for (const int32_t number_seen : job.looks_at) {
    Job& other = *jobs_.at(number_seen);
    if (--other.users == 0 && other.progress == Progress::kDone) other.parsed = nullptr;
  }
}

}  // namespace cvdecode::h264
