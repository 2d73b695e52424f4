"""Teacher-forced reconstruction: libavcodec's neighbours and references plus our residual."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from ._native import oracle_module
from .parsed import ParsedPicture
from .reference import ReferenceFrame

NOT_CHECKED, RECONSTRUCTED, NO_REFERENCE, ILLEGAL_MODE = range(4)


@dataclass
class Reconstruction:
    """The outcome for one picture.

    verdict: uint8 (H16, W16), one of the four words above.
    wrong: bool (planes, H16, W16), the macroblock's samples differ from libavcodec's.
    planes: what prediction and residual gave.
    """

    verdict: np.ndarray
    wrong: np.ndarray
    planes: list[np.ndarray]

    @property
    def exact(self) -> bool:
        """Every macroblock was reconstructed and every sample is equal."""
        return bool((self.verdict == RECONSTRUCTED).all() and not self.wrong.any())

    def describe(self, picture: ParsedPicture, frame: ReferenceFrame, limit: int = 4) -> str:
        """The first differences in words: macroblock, plane, place, expected, got."""
        lines = []
        for verdict, word in ((NOT_CHECKED, "lost"), (NO_REFERENCE, "no reference")):
            if n := int((self.verdict == verdict).sum()):
                lines.append(f"{n} macroblocks {word}")
        if n := int((self.verdict == ILLEGAL_MODE).sum()):
            y, x = np.argwhere(self.verdict == ILLEGAL_MODE)[0]
            lines.append(f"{n} macroblocks with an impossible intra mode, first ({x}, {y})")
        bad = np.argwhere(self.wrong & (self.verdict == RECONSTRUCTED))
        lines.append(f"{len({(y, x) for _, y, x in bad})} macroblocks wrong")
        for plane, y, x in bad[:limit]:
            n = 8 if plane else 16
            block = np.s_[y * n : y * n + n, x * n : x * n + n]
            expected, got = frame.planes[plane][block], self.planes[plane][block]
            r, c = np.argwhere(expected != got)[0]
            lines.append(
                f"macroblock ({x}, {y}) mb_type {picture.mb_type[y, x]} "
                f"slice {picture.slice[y, x]} qp {picture.qp[y, x]} plane {plane}"
                f" sample ({c}, {r}): expected {expected[r, c]}, got {got[r, c]};"
                f" {int((expected != got).sum())} samples differ;"
                f" ref_idx {picture.ref_idx[:, y * 2 : y * 2 + 2, x * 2 : x * 2 + 2].tolist()}"
            )
        return "; ".join(lines)


def _differs(a: np.ndarray, b: np.ndarray, n: int) -> np.ndarray:
    h, w = a.shape[0] // n, a.shape[1] // n
    return (a != b).reshape(h, n, w, n).any(axis=(1, 3))


def reconstruct(
    picture: ParsedPicture,
    frame: ReferenceFrame,
    references: Mapping[int, ReferenceFrame],
) -> Reconstruction:
    """Rebuild a picture and compare it with libavcodec's frame.

    references: libavcodec's frames by decode number, only those that may be trusted.
    """
    planes = 1 if picture.residual_uv is None else 3
    numbers = sorted({n for s in picture.slices for lst in s.ref_lists for n, _ in lst})
    known = [n for n in numbers if n in references]
    place = {n: i for i, n in enumerate(known)}
    slices = [
        {
            "constrained_intra_pred": s.constrained_intra_pred,
            "weighted": s.weighted,
            "luma_log2_weight_denom": s.luma_log2_weight_denom,
            "chroma_log2_weight_denom": s.chroma_log2_weight_denom,
            "weights": s.weights,
            "ref_lists": [
                [(place.get(n, -1), picture.pocs.get(n, 0), long_term) for n, long_term in lst]
                for lst in s.ref_lists
            ],
        }
        for s in picture.slices
    ]
    h, w = picture.mb_shape
    out, verdict = oracle_module().reconstruct(
        {
            "mb_width": w,
            "mb_height": h,
            "planes": planes,
            "poc": picture.poc,
            "decoded": frame.planes[:planes],
            "refs": [references[n].planes[:planes] for n in known],
            "mb_type": picture.mb_type,
            "slice": picture.slice,
            "mv": picture.mv,
            "ref_idx": picture.ref_idx,
            "intra_nxn_mode": picture.intra_nxn_mode,
            "intra_16x16_mode": picture.intra_16x16_mode,
            "intra_chroma_mode": picture.intra_chroma_mode,
            "residual_y": picture.residual_y,
            "residual_uv": picture.residual_uv,
            "slices": slices,
        }
    )
    wrong = np.stack([_differs(frame.planes[p], out[p], 8 if p else 16) for p in range(planes)]) & (
        verdict == RECONSTRUCTED
    )
    return Reconstruction(verdict, wrong, out)
