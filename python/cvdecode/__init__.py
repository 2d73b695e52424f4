"""What a video codec already knows, as tensors: motion vectors, references, residuals, QP, bits.

with cvdecode.VideoReader("clip.mp4", planes=("mv", "ref", "qp")) as video:
    clip = video.get_frames_at([3, 77, 150])
    clip.mv     # int16 (T, 2 lists, 2 (x, y), H/4, W/4), quarter samples
"""

from __future__ import annotations

from importlib import metadata as _metadata

from . import coviar
from ._accumulate import (
    ANCHOR_NONE,
    ANCHOR_NOT_SHOWN,
    MASK_ANCHOR,
    MASK_BROKEN,
    MASK_CUT,
    MASK_INTRA_BLOCK,
    MASK_PASSED,
    Accumulation,
    AccumulationStats,
    accumulate,
)
from ._batch import AccumulationBatch, accumulate_batch
from ._core import (
    CorruptStream,
    Error,
    PlaneUnavailable,
    ReaderState,
    SourceError,
    SourceNotFound,
    UnsupportedStream,
    live_buffer_bytes,
    live_buffers,
)
from ._device import DeviceUnavailable
from ._frame import (
    PLANE_VERSION,
    PLANES,
    QP_NONE,
    REF_MISSING,
    REF_NOT_SHOWN,
    REF_OTHER_FIELD,
    REF_UNTRUSTED,
    Clip,
    Crop,
    Frame,
    Gop,
    MbType,
    Metadata,
    PlaneNotRead,
    Segment,
)
from ._rasterize import rasterize
from ._reader import VideoReader, probe, read
from ._resample import resample
from ._stream import Probe, Stats
from ._token_mask import token_mask

try:
    __version__ = _metadata.version("cvdecode")
except _metadata.PackageNotFoundError:  # run from the source tree
    __version__ = "0.0.0"

__all__ = [
    "ANCHOR_NONE",
    "ANCHOR_NOT_SHOWN",
    "MASK_ANCHOR",
    "MASK_BROKEN",
    "MASK_CUT",
    "MASK_INTRA_BLOCK",
    "MASK_PASSED",
    "PLANES",
    "PLANE_VERSION",
    "QP_NONE",
    "REF_MISSING",
    "REF_NOT_SHOWN",
    "REF_OTHER_FIELD",
    "REF_UNTRUSTED",
    "Accumulation",
    "AccumulationBatch",
    "AccumulationStats",
    "Clip",
    "CorruptStream",
    "Crop",
    "DeviceUnavailable",
    "Error",
    "Frame",
    "Gop",
    "MbType",
    "Metadata",
    "PlaneNotRead",
    "PlaneUnavailable",
    "Probe",
    "ReaderState",
    "Segment",
    "SourceError",
    "SourceNotFound",
    "Stats",
    "UnsupportedStream",
    "VideoReader",
    "accumulate",
    "accumulate_batch",
    "coviar",
    "live_buffer_bytes",
    "live_buffers",
    "probe",
    "rasterize",
    "read",
    "resample",
    "token_mask",
]
