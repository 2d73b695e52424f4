#include "h264/slice_decoder.h"

#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include "base/error.h"
#include "h264/residual.h"
#include "h264/slice_data_damage.h"
#include "h264/slice_data_run.h"

namespace cvdecode::h264 {
namespace {

[[noreturn]] void unsupported(const std::string& what) {
  throw Error(ErrorKind::kUnsupported, "slice data: " + what);
}

void check_scope(const SliceHeader& header, const Sps& sps, const Pps& pps) {
  if (header.slice_type > kSliceI) {
    unsupported("slice_type " + std::to_string(header.slice_type));
  }
  if (header.field_pic_flag) unsupported("field_pic_flag 1");
  if (sps.mb_adaptive_frame_field_flag) unsupported("mb_adaptive_frame_field_flag 1");
  if (pps.num_slice_groups_minus1 != 0) {
    unsupported("num_slice_groups_minus1 " + std::to_string(pps.num_slice_groups_minus1));
  }
  if (header.nal_unit_type != 1 && header.nal_unit_type != 5) {
    unsupported("nal_unit_type " + std::to_string(header.nal_unit_type));
  }
}

// Gives the macroblocks [first_mb, end) back as lost.
void lose(const SliceJob& job, int end) {
  for (int address = std::max(job.first_mb, 0); address < end; ++address) {
    const auto at = static_cast<size_t>(address);
    job.picture->macroblocks[at] = Macroblock{};
    if (job.bits != nullptr) job.bits[at] = 0;
    if (job.intra_modes != nullptr) job.intra_modes[at] = kNoIntraModes;
    if (job.residual != nullptr) {
      job.residual->start_macroblock(address, address % job.width, address / job.width);
      job.residual->finish_macroblock();
    }
  }
}

}  // namespace

void PictureSyntax::start(const Sps& sps, int slice_count, bool want_intra_modes) {
  if (sps.chroma_format_idc > 1 || sps.separate_colour_plane_flag) {
    unsupported("chroma_format_idc " + std::to_string(sps.chroma_format_idc));
  }
  if (sps.bit_depth_luma_minus8 != 0) {
    unsupported("bit_depth_luma_minus8 " + std::to_string(sps.bit_depth_luma_minus8));
  }
  // 7.4.2.1.1: not used where there is no chroma.
  if (sps.bit_depth_chroma_minus8 != 0 && sps.chroma_format_idc != 0) {
    unsupported("bit_depth_chroma_minus8 " + std::to_string(sps.bit_depth_chroma_minus8));
  }
  PicWidthInMbs = sps.PicWidthInMbs();
  PicHeightInMbs = sps.FrameHeightInMbs();
  const auto size = static_cast<size_t>(PicSizeInMbs());
  macroblocks.resize(size);  // every record is written as a whole, or by clear_unreached()
  intra_modes.assign(want_intra_modes ? size : 0, kNoIntraModes);
  slices.resize(static_cast<size_t>(slice_count));
  for (SliceSyntax& slice : slices) {
    slice.mvd.clear();
    slice.first_mb = 0;
    slice.mb_count = 0;
    slice.residual_lost = 0;
    slice.damaged = false;
    slice.ran_on = false;
    slice.damage = "";
  }
}

struct SliceDecoder::State {
  CabacScratch cabac;
  CavlcScratch cavlc;
  ResidualWriter residual;
  std::vector<IntraModeEdge> modes_above;
  std::vector<ResidualMask> written;
  bool count_branches = false;
};

SliceDecoder::SliceDecoder() : state_(std::make_unique<State>()) {}
SliceDecoder::~SliceDecoder() = default;
SliceDecoder::SliceDecoder(SliceDecoder&&) noexcept = default;
SliceDecoder& SliceDecoder::operator=(SliceDecoder&&) noexcept = default;

void SliceDecoder::count_branches(bool on) { state_->count_branches = on; }

void SliceDecoder::decode(const SliceHeader& header, const ParameterSets& sets,
                          std::span<const uint8_t> rbsp, int slice_index, int mb_end,
                          const SliceTargets& targets, PictureSyntax& picture) {
  const Sps& sps = *sets.sps;
  const Pps& pps = *sets.pps;
  check_scope(header, sps, pps);
  SliceSyntax& slice = picture.slices[static_cast<size_t>(slice_index)];
  slice.mvd.clear();
  slice.first_mb = header.first_mb_in_slice;
  slice.mb_count = 0;
  slice.residual_lost = 0;
  slice.damaged = false;
  slice.ran_on = false;
  slice.damage = "";

  SliceJob job;
  job.header = &header;
  job.sps = &sps;
  job.pps = &pps;
  job.rbsp = rbsp;
  job.picture = &picture;
  job.slice = &slice;
  job.bits = targets.bits;
  job.width = picture.PicWidthInMbs;
  job.first_mb = header.first_mb_in_slice;
  job.mb_end = std::min(mb_end, picture.PicSizeInMbs());
  job.slice_index = slice_index;
  job.address = job.first_mb;
  if (targets.intra_modes && !picture.intra_modes.empty()) {
    job.intra_modes = picture.intra_modes.data();
  }
  const bool wants_residual = targets.residual.y != nullptr || targets.residual.u != nullptr;
  if (wants_residual) {
    state_->residual.start_slice(targets.residual, sps, pps);
    job.residual = &state_->residual;
  }
  // Prediction modes steer transform bypass (8.5.15), nothing else in here.
  if (job.intra_modes != nullptr || (wants_residual && sps.qpprime_y_zero_transform_bypass_flag)) {
    job.modes_above = &state_->modes_above;
  }

  try {
    if (job.first_mb < 0 || job.first_mb >= job.mb_end) damage("first_mb_in_slice");
    if (header.SliceQPY < 0 || header.SliceQPY > 51) damage("slice_qp_delta");
    if (picture.PicWidthInMbs != sps.PicWidthInMbs() ||
        picture.PicHeightInMbs != sps.FrameHeightInMbs()) {
      damage("seq_parameter_set_id");
    }
    job.mb_x = job.first_mb % job.width;
    job.mb_y = job.first_mb / job.width;
    if (state_->count_branches && wants_residual) {
      if (pps.entropy_coding_mode_flag) {
        run_cabac<CountCoverage>(job, state_->cabac);
      } else {
        run_cavlc<CountCoverage>(job, state_->cavlc);
      }
    } else if (pps.entropy_coding_mode_flag) {
      run_cabac<NoCoverage>(job, state_->cabac);
    } else {
      run_cavlc<NoCoverage>(job, state_->cavlc);
    }
    slice.mb_count = job.address - job.first_mb;
    if (wants_residual) slice.residual_lost = state_->residual.macroblocks_lost();
  } catch (const SliceDamage& reason) {
    slice.damaged = true;
    slice.ran_on = reason.ran_on;
    slice.damage = reason.element;
    slice.mvd.clear();
    if (job.address < job.mb_end) {
      if (job.residual != nullptr) job.residual->abandon_macroblock();
      lose(job, job.address + 1);
    } else {
      lose(job, job.address);
    }
  }
}

void clear_unreached(PictureSyntax& picture, const SliceTargets& targets) {
  std::vector<std::pair<int, int>> whole;  // [first, second)
  for (const SliceSyntax& slice : picture.slices) {
    if (slice.damaged || slice.mb_count == 0) continue;
    whole.emplace_back(slice.first_mb, slice.first_mb + slice.mb_count);
  }
  std::sort(whole.begin(), whole.end());
  int next = 0;
  const auto lose_up_to = [&](int address) {
    for (; next < address; ++next) picture.macroblocks[static_cast<size_t>(next)] = Macroblock{};
  };
  for (const auto& [first, end] : whole) {
    lose_up_to(first);
    next = end;
  }
  lose_up_to(picture.PicSizeInMbs());
  ResidualWriter writer;
  writer.start_clearing(targets.residual);
  for (int address = 0; address < picture.PicSizeInMbs(); ++address) {
    const auto at = static_cast<size_t>(address);
    if (picture.macroblocks[at].mb_type != MbType::kLost) continue;
    if (targets.bits != nullptr) targets.bits[at] = 0;
    writer.start_macroblock(address, address % picture.PicWidthInMbs,
                            address / picture.PicWidthInMbs);
    writer.finish_macroblock();
  }
}

}  // namespace cvdecode::h264
