// residual(), residual_luma() (7.3.5.3): which blocks are sent, and where their levels go.
#pragma once

#include <array>
#include <cstdint>

#include "h264/neighbours.h"
#include "h264/residual.h"
#include "h264/residual_cabac.h"
#include "h264/slice_data_coverage.h"
#include "h264/slice_data_damage.h"
#include "h264/slice_data_job.h"
#include "h264/tables.h"
#include "kernels/inverse_transform.h"

namespace cvdecode::h264 {

// The reader comes and goes through Syntax::put() and take(): every function here is a call of its
// own, made once for each use of the levels.
template <class Syntax, bool kResidual, class Cover>
class ResidualLayer {
  using Reader = typename Syntax::Reader;
  enum Use : uint8_t { kDiscard, kScale, kBypass };

 public:
  ResidualLayer(SliceJob& job, Syntax& syntax) : syntax_(syntax), writer_(job.residual) {}

  void start(bool intra, int QPY) {
    syntax_.start_residual(intra);
    if constexpr (kResidual) {
      writer_->set_qp(QPY, intra);
      const Use use = writer_->bypass() ? kBypass : kScale;
      luma_ = writer_->wants_luma() ? use : kDiscard;
      chroma_ = writer_->wants_chroma() ? use : kDiscard;
      Cover::hit(Syntax::kCabac, Branch::kDequantShift, QPY / 6);
    }
  }

  // modes: prediction modes in raster order of an intra macroblock, else null; only transform
  // bypass looks at them.
  void luma4x4(int cbp, const std::array<int8_t, 16>* modes) {
    if constexpr (kResidual) {
      if (luma_ == kScale) return luma4x4<kScale>(cbp, modes);
      if (luma_ == kBypass) return luma4x4<kBypass>(cbp, modes);
    }
    luma4x4<kDiscard>(cbp, modes);
  }
  void luma8x8(int cbp, const std::array<int8_t, 16>* modes) {
    if constexpr (kResidual) {
      if (luma_ == kScale) return luma8x8<kScale>(cbp, modes);
      if (luma_ == kBypass) return luma8x8<kBypass>(cbp, modes);
    }
    luma8x8<kDiscard>(cbp, modes);
  }
  void intra16x16(int cbp, int Intra16x16PredMode) {
    if constexpr (kResidual) {
      if (luma_ == kScale) return intra16x16<kScale>(cbp, Intra16x16PredMode);
      if (luma_ == kBypass) return intra16x16<kBypass>(cbp, Intra16x16PredMode);
    }
    intra16x16<kDiscard>(cbp, Intra16x16PredMode);
  }
  void chroma(int cbp, bool intra, int intra_chroma_pred_mode) {
    if (cbp < 16) return;
    // 8.5.15: horPredFlag = 2 - intra_chroma_pred_mode; 1 is horizontal, 2 vertical.
    const int mode = !intra                        ? -1
                     : intra_chroma_pred_mode == 1 ? 1
                     : intra_chroma_pred_mode == 2 ? 0
                                                   : -1;
    if constexpr (kResidual) {
      if (chroma_ == kScale) return chroma<kScale>(cbp, mode);
      if (chroma_ == kBypass) return chroma<kBypass>(cbp, mode);
    }
    chroma<kDiscard>(cbp, mode);
  }

 private:
  template <Use kUse>
  [[gnu::noinline]] void luma4x4(int cbp, const std::array<int8_t, 16>* modes) {
    Reader reader = syntax_.take();
    for (int b = 0; b < 16; ++b) {
      if ((cbp >> (b >> 2) & 1) == 0) {
        b |= 3;
        continue;
      }
      const int place = kLumaPlace[static_cast<size_t>(b)];
      const int raster = kBlkRaster[b];
      if constexpr (kUse == kDiscard) {
        syntax_.template block<kCatLuma4x4>(reader, place, NoSink{});
      } else if constexpr (kUse == kBypass) {
        std::array<int32_t, 16> level{};
        if (syntax_.template block<kCatLuma4x4>(reader, place, RawSink{level.data()}) == 0) {
          continue;
        }
        const int mode = modes == nullptr ? -1 : (*modes)[static_cast<size_t>(raster)];
        hit_bypass(0, mode);
        check(writer_->put_bypass4x4(raster, level, mode));
      } else {
        ScaleSink sink = writer_->sink4x4();
        if (syntax_.template block<kCatLuma4x4>(reader, place, sink) == 0) continue;
        hit_transform(0, sink.sum);
        check(writer_->put_luma4x4(raster, sink.sum));
      }
    }
    syntax_.put(reader);
  }

  template <Use kUse>
  [[gnu::noinline]] void luma8x8(int cbp, const std::array<int8_t, 16>* modes) {
    Reader reader = syntax_.take();
    for (int b = 0; b < 4; ++b) {
      if ((cbp >> b & 1) == 0) continue;
      const int place = kLumaPlace[static_cast<size_t>(4 * b)];
      if constexpr (kUse == kDiscard) {
        syntax_.block8x8(reader, place, NoSink{});
      } else if constexpr (kUse == kBypass) {
        std::array<int32_t, 64> level{};
        if (syntax_.block8x8(reader, place, RawSink{level.data()}) == 0) continue;
        const int mode = modes == nullptr ? -1 : (*modes)[static_cast<size_t>(kBlkRaster[4 * b])];
        hit_bypass(3, mode);
        check(writer_->put_bypass8x8(b, level, mode));
      } else {
        ScaleSink sink = writer_->sink8x8();
        if (syntax_.block8x8(reader, place, sink) == 0) continue;
        hit_transform(1, sink.sum);
        check(writer_->put_luma8x8(b, sink.sum));
      }
    }
    syntax_.put(reader);
  }

