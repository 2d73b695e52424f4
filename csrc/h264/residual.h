// Levels to residual samples (8.5): scaling, inverse transforms, transform bypass, and the rows of
// the planes they go to.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>

#include "h264/parameter_sets.h"
#include "h264/slice_decoder.h"
#include "h264/tables.h"

namespace cvdecode::h264 {

// LevelScale4x4 and LevelScale8x8 of 8.5.9 in scan order with the shift by qP / 6 applied. With
// S = LevelScale << (qP / 6) both branches of 8.5.12.1 and 8.5.13.1 are one:
// d = (c * S + 8) >> 4 and d = (c * S + 32) >> 6.
struct LevelScale {
  static constexpr int kQpCount = 52;
  std::array<std::array<std::array<int32_t, 16>, kQpCount>, 6> scale4x4;  // [list][qP][idx]
  std::array<std::array<std::array<int32_t, 64>, kQpCount>, 2> scale8x8;  // intra Y, inter Y

  explicit LevelScale(const Pps& pps);
};

// Where the level of coefficient idx goes: the transposed raster order of inverse_transform.h.
inline constexpr auto kPlace4x4 = [] {
  std::array<uint8_t, 16> place{};
  for (size_t k = 0; k < 16; ++k) {
    place[k] = static_cast<uint8_t>(kZigzag4x4[k] % 4 * 4 + kZigzag4x4[k] / 4);
  }
  return place;
}();
inline constexpr auto kPlace8x8 = [] {
  std::array<uint8_t, 64> place{};
  for (size_t k = 0; k < 64; ++k) {
    place[k] = static_cast<uint8_t>(kZigzag8x8[k] % 8 * 8 + kZigzag8x8[k] / 8);
  }
  return place;
}();

// What a parsed level is given to. NoSink: nobody wants the residual.
struct NoSink {
  void operator()(int, int) const {}
};
// Levels as they are, in scan order: the DC blocks, and every block of a lossless macroblock.
struct RawSink {
  int32_t* level;
  void operator()(int idx, int value) const { level[idx] = value; }
};
// Scaled coefficients at their places. `sum` bounds what the transform can reach: coefficients that
// do not fit 16 bits make it too large as well.
struct ScaleSink {
  int16_t* coefficient;
  const int32_t* scale;
  const uint8_t* place;
  int shift;
  int64_t sum = 0;
  void operator()(int idx, int value) {
    const int64_t d =
        (static_cast<int64_t>(value) * scale[idx] + (int64_t{1} << (shift - 1))) >> shift;
    coefficient[place[idx]] = static_cast<int16_t>(d);
    sum += d < 0 ? -d : d;
  }
};

// Writes the residual of one macroblock after the other. Every function that may meet levels
// outside the ranges of 8.5 returns false then.
class ResidualWriter {
 public:
  void start_slice(const ResidualTarget& target, const Sps& sps, const Pps& pps);

  // For clearing only: start_macroblock() and finish_macroblock() then set macroblocks to zero.
  void start_clearing(const ResidualTarget& target);

  // Before the macroblocks [mb_x, mb_x + count) of row mb_y, of which `address` is the first. Where
  // nobody knows what the memory holds it is cleared all at once, while it is about to be used.
  void start_row(int address, int mb_x, int mb_y, int count) {
    if (target_.written == nullptr || target_.written[address] != kResidualUnknown) return;
    clear_row(address, mb_x, mb_y, count);
  }
  void start_macroblock(int address, int mb_x, int mb_y) {
    address_ = address;
    y_ = target_.y == nullptr ? nullptr : target_.y + mb_y * 16 * target_.y_stride + mb_x * 16;
    if (target_.u != nullptr) {
      const ptrdiff_t at = mb_y * 8 * target_.uv_stride + mb_x * 8;
      uv_ = {target_.u + at, target_.v + at};
    }
    mask_ = 0;
  }
  // QP and kind of the macroblock, once it is known that it has a residual.
  void set_qp(int QPY, bool intra);
  bool bypass() const { return bypass_; }
  bool wants_luma() const { return y_ != nullptr; }
  bool wants_chroma() const { return uv_[0] != nullptr; }

