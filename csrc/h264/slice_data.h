// slice_data() (7.3.4): the loop over the macroblocks of one slice.
#pragma once

#include <algorithm>
#include <cstdint>
#include <limits>
#include <span>
#include <vector>

#include "h264/cabac_syntax.h"
#include "h264/cavlc_syntax.h"
#include "h264/macroblock_layer.h"
#include "h264/slice_data_coverage.h"
#include "h264/slice_data_damage.h"
#include "h264/slice_data_job.h"

namespace cvdecode::h264 {

template <class Syntax, SliceType kType, bool kResidual, class Cover>
class SliceData {
  using Reader = typename Syntax::Reader;

 public:
  SliceData(SliceJob& job, Syntax& syntax) : job_(job), syntax_(syntax), layer_(job, syntax) {}

  // Throws SliceDamage. On return the slice has ended exactly at its trailing bits.
  void parse() {
    const Reader reader = syntax_.start_slice(*job_.header, job_.rbsp);
    start_ = reader.position();
    if constexpr (kResidual) start_residual_row();
    Cover::hit(Syntax::kCabac, Branch::kSliceType, kType);
    if constexpr (Syntax::kCabac) {
      parse_cabac(reader);
    } else {
      parse_cavlc(reader);
    }
    layer_.finish_slice();
    const bool row_end = job_.mb_x == 0 || job_.mb_x == job_.width;
    Cover::hit(Syntax::kCabac, Branch::kSliceEnd,
               job_.address == job_.picture->PicSizeInMbs() ? 0
               : row_end                                    ? 2
                                                            : 1);
  }

 private:
  void parse_cabac(Reader reader) {
    do {
      next_macroblock();
      if (kType != kSliceI && syntax_.mb_skip_flag(reader, kType)) {
        skip();
      } else {
        layer_.macroblock(reader);
      }
      const bool end = syntax_.end_of_slice_flag(reader);
      if (reader.position() > size_bits()) damage("end of data");
      count_bits(reader);
      ++job_.address;
      ++job_.mb_x;
      if (end) break;
    } while (true);
    // The last bit that the arithmetic code took is rbsp_stop_one_bit and stands in the last byte
    // but for cabac_zero_words. What follows it in this byte is not looked at: x264 puts a bit of
    // a signature there in every second slice.
    const int64_t stop = reader.position() - 1;
    const bool one = (job_.rbsp[static_cast<size_t>(stop >> 3)] >> (7 - (stop & 7)) & 1) != 0;
    if (!one || stop >> 3 != BitReader::stop_bit(job_.rbsp) >> 3) damage("rbsp_trailing_bits");
  }

  void parse_cavlc(Reader reader) {
    bool more = syntax_.more_rbsp_data(reader);
    while (more) {
      if constexpr (kType != kSliceI) {
        const uint32_t mb_skip_run = syntax_.mb_skip_run(reader);
        if (mb_skip_run > static_cast<uint32_t>(job_.mb_end - job_.address)) run_on("mb_skip_run");
        for (uint32_t i = 0; i < mb_skip_run; ++i) {
          next_macroblock();
          skip();
          if (job_.bits != nullptr) job_.bits[job_.address] = 0;
          ++job_.address;
          ++job_.mb_x;
        }
        if (mb_skip_run > 0) more = syntax_.more_rbsp_data(reader);
        Cover::hit(false, Branch::kSkipRun, !more ? 2 : mb_skip_run > 0 ? 1 : 0);
        if (!more) {  // the run belongs to the last macroblock of the slice
          --job_.address;
          count_bits(reader);
          ++job_.address;
          break;
        }
      }
      next_macroblock();
      layer_.macroblock(reader);
      if (reader.position() > size_bits()) damage("end of data");
      count_bits(reader);
      ++job_.address;
      ++job_.mb_x;
      more = syntax_.more_rbsp_data(reader);
    }
    if (job_.address == job_.first_mb) damage("slice_data");
    if (reader.position() != syntax_.stop_bit()) damage("rbsp_trailing_bits");
  }

  int64_t size_bits() const { return static_cast<int64_t>(job_.rbsp.size()) * 8; }

  void next_macroblock() {
    if (job_.address >= job_.mb_end) run_on("end of slice");
    if (job_.mb_x == job_.width) {
      job_.mb_x = 0;
      ++job_.mb_y;
      syntax_.start_row();
      layer_.start_row();
      if constexpr (kResidual) start_residual_row();
    }
    syntax_.start_macroblock(job_.mb_x);
    if constexpr (kResidual) {
      job_.residual->start_macroblock(job_.address, job_.mb_x, job_.mb_y);
    }
    if constexpr (Cover::kCounts) {
      const bool left = job_.mb_x > 0 && job_.address > job_.first_mb;
      const bool above = job_.address - job_.width >= job_.first_mb;
      Cover::hit(Syntax::kCabac, Branch::kNeighbours, (left ? 0 : 1) + (above ? 0 : 2));
    }
  }

  void start_residual_row() {
    const int count = std::min(job_.width - job_.mb_x, job_.mb_end - job_.address);
    job_.residual->start_row(job_.address, job_.mb_x, job_.mb_y, count);
  }

  void skip() {
    layer_.skip();
    syntax_.finish_skipped();
    Cover::hit(Syntax::kCabac, Branch::kSkip, kType == kSliceB ? 1 : 0);
  }

  void count_bits(const Reader& reader) {
    if (job_.bits == nullptr) return;
    const int64_t now = reader.position();
    const int64_t spent = now - start_;
    constexpr int64_t kMax = std::numeric_limits<uint16_t>::max();
    job_.bits[job_.address] = static_cast<uint16_t>(std::min(spent, kMax));
    start_ = now;
  }

  SliceJob& job_;
  Syntax& syntax_;
  MacroblockLayer<Syntax, kType, kResidual, Cover> layer_;
  int64_t start_ = 0;  // where the bits of the macroblock begin
};

}  // namespace cvdecode::h264
