// macroblock_layer(), mb_pred(), sub_mb_pred() (7.3.5): one macroblock, whatever the entropy coder.
#pragma once

#include <array>
#include <bit>
#include <cstdint>
#include <cstring>
#include <vector>

#include "h264/macroblock.h"
#include "h264/neighbours.h"
#include "h264/residual.h"
#include "h264/residual_layer.h"
#include "h264/slice_data_coverage.h"
#include "h264/slice_data_damage.h"
#include "h264/slice_data_job.h"
#include "h264/tables.h"

namespace cvdecode::h264 {

template <class Syntax, SliceType kType, bool kResidual, class Cover>
class MacroblockLayer {
  using Reader = typename Syntax::Reader;

 public:
  MacroblockLayer(SliceJob& job, Syntax& syntax)
      : job_(job),
        syntax_(syntax),
        residual_(job, syntax),
        next_mvd_(job.slice->mvd.data()),
        end_mvd_(next_mvd_),
        QPY_(job.header->SliceQPY),
        chroma_(job.sps->chroma_format_idc != 0) {
    if (job.modes_above != nullptr) {
      job.modes_above->assign(static_cast<size_t>(job.width), kNoModes);
    }
    modes_left_ = kNoModes;
    template_.slice = static_cast<uint16_t>(job.slice_index);
    template_.ref_idx[0].fill(kRefIdxNotUsed);
    template_.ref_idx[1].fill(kRefIdxNotUsed);
    skipped_ = template_;
    if constexpr (kType == kSliceP) {
      skipped_.mb_type = MbType::kPSkip;
      skipped_.pred.fill(kPredL0);
      skipped_.ref_idx[0].fill(kRefIdxDerived);
    } else {
      skipped_.mb_type = MbType::kBSkip;
      skipped_.pred.fill(kPredDirect);
      skipped_.ref_idx[0].fill(kRefIdxDerived);
      skipped_.ref_idx[1].fill(kRefIdxDerived);
    }
  }

  void start_row() { modes_left_ = kNoModes; }

  // After the last macroblock: the slice holds just the differences that were sent.
  void finish_slice() { job_.slice->mvd.resize(mvd_count()); }

  // P_Skip, B_Skip.
  void skip() {
    Macroblock& mb = job_.picture->macroblocks[static_cast<size_t>(job_.address)];
    mb = skipped_;
    mb.QPY = static_cast<int8_t>(QPY_);
    mb.first_mvd = mvd_count();
    leave_modes(inter_mode());
    if constexpr (kResidual) job_.residual->finish_macroblock();
  }

  [[gnu::always_inline]] void macroblock(Reader& reader) {
    mb_ = &job_.picture->macroblocks[static_cast<size_t>(job_.address)];
    *mb_ = template_;
    mb_->first_mvd = mvd_count();
    if (kType != kSliceI && end_mvd_ - next_mvd_ < kMaxMvd) grow_mvd();
    const int type = syntax_.template mb_type<kType>(reader);
    constexpr int kFirstIntra = kType == kSliceI ? 0 : kType == kSliceP ? 5 : 23;
    bool has_vectors = false;
    if (kType == kSliceI || type >= kFirstIntra) {
      Cover::hit(Syntax::kCabac,
                 kType == kSliceI   ? Branch::kMbTypeI
                 : kType == kSliceP ? Branch::kMbTypeIInP
                                    : Branch::kMbTypeIInB,
                 type - kFirstIntra);
      syntax_.put(reader);
      intra(type - kFirstIntra);
      reader = syntax_.take();
    } else if constexpr (kType != kSliceI) {
      Cover::hit(Syntax::kCabac, kType == kSliceP ? Branch::kMbTypeP : Branch::kMbTypeB, type);
      has_vectors = inter(reader, type);
    }
    mb_->QPY = static_cast<int8_t>(QPY_);
    if constexpr (kResidual) job_.residual->finish_macroblock();
    syntax_.template finish_macroblock<kType>(has_vectors);
  }

 private:
  static constexpr int kLists = kType == kSliceB ? 2 : 1;
  static constexpr int kMaxMvd = 2 * 16;  // of one macroblock
  static constexpr IntraModeEdge kNoModes = {-1, -1, -1, -1};
  static constexpr IntraModeEdge kDcModes = {2, 2, 2, 2};

  // ---- intra ----

