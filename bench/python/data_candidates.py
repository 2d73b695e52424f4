"""Candidates of the part "data": one sample of a training loader, opening the file included.

Each is given a folder of clips and reads the same samples of it: TSN's three segments in CoViAR's
dialect, a multi-scale crop brought to 224. The peers get the draws and the windows for nothing, and
the same function resizes for all; what is compared is the reading.
"""

from __future__ import annotations

import functools
import time
from pathlib import Path
from typing import Any

GOP = 12
SAMPLES = 6  # of each clip
LONG = "gop250"
"""In the name of a folder of clips with longer GOPs: they are read with virtual_gop=GOP."""


class Seconds(float):
    """CPU seconds of reading `frames` samples; the draws are not counted."""

    frames = 0


class Samples:
    """CPU seconds of reading every sample of the folder, by `read`."""

    def __init__(self, read: Any) -> None:
        self.read = read

    def __call__(self, folder: str) -> Any:
        import torch

        torch.set_num_threads(1)
        jobs = [job for epoch in range(SAMPLES) for job in plans(folder, epoch)]
        begin = time.process_time()
        for job in jobs:
            self.read(*job)
        spent = Seconds(time.process_time() - begin)
        spent.frames = len(jobs)
        return spent


@functools.lru_cache(maxsize=64)
def dataset(folder: str, epoch: int, options: tuple[tuple[str, Any], ...]) -> Any:
    from cvdecode.data import TSN, CompressedVideoDataset, MultiScaleCrop

    paths = sorted(str(path) for path in Path(folder).glob("*.mp4"))
    chosen = dict(options)
    if chosen.pop("indexed"):  # beside the clips; made by the round that is not counted
        chosen["index_file"] = Path(folder) / "index.json"
    if LONG in folder:
        chosen["virtual_gop"] = GOP
    found = CompressedVideoDataset(paths, TSN(3), view=MultiScaleCrop(224), **chosen)
    found.set_epoch(epoch)
    return found


@functools.lru_cache(maxsize=64)
def plans(folder: str, epoch: int) -> list[tuple[str, int, int, Any, Any, str]]:
    """(folder, epoch, item, draw, window, path) of every sample: what the data set will draw."""
    import numpy as np

    import cvdecode
    from cvdecode.data import TSN, GopTable, MultiScaleCrop

    found = []
    for item, path in enumerate(sorted(str(p) for p in Path(folder).glob("*.mp4"))):
        with cvdecode.VideoReader(path, planes=()) as video:
            gops = GopTable.of(video.gops, len(video))
            if LONG in folder:
                gops = GopTable.virtual(GOP, len(video))
            rng = np.random.default_rng((0, epoch, item))
            draw = TSN(3)(gops, rng)
            window = MultiScaleCrop(224)(video.metadata.width, video.metadata.height, rng)
        found.append((folder, epoch, item, draw, window, path))
    return found


def ours(indexed: bool = False, **options: Any) -> Samples:
    """Without an index a video is scanned each time that it is opened, as peers have to."""
    key = (("indexed", indexed), *options.items())

    def read(folder: str, epoch: int, item: int, *_: Any) -> None:
        dataset(folder, epoch, key)[item]

    return Samples(read)


def torchcodec_sample(*job: Any) -> None:
    """What a TSN model on pixels would take: the three drawn frames in RGB."""
    from torchcodec.decoders import VideoDecoder

    from cvdecode.data import _resample

    *_, draw, window, path = job
    # Approximate seeking reads no packet of the file beforehand: the faster way to open.
    decoder = VideoDecoder(path, num_ffmpeg_threads=1, seek_mode="approximate")
    frames = decoder.get_frames_at(draw.frames.tolist()).data.numpy()
    _resample.bilinear(_resample.cut(frames, window), window)


def pyav_sample(*job: Any) -> None:
    """CoViAR's sample with PyAV and NumPy, GOPs of 12, true or virtual.

    Each GOP with a drawn frame is decoded from its key frame up to the last one drawn, virtual ones
    in one pass over the file; the vectors of each frame move the map of sources on; the residual is
    taken at its end. Vectorised over all blocks of one size. PyAV does not say where the vectors of
    B-frames lead: they are taken as if it were the frame before, which costs what it costs.
    """
    import av
    import numpy as np

    from cvdecode.data import _resample, encode_residual

    folder, *_, draw, window, path = job
    pictures: dict[int, Any] = {}
    vectors: dict[int, Any] = {}
    residuals: dict[int, Any] = {}
    with av.open(path) as container:
        stream = container.streams.video[0]
        stream.codec_context.thread_type = "NONE"
        stream.codec_context.thread_count = 1
        stream.codec_context.options = {"flags2": "+export_mvs"}
        step = 1 / (stream.average_rate * stream.time_base)
        start = stream.start_time or 0
        wanted = {int(key): int(key) for key in draw.iframes}  # key -> last frame needed
        for frame in draw.frames.tolist():
            key = frame // GOP * GOP
            wanted[key] = max(wanted.get(key, key), frame)
        drawn = set(draw.frames.tolist())
        frames = iter(container.decode(stream))
        for key in sorted(wanted):
            if LONG not in folder:
                container.seek(start + int(key * step), stream=stream)
                frames = iter(container.decode(stream))
            for decoded in frames:
                at = round((decoded.pts - start) / step)
                if at == key:
                    height, width = decoded.height, decoded.width
                    source = np.stack(
                        np.meshgrid(np.arange(width), np.arange(height)), axis=-1
                    ).astype(np.int32)
                    here = source.copy()
                    pictures[key] = decoded.to_ndarray(format="rgb24")
                elif key < at <= wanted[key]:
                    source = moved(source, decoded.side_data.get("MOTION_VECTORS"))
                if at in drawn and key <= at:
                    vectors[at] = here - source
                    rgb = decoded.to_ndarray(format="rgb24").astype(np.int16)
                    anchor = pictures[key][source[..., 1], source[..., 0]]
                    residuals[at] = rgb - anchor
                if at >= wanted[key]:
                    break
    iframes = np.stack([pictures[k].transpose(2, 0, 1) for k in draw.iframes.tolist()])
    mv = np.stack([vectors[f].transpose(2, 0, 1) for f in draw.frames.tolist()])
    mv = np.clip((_resample.cut(mv, window) * (127.5 / 20)).astype(np.int32) + 128, 0, 255)
    residual = np.stack([residuals[f].transpose(2, 0, 1) for f in draw.frames.tolist()])
    residual = encode_residual(_resample.cut(residual, window), "coviar_u8")
    _resample.bilinear(_resample.cut(iframes, window), window)
    _resample.bilinear(mv.astype(np.uint8), window)
    _resample.bilinear(residual, window)


