#include "h264/residual.h"

#include <algorithm>
#include <bit>

#include "kernels/inverse_transform.h"

namespace cvdecode::h264 {
namespace {

// Which normAdjust value a place takes (8.5.9).
constexpr size_t norm_class4x4(int row, int column) {
  if (row % 2 == 0 && column % 2 == 0) return 0;
  return row % 2 == 1 && column % 2 == 1 ? 1 : 2;
}
constexpr size_t norm_class8x8(int row, int column) {
  if (row % 4 == 0 && column % 4 == 0) return 0;
  if (row % 2 == 1 && column % 2 == 1) return 1;
  if (row % 4 == 2 && column % 4 == 2) return 2;
  if ((row % 4 == 0 && column % 2 == 1) || (row % 2 == 1 && column % 4 == 0)) return 3;
  if ((row % 4 == 0 && column % 4 == 2) || (row % 4 == 2 && column % 4 == 0)) return 4;
  return 5;
}

bool fits16(int64_t value) { return value >= -32768 && value <= 32767; }

template <size_t kSize>
bool all_fit16(const std::array<int32_t, kSize>& level) {
  return std::all_of(level.begin(), level.end(), [](int32_t v) { return fits16(v); });
}

void fill4x4(int16_t value, int16_t* out, ptrdiff_t stride) {
  const uint64_t row = static_cast<uint16_t>(value) * UINT64_C(0x0001000100010001);
  for (int i = 0; i < 4; ++i) std::memcpy(out + i * stride, &row, sizeof(row));
}

// Mask bits of the four 4x4 blocks of an 8x8 block.
constexpr ResidualMask mask8x8(int raster8x8) {
  return ResidualMask{0x33} << (raster8x8 % 2 * 2 + raster8x8 / 2 * 8);
}

// 8.5.15: sums along rows or columns. False where a sum leaves 16 bits.
bool accumulate(int16_t* block, ptrdiff_t stride, int size, int pred_mode) {
  const ptrdiff_t step = pred_mode == 0 ? stride : 1;  // vertical: down; horizontal: right
  const ptrdiff_t other = pred_mode == 0 ? 1 : stride;
  bool ok = true;
  for (int line = 0; line < size; ++line) {
    int sum = 0;
    for (int i = 0; i < size; ++i) {
      int16_t& sample = block[line * other + i * step];
      sum += sample;
      ok = ok && fits16(sum);
      sample = static_cast<int16_t>(sum);
    }
  }
  return ok;
}

}  // namespace

LevelScale::LevelScale(const Pps& pps) {
  for (size_t list = 0; list < 6; ++list) {
    auto& scale = scale4x4[list];
    for (size_t qp = 0; qp < 6; ++qp) {
      for (size_t k = 0; k < 16; ++k) {
        const size_t place = norm_class4x4(kZigzag4x4[k] / 4, kZigzag4x4[k] % 4);
        scale[qp][k] = pps.ScalingList4x4[list][k] * kNormAdjust4x4[qp][place];
      }
    }
    for (size_t qp = 6; qp < kQpCount; ++qp) {
      for (size_t k = 0; k < 16; ++k) scale[qp][k] = scale[qp - 6][k] * 2;
    }
  }
  for (size_t list = 0; list < 2; ++list) {
    auto& scale = scale8x8[list];
    for (size_t qp = 0; qp < 6; ++qp) {
      for (size_t k = 0; k < 64; ++k) {
        const size_t place = norm_class8x8(kZigzag8x8[k] / 8, kZigzag8x8[k] % 8);
        scale[qp][k] = pps.ScalingList8x8[list][k] * kNormAdjust8x8[qp][place];
      }
    }
    for (size_t qp = 6; qp < kQpCount; ++qp) {
      for (size_t k = 0; k < 64; ++k) scale[qp][k] = scale[qp - 6][k] * 2;
    }
  }
}

void ResidualWriter::start_clearing(const ResidualTarget& target) {
  target_ = target;
  address_ = 0;  // of the last slice, perhaps of a larger picture: abandon_macroblock() looks there
  mask_ = 0;
  lost_ = false;
  macroblocks_lost_ = 0;
  y_ = nullptr;
  uv_ = {nullptr, nullptr};
  clearable_ = (target.y != nullptr ? ResidualMask{0xffff} : 0) |
               (target.u != nullptr ? ResidualMask{0xff0000} : 0);
}

void ResidualWriter::start_slice(const ResidualTarget& target, const Sps& sps, const Pps& pps) {
  start_clearing(target);
  qpprime_y_zero_transform_bypass_flag_ = sps.qpprime_y_zero_transform_bypass_flag;
  const bool same = scale_ != nullptr && lists4x4_ == pps.ScalingList4x4 &&
                    lists8x8_[0] == pps.ScalingList8x8[0] && lists8x8_[1] == pps.ScalingList8x8[1];
  if (!same) {
    scale_ = std::make_unique<const LevelScale>(pps);
    lists4x4_ = pps.ScalingList4x4;
    lists8x8_ = {pps.ScalingList8x8[0], pps.ScalingList8x8[1]};
  }
  for (int qp = 0; qp < 52; ++qp) {  // 8.5.8
    const auto at = static_cast<size_t>(qp);
    QPC_[0][at] = kQPC[std::clamp(qp + pps.chroma_qp_index_offset, 0, 51)];
    QPC_[1][at] = kQPC[std::clamp(qp + pps.second_chroma_qp_index_offset, 0, 51)];
  }
  coefficients_.fill(0);
}

void ResidualWriter::set_qp(int QPY, bool intra) {
  const auto qp = static_cast<size_t>(QPY);
  const size_t first = intra ? 0 : 3;
  bypass_ = qpprime_y_zero_transform_bypass_flag_ && QPY == 0;
  scale_y_ = scale_->scale4x4[first][qp].data();
  scale_y8_ = scale_->scale8x8[intra ? 0 : 1][qp].data();
  scale_uv_[0] = scale_->scale4x4[first + 1][QPC_[0][qp]].data();
  scale_uv_[1] = scale_->scale4x4[first + 2][QPC_[1][qp]].data();
}

// Transforms the 16 coefficients of the buffer and leaves it zero.
bool ResidualWriter::put4x4(int64_t sum, int16_t* out, ptrdiff_t stride) {
  bool ok = true;
  int16_t* c = coefficients_.data();
  if (sum <= kernels::kSafeSum4x4) [[likely]] {
    const int dc = c[0];
    if (sum == (dc < 0 ? -dc : dc)) {
      fill4x4(static_cast<int16_t>((dc + 32) >> 6), out, stride);
    } else {
      kernels::idct4x4(c, out, stride);
    }
  } else {
    int64_t stored = 0;
    for (int i = 0; i < 16; ++i) stored += c[i] < 0 ? -c[i] : c[i];
    ok = stored == sum && kernels::idct4x4_checked(c, out, stride);
  }
  std::memset(c, 0, 16 * sizeof(int16_t));
  return ok;
}

bool ResidualWriter::put_luma4x4(int raster4x4, int64_t sum) {
  mask_ |= ResidualMask{1} << raster4x4;
  int16_t* out = y_ + raster4x4 / 4 * 4 * target_.y_stride + raster4x4 % 4 * 4;
  return put4x4(sum, out, target_.y_stride);
}

bool ResidualWriter::put_luma8x8(int raster8x8, int64_t sum) {
  mask_ |= mask8x8(raster8x8);
  int16_t* out = y_ + raster8x8 / 2 * 8 * target_.y_stride + raster8x8 % 2 * 8;
  int16_t* c = coefficients_.data();
  bool ok = true;
  if (sum <= kernels::kSafeSum8x8) [[likely]] {
    kernels::idct8x8(c, out, target_.y_stride);
  } else {
    int64_t stored = 0;
    for (int i = 0; i < 64; ++i) stored += c[i] < 0 ? -c[i] : c[i];
    ok = stored == sum && kernels::idct8x8_checked(c, out, target_.y_stride);
  }
  std::memset(c, 0, 64 * sizeof(int16_t));
  return ok;
}

// 8.5.10: f = H c H with the 4x4 Hadamard-like matrix, then scaling by LevelScale4x4(qP % 6, 0, 0).
bool ResidualWriter::intra16x16_dc(const std::array<int32_t, 16>& level) {
  std::array<int64_t, 16> c{};
  for (size_t k = 0; k < 16; ++k) c[kZigzag4x4[k]] = level[k];
  const auto pass = [&c](size_t first, size_t step) {
    const int64_t a = c[first] + c[first + step];
    const int64_t b = c[first] - c[first + step];
    const int64_t d = c[first + 2 * step] + c[first + 3 * step];
    const int64_t e = c[first + 2 * step] - c[first + 3 * step];
    c[first] = a + d;
    c[first + step] = a - d;
    c[first + 2 * step] = b - e;
    c[first + 3 * step] = b + e;
  };
  for (size_t i = 0; i < 4; ++i) pass(4 * i, 1);
  for (size_t i = 0; i < 4; ++i) pass(i, 4);
  bool ok = true;
  for (size_t i = 0; i < 16; ++i) {
    const int64_t dc = (c[i] * scale_y_[0] + 32) >> 6;
    ok = ok && fits16(dc);
    dc_y_[i] = static_cast<int16_t>(dc);
  }
  return ok;
}

bool ResidualWriter::put_intra16x16(int raster4x4, int64_t sum) {
  const int dc = dc_y_[static_cast<size_t>(raster4x4)];
  if (dc == 0 && sum == 0) return true;
  coefficients_[0] = static_cast<int16_t>(dc);
  return put_luma4x4(raster4x4, sum + (dc < 0 ? -dc : dc));
}

// 8.5.11: f = [1 1; 1 -1] c [1 1; 1 -1], dcC = ((f * LevelScale(qP % 6, 0, 0)) << (qP / 6)) >> 5.
bool ResidualWriter::chroma_dc(int plane, const std::array<int32_t, 4>& level) {
  const auto p = static_cast<size_t>(plane);
  const int64_t a = int64_t{level[0]} + level[1];
  const int64_t b = int64_t{level[0]} - level[1];
  const int64_t c = int64_t{level[2]} + level[3];
  const int64_t d = int64_t{level[2]} - level[3];
  const std::array<int64_t, 4> f = {a + c, b + d, a - c, b - d};
  bool ok = true;
  for (size_t i = 0; i < 4; ++i) {
    const int64_t dc = (f[i] * scale_uv_[p][0]) >> 5;
    ok = ok && fits16(dc);
    dc_uv_[p][i] = static_cast<int16_t>(dc);
  }
  return ok;
}

bool ResidualWriter::put_chroma(int plane, int block, int64_t sum) {
  const auto p = static_cast<size_t>(plane);
  const int dc = dc_uv_[p][static_cast<size_t>(block)];
  if (dc == 0 && sum == 0) return true;
  coefficients_[0] = static_cast<int16_t>(dc);
  mask_ |= ResidualMask{1} << (16 + plane * 4 + block);
  int16_t* out = uv_[p] + block / 2 * 4 * target_.uv_stride + block % 2 * 4;
  return put4x4(sum + (dc < 0 ? -dc : dc), out, target_.uv_stride);
}

bool ResidualWriter::put_bypass4x4(int raster4x4, const std::array<int32_t, 16>& level,
                                   int pred_mode) {
  mask_ |= ResidualMask{1} << raster4x4;
  int16_t* out = y_ + raster4x4 / 4 * 4 * target_.y_stride + raster4x4 % 4 * 4;
  if (!all_fit16(level)) return false;
  for (size_t k = 0; k < 16; ++k) {
    out[kZigzag4x4[k] / 4 * target_.y_stride + kZigzag4x4[k] % 4] = static_cast<int16_t>(level[k]);
  }
  return pred_mode > 1 || pred_mode < 0 || accumulate(out, target_.y_stride, 4, pred_mode);
}

bool ResidualWriter::put_bypass8x8(int raster8x8, const std::array<int32_t, 64>& level,
                                   int pred_mode) {
  mask_ |= mask8x8(raster8x8);
  int16_t* out = y_ + raster8x8 / 2 * 8 * target_.y_stride + raster8x8 % 2 * 8;
  if (!all_fit16(level)) return false;
  for (size_t k = 0; k < 64; ++k) {
    out[kZigzag8x8[k] / 8 * target_.y_stride + kZigzag8x8[k] % 8] = static_cast<int16_t>(level[k]);
  }
  return pred_mode > 1 || pred_mode < 0 || accumulate(out, target_.y_stride, 8, pred_mode);
}

bool ResidualWriter::put_bypass_chroma(int plane, int block, const std::array<int32_t, 16>& level) {
  mask_ |= ResidualMask{1} << (16 + plane * 4 + block);
  int16_t* out =
      uv_[static_cast<size_t>(plane)] + block / 2 * 4 * target_.uv_stride + block % 2 * 4;
  if (!all_fit16(level)) return false;
  for (size_t k = 0; k < 16; ++k) {
    out[kZigzag4x4[k] / 4 * target_.uv_stride + kZigzag4x4[k] % 4] = static_cast<int16_t>(level[k]);
  }
  return true;
}

// The sums run over the whole macroblock, so blocks that were not coded take part as zeros.
bool ResidualWriter::accumulate_intra16x16(int pred_mode) {
  clear(~mask_ & ResidualMask{0xffff});
  mask_ |= ResidualMask{0xffff};
  return accumulate(y_, target_.y_stride, 16, pred_mode);
}

bool ResidualWriter::accumulate_chroma(int pred_mode) {
  clear(~mask_ & ResidualMask{0xff0000});
  mask_ |= ResidualMask{0xff0000};
  return accumulate(uv_[0], target_.uv_stride, 8, pred_mode) &&
         accumulate(uv_[1], target_.uv_stride, 8, pred_mode);
}

void ResidualWriter::put_pcm(const uint8_t* samples) {
  if (y_ != nullptr) {
    for (int row = 0; row < 16; ++row) {
      for (int x = 0; x < 16; ++x) y_[row * target_.y_stride + x] = samples[row * 16 + x];
    }
    mask_ |= ResidualMask{0xffff};
  }
  if (uv_[0] == nullptr) return;
  samples += 256;
  for (int16_t* plane : uv_) {
    for (int row = 0; row < 8; ++row) {
      for (int x = 0; x < 8; ++x) plane[row * target_.uv_stride + x] = samples[row * 8 + x];
    }
    samples += 64;
  }
  mask_ |= ResidualMask{0xff0000};
}

void ResidualWriter::clear_lost() {
  clear(mask_);
  mask_ = 0;
  lost_ = false;
  ++macroblocks_lost_;
}

void ResidualWriter::clear_row(int address, int mb_x, int mb_y, int count) {
  // Rows of samples that fill the stride are one piece.
  const auto clear_samples = [](int16_t* at, ptrdiff_t stride, int width, int height) {
    if (width == stride) {
      width *= height;
      height = 1;
    }
    for (int row = 0; row < height; ++row) {
      std::memset(at + row * stride, 0, static_cast<size_t>(width) * sizeof(int16_t));
    }
  };
  if (target_.y != nullptr) {
    clear_samples(target_.y + mb_y * 16 * target_.y_stride + mb_x * 16, target_.y_stride,
                  count * 16, 16);
  }
  if (target_.u != nullptr) {
    const ptrdiff_t at = mb_y * 8 * target_.uv_stride + mb_x * 8;
    clear_samples(target_.u + at, target_.uv_stride, count * 8, 8);
    clear_samples(target_.v + at, target_.uv_stride, count * 8, 8);
  }
  std::fill_n(target_.written + address, count, ResidualMask{0});
}

void ResidualWriter::clear(ResidualMask blocks) {
  if (y_ != nullptr) {
    if ((blocks & 0xffff) == 0xffff) {
      for (int row = 0; row < 16; ++row) std::memset(y_ + row * target_.y_stride, 0, 32);
      blocks &= ~ResidualMask{0xffff};
    }
    for (ResidualMask m = blocks & 0xffff; m != 0; m &= m - 1) {
      const int b = std::countr_zero(m);
      fill4x4(0, y_ + b / 4 * 4 * target_.y_stride + b % 4 * 4, target_.y_stride);
    }
  }
  if (uv_[0] == nullptr) return;
  for (size_t p = 0; p < 2; ++p) {
    ResidualMask m = blocks >> (16 + 4 * p) & 15;
    if (m == 15) {
      for (int row = 0; row < 8; ++row) std::memset(uv_[p] + row * target_.uv_stride, 0, 16);
      continue;
    }
    for (; m != 0; m &= m - 1) {
      const int b = std::countr_zero(m);
      fill4x4(0, uv_[p] + b / 2 * 4 * target_.uv_stride + b % 2 * 4, target_.uv_stride);
    }
  }
}

}  // namespace cvdecode::h264