  [[gnu::noinline]] void intra(int type) {  // numbering of Table 7-11
    if (type == 25) return pcm();
    if (type != 0 || kType != kSliceI) syntax_.set_mb_type_ctx();
    if (type != 0) return intra16x16(type);
    Reader reader = syntax_.take();
    bool transform_size_8x8_flag = false;
    if (job_.pps->transform_8x8_mode_flag) {
      transform_size_8x8_flag = syntax_.transform_size_8x8_flag(reader);
      Cover::hit(Syntax::kCabac, Branch::kTransformSize8x8, transform_size_8x8_flag ? 1 : 0);
    }
    mb_->mb_type = transform_size_8x8_flag ? MbType::kI8x8 : MbType::kI4x4;
    mb_->transform_size_8x8_flag = transform_size_8x8_flag;
    const bool keep = job_.modes_above != nullptr;
    std::array<int8_t, 16> sent;  // -1: predicted
    const int count = transform_size_8x8_flag ? 4 : 16;
    for (int i = 0; i < count; ++i) {
      const int mode = syntax_.intra_pred_mode(reader);
      Cover::hit(Syntax::kCabac,
                 transform_size_8x8_flag ? Branch::kIntra8x8Mode : Branch::kIntra4x4Mode, mode + 1);
      sent[static_cast<size_t>(i)] = static_cast<int8_t>(mode);
    }
    if (keep) derive_modes(sent, transform_size_8x8_flag);
    const int intra_chroma_pred_mode = chroma_mode(reader);
    keep_modes(intra_chroma_pred_mode);
    const int cbp = coded_block_pattern(reader, true);
    residual_nxn(reader, cbp, true, intra_chroma_pred_mode);
    syntax_.put(reader);
  }

  void intra16x16(int type) {
    Reader reader = syntax_.take();
    const int Intra16x16PredMode = (type - 1) % 4;
    const int cbp = ((type - 1) / 4 % 3) << 4 | (type >= 13 ? 15 : 0);
    mb_->mb_type = MbType::kI16x16;
    mb_->coded_block_pattern = static_cast<uint8_t>(cbp);
    syntax_.set_coded_block_pattern(cbp);
    if (job_.modes_above != nullptr) {
      modes_.fill(static_cast<int8_t>(Intra16x16PredMode));
      leave_modes(kDcModes);
    }
    const int intra_chroma_pred_mode = chroma_mode(reader);
    keep_modes(intra_chroma_pred_mode);
    mb_qp_delta(reader);
    syntax_.put(reader);
    residual_.start(true, QPY_);
    residual_.intra16x16(cbp, Intra16x16PredMode);
    residual_.chroma(cbp, true, intra_chroma_pred_mode);
  }

  [[gnu::always_inline]] int chroma_mode(Reader& reader) {
    if (!chroma_) return -1;
    const int mode = syntax_.intra_chroma_pred_mode(reader);
    Cover::hit(Syntax::kCabac, Branch::kIntraChromaPredMode, mode);
    return mode;
  }

  void pcm() {
    Reader reader = syntax_.take();
    const int64_t at = syntax_.pcm_start(reader);
    const int64_t first = (at + 7) >> 3;
    const int64_t size = chroma_ ? 384 : 256;
    if (first + size > static_cast<int64_t>(job_.rbsp.size())) damage("pcm_sample_luma");
    Cover::hit(Syntax::kCabac, Branch::kPcmAlignment, static_cast<int>(-at & 7));
    Cover::hit(Syntax::kCabac, Branch::kPcmSliceType, kType);
    mb_->mb_type = MbType::kIPcm;
    mb_->coded_block_pattern = chroma_ ? 0x2f : 0x0f;
    if constexpr (kResidual) job_.residual->put_pcm(job_.rbsp.data() + first);
    syntax_.pcm_end(reader, first + size);
    syntax_.put(reader);
    syntax_.set_mb_type_ctx();
    syntax_.no_qp_delta();
    modes_.fill(-1);
    leave_modes(kDcModes);
    keep_modes(-1);
  }