def moved(source: Any, side: Any) -> Any:
    """CoViAR's map after a frame: each block takes the map of where it came from."""
    import numpy as np

    if side is None:
        return source
    height, width = source.shape[:2]
    mv = side.to_ndarray()
    value = np.stack([mv["dst_x"] - mv["src_x"], mv["dst_y"] - mv["src_y"]], axis=1)
    mv, value = mv[value.any(axis=1)], value[value.any(axis=1)]
    out = source.copy()
    for w, h in {(int(w), int(h)) for w, h in zip(mv["w"], mv["h"], strict=True)}:
        rows = (mv["w"] == w) & (mv["h"] == h)
        x = (mv["dst_x"][rows] - w // 2)[:, None, None] + np.arange(w)[None, None, :]
        y = (mv["dst_y"][rows] - h // 2)[:, None, None] + np.arange(h)[None, :, None]
        x, y = np.broadcast_arrays(x, y)
        from_x = x - value[rows][:, 0][:, None, None]
        from_y = y - value[rows][:, 1][:, None, None]
        good = (x >= 0) & (x < width) & (y >= 0) & (y < height)
        good &= (from_x >= 0) & (from_x < width) & (from_y >= 0) & (from_y < height)
        out[y[good], x[good]] = source[from_y[good], from_x[good]]
    return out


def first_batch(folder: str) -> Seconds:
    """A data set of 10,000 files whose index is there: from making it to its first 32 samples."""
    import os

    from sources import sample_folders
    from torch.utils.data import DataLoader

    from cvdecode.data import TSN, CompressedVideoDataset, MultiScaleCrop, collate

    root = Path(folder) / "videos"
    clips = [path for _, clips in sample_folders() for path in sorted(clips.glob("*.mp4"))]
    for k in range(10_000):
        name = root / f"{k % 100:02d}" / f"{k:05d}.mp4"
        if not name.exists():
            name.parent.mkdir(parents=True, exist_ok=True)
            os.link(clips[k % len(clips)], name)

    def make() -> Any:
        index = Path(folder) / "index.json"
        return CompressedVideoDataset(root, TSN(3), view=MultiScaleCrop(224), index_file=index)

    make()
    begin = time.process_time()
    next(iter(DataLoader(make(), 32, shuffle=True, collate_fn=collate)))
    spent = Seconds(time.process_time() - begin)
    spent.frames = 32
    return spent


RGB_PEER = "torchcodec: three RGB frames"
PYAV_PEER = "PyAV + NumPy: I + MV + R"
COVIAR_OPTIONS: dict[str, dict[str, Any]] = {
    "cvdecode: I + MV + R (coded)": {"residual": "coded"},
    "cvdecode: I + MV + R (recon_diff)": {"residual": "recon_diff"},
}
MOTION_OPTIONS: dict[str, dict[str, Any]] = {
    "cvdecode: MV accumulated": {"modalities": ("mv",)},
    "cvdecode: MV accumulated, 4x4 blocks": {"modalities": ("mv",), "mv_grid": 4},
    "cvdecode: MV one step": {"modalities": ("mv",), "motion": "step"},
    "cvdecode: vectors and references": {"modalities": ("mv",), "motion": "coded"},
}


def candidates(options: dict[str, dict[str, Any]]) -> dict[str, Samples]:
    """Each without and with the data set's index."""
    return {
        name + text: ours(indexed, **each)
        for name, each in options.items()
        for text, indexed in (("", False), (", index_file", True))
    }


COVIAR = {**candidates(COVIAR_OPTIONS), PYAV_PEER: Samples(pyav_sample)}
MOTION = {**candidates(MOTION_OPTIONS), RGB_PEER: Samples(torchcodec_sample)}
FIRST_BATCH = "cvdecode: first batch of 32 of 10,000 files"
CANDIDATES: dict[str, Any] = {**COVIAR, **MOTION, FIRST_BATCH: first_batch}
