"""One picture as the parser under test gives it: plain arrays, nothing computed here."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

# cvdecode.MbType as docs/planes.md lists it, spelt out so that a renumbering cannot hide.
I_4X4, I_8X8, I_16X16, I_PCM, P_SKIP, B_SKIP, B_DIRECT_16X16 = range(7)
INTER_16X16, INTER_16X8, INTER_8X16, INTER_8X8 = 7, 8, 9, 10
LOST = 255

SLICE_P, SLICE_B, SLICE_I = 0, 1, 2
PRED_L0, PRED_L1, PRED_DIRECT = 1, 2, 4


@dataclass
class ParsedSlice:
    """A slice: what the oracles need of its header.

    ref_lists: per list, (decode number or negative, marked long-term) per refIdx.
    weighted: 0 default, 1 explicit, 2 implicit.
    weights: int32 (2, 32, 3, 2): list, refIdx, (Y, Cb, Cr), (weight, offset); explicit only.
    """

    slice_type: int
    ref_lists: list[list[tuple[int, bool]]]
    direct_spatial_mv_pred: bool
    direct_8x8_inference: bool
    constrained_intra_pred: bool
    entropy_coding_mode: bool
    weighted: int
    luma_log2_weight_denom: int
    chroma_log2_weight_denom: int
    weights: np.ndarray | None
    header_bits: int
    packet: int
    nal_offset: int
    nal_size: int
    damaged: bool


@dataclass
class ParsedPicture:
    """One picture at coded size. H16, W16 = macroblocks; H8 = 2 H16; H4 = 4 H16.

    mb_type uint8 (H16, W16); slice int32 (H16, W16), -1 = lost; qp int16; bits uint16;
    mv int16 (2, 2, H4, W4): list, (x, y); ref_idx int8 (2, H8, W8) raw, -1 = list not used;
    pred uint8 (H8, W8) as parsed, PRED_DIRECT for direct quadrants;
    intra_nxn_mode uint8 (H4, W4); intra_16x16_mode, intra_chroma_mode uint8 (H16, W16);
    residual_y int16 (H, W); residual_uv int16 (2, H / 2, W / 2), None for 4:0:0.
    """

    number: int
    presentation: int | None
    packet: int
    is_idr: bool
    references_sure: bool
    poc: int
    mb_type: np.ndarray
    slice: np.ndarray
    qp: np.ndarray
    bits: np.ndarray
    mv: np.ndarray
    ref_idx: np.ndarray
    pred: np.ndarray
    intra_nxn_mode: np.ndarray
    intra_16x16_mode: np.ndarray
    intra_chroma_mode: np.ndarray
    residual_y: np.ndarray
    residual_uv: np.ndarray | None
    transform_8x8: np.ndarray
    slices: list[ParsedSlice] = field(default_factory=list)
    pocs: dict[int, int] = field(default_factory=dict)  # of the pictures in its lists

    @property
    def mb_shape(self) -> tuple[int, int]:
        """(H16, W16)."""
        return self.mb_type.shape[0], self.mb_type.shape[1]

    def of_slices(self, values: list[int]) -> np.ndarray:
        """Spread one int per slice over the macroblocks, (H16, W16); 0 where lost."""
        table = np.array([*values, 0])
        return table[np.where(self.slice < 0, len(values), self.slice)]