  // 8.3.1.1 and 8.3.2.1. `sent` is in the order of luma4x4BlkIdx or luma8x8BlkIdx.
  void derive_modes(const std::array<int8_t, 16>& sent, bool blocks8x8) {
    const IntraModeEdge& above = (*job_.modes_above)[static_cast<size_t>(job_.mb_x)];
    const int size = blocks8x8 ? 2 : 1;
    for (int i = 0; i < (blocks8x8 ? 4 : 16); ++i) {
      const int raster = blocks8x8 ? i / 2 * 8 + i % 2 * 2 : kBlkRaster[i];
      const int x = raster % 4;
      const int y = raster / 4;
      const int a = x > 0 ? mode_at(raster - 1) : modes_left_[static_cast<size_t>(y)];
      const int b = y > 0 ? mode_at(raster - 4) : above[static_cast<size_t>(x)];
      const int predicted = a < 0 || b < 0 ? 2 : a < b ? a : b;
      const int rem = sent[static_cast<size_t>(i)];
      const int mode = rem < 0 ? predicted : rem < predicted ? rem : rem + 1;
      for (int row = 0; row < size; ++row) {
        for (int column = 0; column < size; ++column) {
          modes_[static_cast<size_t>(raster + row * 4 + column)] = static_cast<int8_t>(mode);
        }
      }
    }
    IntraModeEdge& below = (*job_.modes_above)[static_cast<size_t>(job_.mb_x)];
    for (size_t i = 0; i < 4; ++i) {
      below[i] = modes_[12 + i];
      modes_left_[i] = modes_[4 * i + 3];
    }
  }
  int mode_at(int raster) const { return modes_[static_cast<size_t>(raster)]; }
  const IntraModeEdge& inter_mode() const {
    return job_.pps->constrained_intra_pred_flag ? kNoModes : kDcModes;
  }
  void leave_modes(const IntraModeEdge& edge) {
    if (job_.modes_above == nullptr) return;
    (*job_.modes_above)[static_cast<size_t>(job_.mb_x)] = edge;
    modes_left_ = edge;
  }
  void keep_modes(int intra_chroma_pred_mode) {
    if (job_.intra_modes == nullptr) return;
    job_.intra_modes[job_.address] = {modes_, static_cast<int8_t>(intra_chroma_pred_mode)};
  }

  // ---- inter ----

  // Returns whether the macroblock has vector differences or reference indices of its own.
  [[gnu::always_inline]] bool inter(Reader& reader, int type) requires(kType != kSliceI) {
    leave_modes(inter_mode());
    bool no_small_partitions = true;  // noSubMbPartSizeLessThan8x8Flag
    bool direct = false;
    bool has_vectors = true;
    if (kType == kSliceB && type == 0) {  // B_Direct_16x16
      direct = true;
      has_vectors = false;
      no_small_partitions = job_.sps->direct_8x8_inference_flag;
      mb_->mb_type = MbType::kBDirect16x16;
      mb_->pred.fill(kPredDirect);
      mb_->ref_idx[0].fill(kRefIdxDerived);
      mb_->ref_idx[1].fill(kRefIdxDerived);
    } else {
      syntax_.set_mb_type_ctx();
      syntax_.template start_inter<kType>();
      if (kType == kSliceB ? type == 22 : type >= 3) {
        syntax_.put(reader);
        no_small_partitions = sub_mb_pred(kType == kSliceP && type == 4);
        reader = syntax_.take();
      } else {
        mb_pred(reader, type);
      }
    }
    const int cbp = coded_block_pattern(reader, false);
    if ((cbp & 15) != 0 && job_.pps->transform_8x8_mode_flag && no_small_partitions) {
      mb_->transform_size_8x8_flag = syntax_.transform_size_8x8_flag(reader);
      Cover::hit(Syntax::kCabac, Branch::kTransformSize8x8,
                 (direct ? 4 : 2) + (mb_->transform_size_8x8_flag ? 1 : 0));
    }
    residual_nxn(reader, cbp, false, -1);
    return has_vectors;
  }

