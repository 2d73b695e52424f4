"""The parser under test, read through its private debug binding into plain ParsedPictures."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from .parsed import ParsedPicture, ParsedSlice


def open_debug(path: str | Path) -> Any:
    """`_core.H264Debug`: .unsupported (str), .size (pictures), .picture(n) -> dict."""
    from cvdecode import _core

    return _core.H264Debug(str(path))


def _slice(d: dict[str, Any]) -> ParsedSlice:
    weights = d["weights"]
    return ParsedSlice(
        slice_type=d["slice_type"],
        ref_lists=[[(int(n), bool(lt)) for n, lt in lst] for lst in d["ref_lists"]],
        direct_spatial_mv_pred=bool(d["direct_spatial_mv_pred"]),
        direct_8x8_inference=bool(d["direct_8x8_inference"]),
        constrained_intra_pred=bool(d["constrained_intra_pred"]),
        entropy_coding_mode=bool(d["entropy_coding_mode"]),
        weighted=d["weighted"],
        luma_log2_weight_denom=d["luma_log2_weight_denom"],
        chroma_log2_weight_denom=d["chroma_log2_weight_denom"],
        weights=None if weights is None else np.ascontiguousarray(weights, np.int32),
        header_bits=d["header_bits"],
        packet=d["packet"],
        nal_offset=d["nal_offset"],
        nal_size=d["nal_size"],
        damaged=bool(d["damaged"]),
    )


def _picture(number: int, d: dict[str, Any]) -> ParsedPicture:
    def plane(name: str, dtype: type) -> np.ndarray:
        return np.ascontiguousarray(d[name], dtype)

    uv = d["residual_uv"]
    return ParsedPicture(
        number=number,
        presentation=d["presentation"],
        packet=d["packet"],
        is_idr=bool(d["is_idr"]),
        references_sure=bool(d["references_sure"]),
        poc=min(d["top_poc"], d["bottom_poc"]),
        mb_type=plane("mb_type", np.uint8),
        slice=plane("slice", np.int32),
        qp=plane("qp", np.int16),
        bits=plane("bits", np.uint16),
        mv=plane("mv", np.int16),
        ref_idx=plane("ref_idx", np.int8),
        pred=plane("pred", np.uint8),
        intra_nxn_mode=plane("intra_nxn_mode", np.uint8),
        intra_16x16_mode=plane("intra_16x16_mode", np.uint8),
        intra_chroma_mode=plane("intra_chroma_mode", np.uint8),
        residual_y=plane("residual_y", np.int16),
        residual_uv=None if uv is None else np.ascontiguousarray(uv, np.int16),
        transform_8x8=plane("transform_8x8", np.uint8),
        slices=[_slice(s) for s in d["slices"]],
        pocs={int(n): min(t, b) for n, (t, b) in d["pocs"].items()},
    )


def pictures(debug: Any) -> Iterator[ParsedPicture]:
    """The pictures of the stream in decode order, but for those of which nothing was read."""
    for number in range(debug.size):
        raw = debug.picture(number)
        if "mb_type" in raw:
            yield _picture(number, raw)