  template <Use kUse>
  [[gnu::noinline]] void intra16x16(int cbp, int Intra16x16PredMode) {
    Reader reader = syntax_.take();
    std::array<int32_t, 16> dc{};
    if constexpr (kUse == kDiscard) {
      syntax_.template dc_block<kCatIntra16x16Dc>(reader, 0, NoSink{});
    } else {
      syntax_.template dc_block<kCatIntra16x16Dc>(reader, 0, RawSink{dc.data()});
    }
    if constexpr (kUse == kScale) {
      Cover::hit(Syntax::kCabac, Branch::kTransform, 2);
      check(writer_->intra16x16_dc(dc));
    }
    for (int b = 0; b < 16; ++b) {
      const int place = kLumaPlace[static_cast<size_t>(b)];
      const int raster = kBlkRaster[b];
      if constexpr (kUse == kDiscard) {
        if ((cbp & 15) == 0) break;
        syntax_.template block<kCatIntra16x16Ac>(reader, place, NoSink{});
      } else if constexpr (kUse == kBypass) {
        std::array<int32_t, 16> level{};
        int count = 0;
        if (cbp & 15) {
          count =
              syntax_.template block<kCatIntra16x16Ac>(reader, place, RawSink{level.data() + 1});
        }
        level[0] = dc[static_cast<size_t>(kScanOfRaster[static_cast<size_t>(raster)])];
        if (count != 0 || level[0] != 0) check(writer_->put_bypass4x4(raster, level, -1));
      } else {
        ScaleSink sink = writer_->sink_intra16x16_ac();
        if (cbp & 15) syntax_.template block<kCatIntra16x16Ac>(reader, place, sink);
        hit_transform(0, sink.sum);
        check(writer_->put_intra16x16(raster, sink.sum));
      }
    }
    if constexpr (kUse == kBypass) {
      hit_bypass(6, Intra16x16PredMode);
      if (Intra16x16PredMode < 2) check(writer_->accumulate_intra16x16(Intra16x16PredMode));
    }
    syntax_.put(reader);
  }

  // mode: that of transform bypass, 0 vertical, 1 horizontal, -1 none.
  template <Use kUse>
  [[gnu::noinline]] void chroma(int cbp, int mode) {
    Reader reader = syntax_.take();
    std::array<std::array<int32_t, 4>, 2> dc{};
    for (int plane = 0; plane < 2; ++plane) {
      std::array<int32_t, 4>& level = dc[static_cast<size_t>(plane)];
      if constexpr (kUse == kDiscard) {
        syntax_.template dc_block<kCatChromaDc>(reader, 1 + plane, NoSink{});
      } else {
        syntax_.template dc_block<kCatChromaDc>(reader, 1 + plane, RawSink{level.data()});
      }
      if constexpr (kUse == kScale) {
        Cover::hit(Syntax::kCabac, Branch::kTransform, 3);
        check(writer_->chroma_dc(plane, level));
      }
    }
    const bool ac = cbp >= 32;
    if (kUse == kDiscard && !ac) return syntax_.put(reader);
    for (int b = 0; b < 8; ++b) {
      const int plane = b >> 2;
      const int place = chroma_place(plane, b & 1, b >> 1 & 1);
      if constexpr (kUse == kDiscard) {
        syntax_.template block<kCatChromaAc>(reader, place, NoSink{});
      } else if constexpr (kUse == kBypass) {
        std::array<int32_t, 16> level{};
        if (ac) syntax_.template block<kCatChromaAc>(reader, place, RawSink{level.data() + 1});
        level[0] = dc[static_cast<size_t>(plane)][static_cast<size_t>(b & 3)];
        check(writer_->put_bypass_chroma(plane, b & 3, level));
      } else {
        ScaleSink sink = writer_->sink_chroma_ac(plane);
        if (ac) syntax_.template block<kCatChromaAc>(reader, place, sink);
        hit_transform(0, sink.sum);
        check(writer_->put_chroma(plane, b & 3, sink.sum));
      }
    }
    if constexpr (kUse == kBypass) {
      hit_bypass(9, mode);
      if (mode >= 0) check(writer_->accumulate_chroma(mode));
    }
    syntax_.put(reader);
  }

  // Place in the scan of a raster position: DC levels come in zig-zag order.
  static constexpr auto kScanOfRaster = [] {
    std::array<uint8_t, 16> scan{};
    for (size_t k = 0; k < 16; ++k) scan[kZigzag4x4[k]] = static_cast<uint8_t>(k);
    return scan;
  }();

  // The syntax is sound all the same, and whoever does not ask for the residual does not see it: no
  // reason to lose vectors, which others look at. The macroblock's residual is lost.
  void check(bool in_range) {
    if (!in_range) [[unlikely]]
      writer_->lose_macroblock();
  }
  static void hit_transform(int kind, int64_t sum) {
    const bool checked = sum > (kind == 0 ? kernels::kSafeSum4x4 : kernels::kSafeSum8x8);
    Cover::hit(Syntax::kCabac, Branch::kTransform, checked ? 4 + kind : kind);
  }
  static void hit_bypass(int first, int mode) {
    Cover::hit(Syntax::kCabac, Branch::kBypass, first + (mode == 0 ? 1 : mode == 1 ? 2 : 0));
  }

  Syntax& syntax_;
  ResidualWriter* writer_;
  Use luma_ = kDiscard;
  Use chroma_ = kDiscard;
};

}  // namespace cvdecode::h264
