// Phase A: the slice data of one slice (7.3.4), decoded without any other picture. What it leaves
// behind (macroblock records, vector differences, residual, bits) is all that the later phases,
// the planes and the test reconstructor look at.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "h264/macroblock.h"
#include "h264/slice_header.h"

namespace cvdecode::h264 {

// Intra prediction modes of one macroblock, kept only when asked for (SliceTargets).
struct IntraModes {
  // Intra4x4PredMode or Intra8x8PredMode (0..8) per 4x4 block in raster order inside the
  // macroblock (an 8x8 mode stands in its four blocks); Intra16x16PredMode (0..3) in all 16 for
  // I_16x16; -1 for I_PCM and inter.
  std::array<int8_t, 16> luma{};
  int8_t intra_chroma_pred_mode = -1;  // 0..3; -1 for I_PCM, inter and 4:0:0
};
inline constexpr IntraModes kNoIntraModes = {
    {-1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1}, -1};

// Which 4x4 blocks of one macroblock may hold something else than zero in the residual planes:
// bits 0..15 luma in raster order, 16..19 Cb, 20..23 Cr.
using ResidualMask = uint32_t;
inline constexpr ResidualMask kResidualAll = 0xffffff;
inline constexpr ResidualMask kResidualUnknown = 0xffffffff;  // nobody knows what is there

// The residual planes of one picture at coded size. A null plane is not wanted. Only blocks coded
// now are stored and only blocks set in `written` are cleared, so `written` belongs to the memory
// of the planes and must be kept as long as it is reused: all zero for zeroed memory,
// kResidualUnknown where the contents are unknown. Needed whenever y, u or v is given. u and v come
// together.
struct ResidualTarget {
  int16_t* y = nullptr;
  int16_t* u = nullptr;
  int16_t* v = nullptr;
  ptrdiff_t y_stride = 0;           // in samples
  ptrdiff_t uv_stride = 0;          // in samples
  ResidualMask* written = nullptr;  // one per macroblock address
};

// What is wanted besides macroblock records and vector differences, which are always given.
struct SliceTargets {
  ResidualTarget residual;
  uint16_t* bits = nullptr;  // one per macroblock address; docs/planes.md, saturating
  bool intra_modes = false;  // fill PictureSyntax::intra_modes
};

// The macroblocks of one picture. Memory is kept from picture to picture.
struct PictureSyntax {
  int PicWidthInMbs = 0;
  int PicHeightInMbs = 0;
  std::vector<Macroblock> macroblocks;  // by macroblock address, which is raster order
  std::vector<SliceSyntax> slices;      // parallel to PictureEntry::slices
  std::vector<IntraModes> intra_modes;  // by address; empty unless asked for

  // Makes everything ready for one picture: `slice_count` empty slices. Macroblock records keep
  // what they held before; clear_unreached() makes lost what no slice has written. Throws
  // Error(kUnsupported) for what lies outside the native scope of 8-bit 4:2:0 or 4:0:0 frames.
  void start(const Sps& sps, int slice_count, bool want_intra_modes);
  int PicSizeInMbs() const { return PicWidthInMbs * PicHeightInMbs; }
};

// How the record of a macroblock is filled, beyond what macroblock.h says:
//  P_SKIP: pred kPredL0, ref_idx list 0 kRefIdxDerived, list 1 kRefIdxNotUsed.
//  B_SKIP, B_DIRECT_16x16 and direct quadrants: pred kPredDirect, ref_idx of both lists
//    kRefIdxDerived.
//  Intra: pred kPredNone, ref_idx kRefIdxNotUsed.
//  I_PCM: QPY carries QP_Y,PRED on (7.4.5); the qp plane shows kQpNone there.
//  first_mvd is set for every macroblock, also where it has no vector differences.
// Coefficients out of range (8.5.12, 8.5.13) are looked for only where a residual is wanted, and
// lose the residual of their macroblock, nothing else: SliceSyntax::residual_lost.
// A damaged slice: its macroblocks from first_mb to where it stopped are kLost again, bits 0,
// residual cleared, and SliceSyntax says which syntax element failed. Macroblocks that no slice
// reached are the caller's to clear, see clear_unreached().
//
// One object is the scratch memory of one thread. Slices of one picture may be decoded by several
// threads at once, each with its own SliceDecoder, if the ranges [first_mb_in_slice, mb_end) do
// not overlap.
class SliceDecoder {
 public:
  SliceDecoder();
  ~SliceDecoder();
  SliceDecoder(SliceDecoder&&) noexcept;
  SliceDecoder& operator=(SliceDecoder&&) noexcept;

  // rbsp: NAL unit after its header byte as nal_rbsp() gives it: emulation prevention removed, and
  // kRbspPadding readable bytes behind it.
  // slice_index: which element of picture.slices. mb_end: no macroblock at or beyond this address
  // may belong to the slice (first_mb_in_slice of the next slice, or PicSizeInMbs); a slice that
  // goes on is damaged. Never throws for damaged data; throws Error(kUnsupported) for field,
  // MBAFF, SP and SI slices and slice groups.
  void decode(const SliceHeader& header, const ParameterSets& sets, std::span<const uint8_t> rbsp,
              int slice_index, int mb_end, const SliceTargets& targets, PictureSyntax& picture);

  // Tests only: count the branches of the syntax that are met (slice_data_coverage.h). Works where
  // a residual is wanted.
  void count_branches(bool on);

  struct State;

 private:
  std::unique_ptr<State> state_;
};

// To be called after all slices of a picture were decoded, where the whole ones do not cover it:
// what none of them covers becomes kLost, its bits 0, its residual clear.
void clear_unreached(PictureSyntax& picture, const SliceTargets& targets);

}  // namespace cvdecode::h264
