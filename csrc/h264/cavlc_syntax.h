// Syntax elements of slice data coded with Exp-Golomb codes and CAVLC (9.1, 9.2). Same interface as
// CabacSyntax; what only context selection needs is empty here.
#pragma once

#include <array>
#include <cstdint>
#include <cstring>
#include <span>
#include <vector>

#include "bitstream/bit_reader.h"
#include "h264/cavlc_reader.h"
#include "h264/macroblock.h"
#include "h264/neighbours.h"
#include "h264/residual_cabac.h"  // CtxBlockCat names the kinds of blocks
#include "h264/residual_cavlc.h"
#include "h264/slice_data_coverage.h"
#include "h264/slice_data_damage.h"
#include "h264/slice_header.h"
#include "h264/tables.h"

namespace cvdecode::h264 {

struct CavlcScratch {
  std::vector<CoeffCountEdge> above;  // by macroblock column
};

template <class Cover>
class CavlcSyntax {
 public:
  static constexpr bool kCabac = false;
  using Reader = CavlcReader;  // see CabacSyntax

  CavlcSyntax(CavlcScratch& scratch, int width_in_mbs) : scratch_(scratch) {
    scratch_.above.assign(static_cast<size_t>(width_in_mbs), CoeffCountEdge::all(cavlc::kNoBlock));
    left_ = CoeffCountEdge::all(cavlc::kNoBlock);
  }

  Reader start_slice(const SliceHeader& header, std::span<const uint8_t> rbsp) {
    stop_bit_ = BitReader::stop_bit(rbsp);
    return {rbsp, header.header_bits};
  }
  void put(const Reader& reader) { reader_ = reader; }
  Reader take() const { return reader_; }
  bool more_rbsp_data(const Reader& reader) const { return reader.position() < stop_bit_; }
  int64_t stop_bit() const { return stop_bit_; }

  void start_row() { left_ = CoeffCountEdge::all(cavlc::kNoBlock); }
  void start_macroblock(int mb_x) {
    above_ = &scratch_.above[static_cast<size_t>(mb_x)];
    coded_ = false;
  }

  uint32_t mb_skip_run(Reader& reader) { return reader.ue(); }

  template <SliceType kType>
  [[gnu::always_inline]] int mb_type(Reader& reader) {
    return bounded(reader.ue(), 25 + (kType == kSliceI ? 0 : kType == kSliceP ? 5 : 23), "mb_type");
  }
  template <SliceType kType>
  [[gnu::always_inline]] int sub_mb_type(Reader& reader) {
    return bounded(reader.ue(), kType == kSliceB ? 12 : 3, "sub_mb_type");
  }
  [[gnu::always_inline]] bool transform_size_8x8_flag(Reader& reader) { return reader.flag(); }
  [[gnu::always_inline]] int intra_pred_mode(Reader& reader) {
    return reader.flag() ? -1 : static_cast<int>(reader.u(3));
  }
  [[gnu::always_inline]] int intra_chroma_pred_mode(Reader& reader) {
    return bounded(reader.ue(), 3, "intra_chroma_pred_mode");
  }
  [[gnu::always_inline]] int coded_block_pattern(Reader& reader, bool intra, bool chroma) {
    const int codeNum = bounded(reader.ue(), chroma ? 47 : 15, "coded_block_pattern");
    if (chroma) return intra ? kCbp420Intra[codeNum] : kCbp420Inter[codeNum];
    return intra ? kCbp400Intra[codeNum] : kCbp400Inter[codeNum];
  }
  void set_coded_block_pattern(int) {}
  void set_mb_type_ctx() {}
  [[gnu::always_inline]] int mb_qp_delta(Reader& reader) { return reader.se(); }
  void no_qp_delta() {}

  template <SliceType kType>
  void start_inter() {}
  [[gnu::always_inline]] int ref_idx(Reader& reader, int list, int /*quadrant*/, int max) {
    return bounded(reader.te(static_cast<uint32_t>(max)), max,
                   list == 0 ? "ref_idx_l0" : "ref_idx_l1");
  }
  void set_ref(int, int, int) {}
  template <SliceType kType>
  void start_sub_mb() {}
  template <SliceType kType>
  void finish_sub_mb() {}
  [[gnu::always_inline]] Mvd mvd_sub(Reader& reader, int list, int, int, int, int) {
    return mvd_part(reader, list, 0, 0);
  }
  [[gnu::always_inline]] Mvd mvd_part(Reader& reader, int list, int /*shape*/, int /*part*/) {
    const char* name = list == 0 ? "mvd_l0" : "mvd_l1";
    const int dx = mvd_component(reader, name);
    const int dy = mvd_component(reader, name);
    return {static_cast<int16_t>(dx), static_cast<int16_t>(dy)};
  }

