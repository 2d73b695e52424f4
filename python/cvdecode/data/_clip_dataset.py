"""A minimal map-style dataset: clips of fixed length from a folder of videos."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch.utils.data import Dataset

import cvdecode

if TYPE_CHECKING:
    from collections.abc import Sequence


class ClipDataset(Dataset[dict[str, Any]]):
    """Clips of `length` frames, one after the other, from every video of a folder or list.

    Videos are opened where a sample is drawn, so worker processes share nothing and any number of
    workers gives the same samples.

    Args:
        videos: a folder (searched in depth for `suffixes`) or the paths themselves.
        length: frames in a clip; what is left over at the end of a video is not used.
        stride: frames from one clip's start to the next (default: `length`).
        planes: as in `VideoReader`.

    Each item is a dict: for every plane a tensor whose first dimension is `length`, `path` (str),
    `start` (int, presentation index), `lost` ((length,) bool). All videos must have one size for
    the default collate of a DataLoader.

    Raises:
        FileNotFoundError: the folder does not exist.
        ValueError: no clip of that length in any video, or a length or stride below 1.
        cvdecode.Error: a video cannot be read.
    """

    def __init__(
        self,
        videos: str | Path | Sequence[str | Path],
        *,
        length: int = 12,
        stride: int | None = None,
        planes: Sequence[str] = ("mv", "ref", "qp"),
        suffixes: Sequence[str] = (".mp4", ".mkv", ".avi", ".mov", ".264", ".h264", ".ts"),
    ) -> None:
        if length < 1 or (stride is not None and stride < 1):
            raise ValueError(f"length ({length}) and stride ({stride}) must be at least 1")
        self.planes = tuple(planes)
        self.length = length
        if isinstance(videos, str | Path):
            folder = Path(videos)
            if not folder.is_dir():
                raise FileNotFoundError(f"{folder}: no such folder")
            paths = sorted(p for p in folder.rglob("*") if p.suffix.lower() in suffixes)
        else:
            paths = [Path(p) for p in videos]
        self.clips: list[tuple[Path, int]] = []
        for path in paths:
            with cvdecode.VideoReader(path, planes=self.planes) as video:
                for segment in video.segments:
                    starts = range(segment.start, segment.stop - length + 1, stride or length)
                    self.clips += [(path, start) for start in starts]
        if not self.clips:
            raise ValueError(f"no clip of {length} frames in the {len(paths)} videos of {videos}")

    def __len__(self) -> int:
        return len(self.clips)

    def __getitem__(self, index: int) -> dict[str, Any]:
        path, start = self.clips[index]
        with cvdecode.VideoReader(path, planes=self.planes) as video:
            clip = video.get_frames_in_range(start, start + self.length)
        tensors = clip.torch()
        sample: dict[str, Any] = {name: tensors[name] for name in self.planes}
        sample.update(path=str(path), start=start, lost=torch.from_numpy(clip.lost))
        return sample