  // Luma blocks; raster4x4 and raster8x8 count in raster order inside the macroblock.
  ScaleSink sink4x4() { return {coefficients_.data(), scale_y_, kPlace4x4.data(), 4}; }
  ScaleSink sink8x8() { return {coefficients_.data(), scale_y8_, kPlace8x8.data(), 6}; }
  bool put_luma4x4(int raster4x4, int64_t sum);
  bool put_luma8x8(int raster8x8, int64_t sum);
  // 8.5.10: 16 levels in scan order -> dcY by raster block.
  bool intra16x16_dc(const std::array<int32_t, 16>& level);
  ScaleSink sink_intra16x16_ac() {
    return {coefficients_.data(), scale_y_ + 1, kPlace4x4.data() + 1, 4};
  }
  bool put_intra16x16(int raster4x4, int64_t sum);

  // 8.5.11: four levels -> dcC of plane 0 (Cb) or 1 (Cr).
  bool chroma_dc(int plane, const std::array<int32_t, 4>& level);
  ScaleSink sink_chroma_ac(int plane) {
    return {coefficients_.data(), scale_uv_[static_cast<size_t>(plane)] + 1, kPlace4x4.data() + 1,
            4};
  }
  bool put_chroma(int plane, int block, int64_t sum);

  // Transform bypass (8.5.15). pred_mode: 0 vertical, 1 horizontal, other none.
  bool put_bypass4x4(int raster4x4, const std::array<int32_t, 16>& level, int pred_mode);
  bool put_bypass8x8(int raster8x8, const std::array<int32_t, 64>& level, int pred_mode);
  bool put_bypass_chroma(int plane, int block, const std::array<int32_t, 16>& level);
  bool accumulate_intra16x16(int pred_mode);
  bool accumulate_chroma(int pred_mode);

  // I_PCM: the samples are the residual. samples: 256 luma, then 64 Cb and 64 Cr.
  void put_pcm(const uint8_t* samples);

  // A level outside the ranges of 8.5: finish_macroblock() sets the macroblock to zero.
  void lose_macroblock() { lost_ = true; }
  // Macroblocks of this slice that went that way.
  int macroblocks_lost() const { return macroblocks_lost_; }

  // Clears what an earlier picture left in blocks that were not coded now.
  void finish_macroblock() {
    if (lost_) [[unlikely]]
      clear_lost();
    if (target_.written == nullptr) return;
    const ResidualMask stale = target_.written[address_] & ~mask_;
    if (stale != 0) clear(stale);
    target_.written[address_] = mask_ | (stale & ~clearable_ & kResidualAll);
  }

  // Damage in the middle of a macroblock: what was written is to be cleared like old contents.
  void abandon_macroblock() {
    // Nothing written: address_ may be another slice's, on which another thread may be at work.
    if (mask_ != 0 && target_.written != nullptr) target_.written[address_] |= mask_;
    lost_ = false;
    coefficients_.fill(0);
  }

 private:
  void clear(ResidualMask blocks);
  void clear_lost();
  void clear_row(int address, int mb_x, int mb_y, int count);
  bool put4x4(int64_t sum, int16_t* out, ptrdiff_t stride);

  ResidualTarget target_;
  ResidualMask clearable_ = 0;  // bits of the planes that are there
  ResidualMask mask_ = 0;       // blocks written in this macroblock
  int address_ = 0;
  bool lost_ = false;
  int macroblocks_lost_ = 0;
  int16_t* y_ = nullptr;
  std::array<int16_t*, 2> uv_{};
  const int32_t* scale_y_ = nullptr;
  const int32_t* scale_y8_ = nullptr;
  std::array<const int32_t*, 2> scale_uv_{};
  bool bypass_ = false;
  bool qpprime_y_zero_transform_bypass_flag_ = false;
  std::array<std::array<uint8_t, 52>, 2> QPC_{};  // [Cb, Cr][QPY]
  std::array<int16_t, 16> dc_y_{};
  std::array<std::array<int16_t, 4>, 2> dc_uv_{};
  alignas(64) std::array<int16_t, 64> coefficients_{};  // zero between blocks
  std::unique_ptr<const LevelScale> scale_;
  std::array<std::array<uint8_t, 16>, 6> lists4x4_{};  // what scale_ was made from
  std::array<std::array<uint8_t, 64>, 2> lists8x8_{};
};

}  // namespace cvdecode::h264