  // 16x16, 16x8, 8x16 (Tables 7-13, 7-14).
  [[gnu::always_inline]] void mb_pred(Reader& reader, int type) requires(kType != kSliceI) {
    constexpr std::array<MbType, 3> kShapeType = {MbType::kInter16x16, MbType::kInter16x8,
                                                  MbType::kInter8x16};
    MbTypeB info = {static_cast<uint8_t>(type), {kPredL0, kPredL0}};
    if constexpr (kType == kSliceB) info = kMbTypesB[type];
    const int shape = info.shape;
    const int parts = shape == 0 ? 1 : 2;
    mb_->mb_type = kShapeType[static_cast<size_t>(shape)];
    set_quadrants(mb_->pred, shape, info.pred[0], info.pred[1]);
    // Quadrants of partition 0 and 1.
    constexpr int kQuadrants[3][2] = {{15, 0}, {3, 12}, {5, 10}};
    const int second = shape == 1 ? 2 : 1;  // first quadrant of partition 1
    for (int list = 0; list < kLists; ++list) {
      const int max = job_.header->num_ref_idx_active[static_cast<size_t>(list)] - 1;
      int ref[2] = {kRefIdxNotUsed, kRefIdxNotUsed};
      for (int part = 0; part < parts; ++part) {
        if ((info.pred[part] >> list & 1) == 0) continue;
        ref[part] = read_ref_idx(reader, list, part == 0 ? 0 : second, max);
        syntax_.set_ref(list, kQuadrants[shape][part], ref[part]);
      }
      set_quadrants(mb_->ref_idx[static_cast<size_t>(list)], shape, ref[0], ref[1]);
    }
    syntax_.put(reader);
    part_vectors(shape, info);
    reader = syntax_.take();
  }

  [[gnu::noinline]] void part_vectors(int shape, const MbTypeB& info) {
    Reader reader = syntax_.take();
    const int parts = shape == 0 ? 1 : 2;
    for (int list = 0; list < kLists; ++list) {
      for (int part = 0; part < parts; ++part) {
        if ((info.pred[part] >> list & 1) == 0) continue;
        *next_mvd_++ = syntax_.mvd_part(reader, list, shape, part);
      }
    }
    syntax_.put(reader);
  }

  // Gives the quadrants of partition 0 one value and those of partition 1 another.
  template <typename T>
  static void set_quadrants(std::array<T, 4>& quadrants, int shape, int a, int b) {
    const uint32_t x = static_cast<uint8_t>(a);
    const uint32_t y = static_cast<uint8_t>(b);
    const uint32_t all = shape == 0   ? x * 0x01010101
                         : shape == 1 ? x * 0x0101 | y * 0x01010000
                                      : (x | y << 8) * 0x00010001;
    if constexpr (std::endian::native == std::endian::little) {
      std::memcpy(quadrants.data(), &all, sizeof(all));
    } else {
      for (size_t q = 0; q < 4; ++q) quadrants[q] = static_cast<T>(all >> (8 * q));
    }
  }

  // Returns noSubMbPartSizeLessThan8x8Flag.
  [[gnu::noinline]] bool sub_mb_pred(bool ref0) requires(kType != kSliceI) {
    Reader reader = syntax_.take();
    syntax_.template start_sub_mb<kType>();
    mb_->mb_type = MbType::kInter8x8;
    bool no_small_partitions = true;
    for (size_t q = 0; q < 4; ++q) {
      const int type = syntax_.template sub_mb_type<kType>(reader);
      Cover::hit(Syntax::kCabac, kType == kSliceB ? Branch::kSubMbTypeB : Branch::kSubMbTypeP,
                 type);
      SubMbTypeB info = {static_cast<uint8_t>(type), kPredL0};
      if constexpr (kType == kSliceB) info = kSubMbTypesB[type];
      mb_->pred[q] = info.pred;
      if (info.pred == kPredDirect) {
        no_small_partitions = no_small_partitions && job_.sps->direct_8x8_inference_flag;
        mb_->ref_idx[0][q] = mb_->ref_idx[1][q] = kRefIdxDerived;
      } else {
        no_small_partitions = no_small_partitions && info.shape == kSub8x8;
        mb_->sub_shape[q] = info.shape;
      }
    }
    for (int list = 0; list < kLists; ++list) {
      const int max = job_.header->num_ref_idx_active[static_cast<size_t>(list)] - 1;
      for (int q = 0; q < 4; ++q) {
        if (!uses(q, list)) continue;
        const int ref = ref0 ? 0 : read_ref_idx(reader, list, q, max);
        syntax_.set_ref(list, 1 << q, ref);
        set_ref(list, q, ref);
      }
    }
    constexpr int kWidth[4] = {2, 2, 1, 1};
    constexpr int kHeight[4] = {2, 1, 2, 1};
    for (int list = 0; list < kLists; ++list) {
      for (int q = 0; q < 4; ++q) {
        if (!uses(q, list)) continue;
        const int shape = mb_->sub_shape[static_cast<size_t>(q)];
        for (int y = 0; y < 2; y += kHeight[shape]) {
          for (int x = 0; x < 2; x += kWidth[shape]) {
            *next_mvd_++ = syntax_.mvd_sub(reader, list, q % 2 * 2 + x, q / 2 * 2 + y,
                                           kWidth[shape], kHeight[shape]);
          }
        }
      }
    }
    syntax_.template finish_sub_mb<kType>();
    syntax_.put(reader);
    return no_small_partitions;
  }

