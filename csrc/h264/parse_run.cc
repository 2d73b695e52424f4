#include "h264/parse_run.h"

#include <algorithm>

namespace cvdecode::h264 {

bool all_intra(const PictureEntry& entry) {
  return std::all_of(entry.slices.begin(), entry.slices.end(),
                     [](const SliceEntry& s) { return s.header.slice_type == kSliceI; });
}

bool is_readable(const PictureEntry& entry) {
  return !entry.slices.empty() && entry.slices.size() < kNoSlice;
}

bool same_size(const PictureEntry& a, const PictureEntry& b) {
  const Sps& x = *a.slices.front().sets.sps;
  const Sps& y = *b.slices.front().sets.sps;
  return x.PicWidthInMbs() == y.PicWidthInMbs() && x.FrameHeightInMbs() == y.FrameHeightInMbs();
}

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
  if (!is_readable(entry)) {
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
  const bool again = job.out.wants_residual() || intra_modes_;
  const ParsedPtr kept = again ? nullptr : state_.cache.find(row.picture);
  if (kept && (!job.out.bits || kept->has_bits) && (!job.want_motion || kept->has_motion)) {
    job.parsed = kept;
    job.replay = true;
    job.todo = {-1};
  } else if (job.want_motion) {
    reach(row.picture, state_.max_steps);
  }
}

void ParseRun::start(Job& job) {
  ParsedPtr parsed;
  {
    const std::lock_guard lock(mutex_);
    parsed = state_.cache.acquire();
  }
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
  job.places.start(*job.entry, p.syntax.PicSizeInMbs());
  const std::lock_guard lock(mutex_);
  job.parsed = std::move(parsed);
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
  const int end = job.places.mb_end(unit.slice);
  const Sps& first = *job.entry->slices.front().sets.sps;
  const Sps& own = *slice.sets.sps;
  const char* why = nullptr;
  if (!unit.readable) why = "the NAL unit is cut";
  const bool taken = slice.header.first_mb_in_slice >= end;  // by another that begins there
  if (taken || slice.header.first_mb_in_slice < 0) why = "first_mb_in_slice";
  if (own.PicWidthInMbs() != first.PicWidthInMbs() ||
      own.FrameHeightInMbs() != first.FrameHeightInMbs()) {
    why = "its parameter set gives another size";
  }
  if (why != nullptr) {
    syntax.damaged = true;
    syntax.ran_on = taken && unit.readable;
    syntax.damage = why;
    syntax.first_mb = slice.header.first_mb_in_slice;
    syntax.mb_count = 0;
    return;
  }
  worker.decoder.decode(slice.header, slice.sets, unit.rbsp, unit.slice, end, targets(job),
                        job.parsed->syntax);
}

PlaneSink ParseRun::sink(const Job& job, int slice) const {
  const PictureSyntax& syntax = job.parsed->syntax;
  const auto s = static_cast<size_t>(slice);
  return {syntax.PicWidthInMbs, syntax.PicHeightInMbs, syntax.macroblocks.data(),
          s < job.labels.size() ? &job.labels[s] : nullptr, job.out};
}

// Vectors of one slice, and its rows of the planes.
ParseRun::Outcome ParseRun::derive(ParserState::Worker& worker, Unit& unit) {
  Job& job = *unit.job;
  const int slice = unit.slice;
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
    return Outcome::kDone;
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
  // A picture outside the call is not parsed on suspicion: many slices have no block that looks at
  // it.
  if (slice_type == kSliceB) {
    const Outcome outcome = find_colocated(unit, false, &input.colocated);
    if (outcome != Outcome::kDone) return outcome;
  }
  int lost = 0;
  auto status = derive_motion(input, worker.motion, p.motion, to, &lost);
  if (status == MotionStatus::kNeedsColocated) {
    const Outcome outcome = find_colocated(unit, true, &input.colocated);
    if (outcome != Outcome::kDone) return outcome;
    lost = 0;
    status = derive_motion(input, worker.motion, p.motion, to, &lost);
  }
  if (lost > 0) {
    const std::lock_guard lock(mutex_);
    p.lost_blocks += lost;
  }
  return Outcome::kDone;
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
  unpark(job);
  release(job);
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