  void start_residual(bool /*intra*/) {
    std::memset(counts_.data(), 0, counts_.size());
    std::memcpy(&counts_[1], above_->luma.data(), 4);
    for (size_t plane = 0; plane < 2; ++plane) {
      std::memcpy(&counts_[24 * plane + 6], above_->chroma[plane].data(), 2);
      counts_[24 * plane + 8 + 5] = left_.chroma[plane][0];
      counts_[24 * plane + 16 + 5] = left_.chroma[plane][1];
    }
    for (size_t y = 0; y < 4; ++y) counts_[8 * (y + 1)] = left_.luma[y];
    coded_ = true;
  }
  template <int kCat, class Sink>
  [[gnu::always_inline]] int dc_block(Reader& reader, int /*component*/, Sink&& sink) {
    const int table = kCat == kCatChromaDc ? cavlc::kTokenChromaDc
                                           : token_class(static_cast<size_t>(luma_place(0, 0)));
    return residual_block_cavlc<kMaxNumCoeff[kCat], Cover>(reader, table, sink);
  }
  template <int kCat, class Sink>
  [[gnu::always_inline]] int block(Reader& reader, int place, Sink&& sink) {
    const auto at = static_cast<size_t>(place);
    const int total =
        residual_block_cavlc<kMaxNumCoeff[kCat], Cover>(reader, token_class(at), sink);
    counts_[at] = static_cast<uint8_t>(total);
    return total;
  }
  // Four interleaved blocks of 16 levels (7.3.5.3.1): level k of block i is coefficient 4 * k + i.
  template <class Sink>
  [[gnu::always_inline]] int block8x8(Reader& reader, int place, Sink&& sink) {
    constexpr std::array<int, 4> kOffset = {0, 1, 8, 9};
    int total = 0;
    for (int i = 0; i < 4; ++i) {
      total += block<kCatLuma4x4>(reader, place + kOffset[static_cast<size_t>(i)],
                                  [&sink, i](int idx, int level) { sink(4 * idx + i, level); });
    }
    return total;
  }

  int64_t pcm_start(const Reader& reader) const { return reader.position(); }
  void pcm_end(Reader& reader, int64_t byte) {
    reader.seek(8 * byte);
    counts_.fill(16);
    coded_ = true;
  }

  void finish_skipped() { *above_ = left_ = CoeffCountEdge::all(0); }
  template <SliceType kType>
  void finish_macroblock(bool /*has_vectors*/) {
    if (!coded_) return finish_skipped();
    std::memcpy(above_->luma.data(), &counts_[33], 4);
    for (size_t y = 0; y < 4; ++y) left_.luma[y] = counts_[8 * (y + 1) + 4];
    for (size_t plane = 0; plane < 2; ++plane) {
      std::memcpy(above_->chroma[plane].data(), &counts_[24 * plane + 16 + 6], 2);
      left_.chroma[plane][0] = counts_[24 * plane + 8 + 7];
      left_.chroma[plane][1] = counts_[24 * plane + 16 + 7];
    }
  }

 private:
  [[gnu::always_inline]] static int bounded(uint32_t value, int max, const char* name) {
    if (value > static_cast<uint32_t>(max)) damage(name);
    return static_cast<int>(value);
  }
  [[gnu::always_inline]] static int mvd_component(Reader& reader, const char* name) {
    const int value = reader.se();
    if (value < -32768 || value > 32767) damage(name);
    return value;
  }
  int token_class(size_t place) const {
    return cavlc::kTokenClass[static_cast<size_t>(counts_[place - 1] + counts_[place - 8])];
  }

  CavlcScratch& scratch_;
  CavlcReader reader_;  // between put() and take() only
  int64_t stop_bit_ = -1;
  CoeffCountEdge* above_ = nullptr;
  CoeffCountEdge left_;
  bool coded_ = false;
  std::array<uint8_t, kGridSize> counts_{};  // total_coeff with the neighbours around
};

}  // namespace cvdecode::h264