  uint32_t mvd_count() const { return static_cast<uint32_t>(next_mvd_ - job_.slice->mvd.data()); }
  // The vector of differences is kept larger than needed and written through a pointer.
  [[gnu::noinline]] void grow_mvd() {
    std::vector<Mvd>& mvd = job_.slice->mvd;
    const size_t count = mvd_count();
    mvd.resize(mvd.size() + mvd.size() / 2 + 1024);
    next_mvd_ = mvd.data() + count;
    end_mvd_ = mvd.data() + mvd.size();
  }

  bool uses(int quadrant, int list) const {
    const int pred = mb_->pred[static_cast<size_t>(quadrant)];
    return pred != kPredDirect && (pred >> list & 1) != 0;
  }
  void set_ref(int list, int quadrant, int ref) {
    mb_->ref_idx[static_cast<size_t>(list)][static_cast<size_t>(quadrant)] =
        static_cast<int8_t>(ref);
  }
  [[gnu::always_inline]] int read_ref_idx(Reader& reader, int list, int quadrant, int max) {
    if (max <= 0) {
      Cover::hit(Syntax::kCabac, Branch::kRefIdx, 0);
      return 0;
    }
    const int ref = syntax_.ref_idx(reader, list, quadrant, max);
    Cover::hit(Syntax::kCabac, Branch::kRefIdx, ref < 3 ? ref + 1 : 4);
    return ref;
  }

  // ---- coded_block_pattern, mb_qp_delta, residual ----

  [[gnu::always_inline]] int coded_block_pattern(Reader& reader, bool intra) {
    const int cbp = syntax_.coded_block_pattern(reader, intra, chroma_);
    Cover::hit(Syntax::kCabac, Branch::kCodedBlockPattern, cbp);
    mb_->coded_block_pattern = static_cast<uint8_t>(cbp);
    syntax_.set_coded_block_pattern(cbp);
    return cbp;
  }

  [[gnu::always_inline]] void mb_qp_delta(Reader& reader) {
    const int delta = syntax_.mb_qp_delta(reader);
    if (delta < -26 || delta > 25) damage("mb_qp_delta");
    int qp = QPY_ + delta;
    Cover::hit(Syntax::kCabac, Branch::kQpDelta,
               delta == 0  ? 0
               : qp < 0    ? 3
               : qp > 51   ? 4
               : delta > 0 ? 1
                           : 2);
    if (qp < 0) qp += 52;  // 7.4.5
    if (qp > 51) qp -= 52;
    QPY_ = qp;
  }

  // Everything but Intra16x16.
  [[gnu::always_inline]] void residual_nxn(Reader& reader, int cbp, bool intra,
                                           int intra_chroma_pred_mode) {
    if (cbp == 0) {
      syntax_.no_qp_delta();
      return;
    }
    mb_qp_delta(reader);
    syntax_.put(reader);
    residual_.start(intra, QPY_);
    if (mb_->transform_size_8x8_flag) {
      residual_.luma8x8(cbp, intra ? &modes_ : nullptr);
    } else {
      residual_.luma4x4(cbp, intra ? &modes_ : nullptr);
    }
    residual_.chroma(cbp, intra, intra_chroma_pred_mode);
    reader = syntax_.take();
  }

  SliceJob& job_;
  Syntax& syntax_;
  ResidualLayer<Syntax, kResidual, Cover> residual_;
  Macroblock* mb_ = nullptr;
  Mvd* next_mvd_;
  Mvd* end_mvd_;
  Macroblock template_;  // what every coded macroblock starts from
  Macroblock skipped_;
  int QPY_;
  const bool chroma_;
  std::array<int8_t, 16> modes_{};  // prediction modes in raster order, where they are needed
  IntraModeEdge modes_left_;
};

}  // namespace cvdecode::h264
