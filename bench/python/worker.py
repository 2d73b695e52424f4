"""One candidate in a process of its own: a line "FILE" in, a line of JSON out: CPU and wall
seconds, frames, and the process's peak memory beyond what it held before.

python worker.py CANDIDATE      then one path a line on standard input
"""

from __future__ import annotations

import contextlib
import json
import random
import sys
import time
from typing import Any


def cvdecode_planes(
    path: str, planes: tuple[str, ...], backend: str, threads: int = 1, batch: int = 8
) -> int:
    import cvdecode

    frames = 0
    with cvdecode.VideoReader(path, planes=planes, backend=backend, num_threads=threads) as video:
        for clip in video.batches(batch):  # 8: few enough to stay in the processor's cache
            frames += len(clip)
    return frames


def cvdecode_whole(path: str) -> int:
    import cvdecode

    return len(cvdecode.read(path, planes=("mv", "ref", "qp", "mb_type"), backend="native"))


def cvdecode_rgb(path: str) -> int:
    import cvdecode

    frames = 0
    with cvdecode.VideoReader(path, planes=(), rgb="all") as video:
        for clip in video.batches(16):
            frames += len(clip)
    return frames


def pyav_vectors(path: str) -> int:
    import av

    frames = 0
    with av.open(path) as container:
        stream = container.streams.video[0]
        stream.codec_context.thread_type = "NONE"
        stream.codec_context.thread_count = 1
        stream.codec_context.options = {"flags2": "+export_mvs"}
        for frame in container.decode(stream):
            vectors = frame.side_data.get("MOTION_VECTORS")
            if vectors is not None:
                vectors.to_ndarray()
            frames += 1
    return frames


def mv_extractor(path: str) -> int:
    from mvextractor.videocap import VideoCap

    capture = VideoCap()
    capture.open(path)
    frames = 0
    while capture.read()[0]:
        frames += 1
    capture.release()
    return frames


def torchcodec_rgb(path: str) -> int:
    import torch
    from torchcodec.decoders import VideoDecoder

    # One thread is all that is timed. On a busy machine torch's idle ones would spin, and that
    # would be counted: measured, ten times the CPU time at 340x256.
    torch.set_num_threads(1)
    decoder = VideoDecoder(path, num_ffmpeg_threads=1)
    for i in range(0, len(decoder), 16):
        decoder.get_frames_in_range(i, min(i + 16, len(decoder)))
    return len(decoder)


def decord_rgb(path: str) -> int:
    import decord

    reader = decord.VideoReader(path, num_threads=1)
    for i in range(0, len(reader), 16):
        reader.get_batch(range(i, min(i + 16, len(reader)))).asnumpy()
    return len(reader)


def codec_video_prep(path: str) -> int:
    from codec_video_prep.cv_reader_fast import read_video_fast

    return len(read_video_fast(path, 1, 0, "slice"))


class Seconds(float):
    """What a candidate measured itself, where a part of its work is not to be counted."""


class CoviarLoad:
    """cvdecode.coviar.load() with the file's index at hand. The GOPs are those of the stand-in;
    each is asked for in turn, so that none is still kept from the call before."""

    def __init__(self, representation: int, positions: range) -> None:
        self.representation = representation
        self.positions = positions

    def __call__(self, path: str) -> Seconds:
        from cvdecode import coviar

        gops = coviar_gops(coviar.get_num_gops(path))
        begin = time.process_time()
        for gop in gops:
            for position in self.positions:
                coviar.load(path, gop, position, self.representation, True)
        return Seconds(time.process_time() - begin)


def coviar_gops(count: int) -> list[int]:
    """Four GOPs spread over the file; not the last, whose end the original loses."""
    return [count * k // 8 for k in (1, 3, 5, 7)]


def frames_opening_included(path: str) -> int:
    import cvdecode

    with cvdecode.VideoReader(path, planes=("mv", "ref"), backend="native") as video:
        wanted = sorted(random.Random(7).sample(range(len(video)), 3))
        return len(video.get_frames_at(wanted))


class CvdecodeRandom:
    """Three frames of an open reader, its caches emptied by asking for others in between."""

    def __init__(self) -> None:
        self.open: dict[str, Any] = {}
        self.turn = 0

    def __call__(self, path: str) -> Seconds:
        import cvdecode

        if path not in self.open:
            self.open[path] = cvdecode.VideoReader(path, planes=("mv", "ref"), backend="native")
        video = self.open[path]
        self.turn += 1
        wanted = sorted(random.Random(self.turn).sample(range(len(video)), 3))
        begin = time.process_time()
        video.get_frames_at(wanted)
        return Seconds(time.process_time() - begin)


class PyavRandom:
    """The same three frames by seeking to the key frame before each and decoding up to it."""

    def __init__(self, cold: bool = False) -> None:
        self.cold = cold
        self.open: dict[str, Any] = {}
        self.turn = 0

    def __call__(self, path: str) -> Seconds:
        import av

        begin = time.process_time()
        if path not in self.open or self.cold:
            container = av.open(path)
            stream = container.streams.video[0]
            stream.codec_context.thread_type = "NONE"
            stream.codec_context.thread_count = 1
            stream.codec_context.options = {"flags2": "+export_mvs"}
            self.open[path] = (container, stream)
        container, stream = self.open[path]
        self.turn += 1
        seed = 7 if self.cold else self.turn
        wanted = sorted(random.Random(seed).sample(range(stream.frames), 3))
        step = 1 / (stream.average_rate * stream.time_base)
        start = stream.start_time or 0
        if not self.cold:
            begin = time.process_time()
        for index in wanted:
            target = start + int(index * step)
            container.seek(target, stream=stream)
            for frame in container.decode(stream):
                if frame.pts >= target:
                    vectors = frame.side_data.get("MOTION_VECTORS")
                    if vectors is not None:
                        vectors.to_ndarray()
                    break
        return Seconds(time.process_time() - begin)


CANDIDATES: dict[str, Any] = {
    "cvdecode libav mv+qp": lambda p: cvdecode_planes(p, ("mv", "qp"), "libav"),
    "cvdecode native mv+ref+qp+mb_type": lambda p: cvdecode_planes(
        p, ("mv", "ref", "qp", "mb_type"), "native"
    ),
    "cvdecode native whole clip": cvdecode_whole,
    "cvdecode native with residual": lambda p: cvdecode_planes(
        p, ("mv", "ref", "qp", "mb_type", "residual_y", "residual_uv"), "native"
    ),
    "cvdecode rgb": cvdecode_rgb,
    "PyAV vectors": pyav_vectors,
    "mv-extractor": mv_extractor,
    "torchcodec rgb": torchcodec_rgb,
    "decord rgb": decord_rgb,
    "codec-video-prep": codec_video_prep,
    "cvdecode native, 2 threads": lambda p: cvdecode_planes(
        p, ("mv", "ref", "qp", "mb_type"), "native", 2
    ),
    "cvdecode native, batches of 32": lambda p: cvdecode_planes(
        p, ("mv", "ref", "qp", "mb_type"), "native", 1, 32
    ),
    "cvdecode native, 2 threads, batches of 32": lambda p: cvdecode_planes(
        p, ("mv", "ref", "qp", "mb_type"), "native", 2, 32
    ),
    "cvdecode three random frames": CvdecodeRandom(),
    "PyAV three random frames": PyavRandom(),
    "cvdecode three random frames, opening included": frames_opening_included,
    "PyAV three random frames, opening included": PyavRandom(cold=True),
    "cvdecode.coviar.load vectors": CoviarLoad(1, range(11, 12)),
    "cvdecode.coviar.load residual": CoviarLoad(2, range(11, 12)),
    "cvdecode.coviar.load all positions": CoviarLoad(1, range(12)),
}


def memory(field: str) -> int:
    """Bytes: VmRSS (now) or VmHWM (the peak since peak_restarts()); 0 where Linux is not."""
    try:
        with open("/proc/self/status") as status:
            for line in status:
                if line.startswith(field):
                    return int(line.split()[1]) * 1024
    except OSError:
        pass
    return 0


def peak_restarts() -> None:
    with contextlib.suppress(OSError), open("/proc/self/clear_refs", "w") as refs:
        refs.write("5")


def main() -> None:
    import data_candidates

    candidate = {**CANDIDATES, **data_candidates.CANDIDATES}[sys.argv[1]]
    for line in sys.stdin:
        peak_restarts()
        before = memory("VmRSS")
        wall = time.perf_counter()
        begin = time.process_time()
        result = candidate(line.strip())
        spent = time.process_time() - begin
        wall = time.perf_counter() - wall
        if isinstance(result, float):
            spent, result = float(result), getattr(result, "frames", 0)
        answer = {
            "seconds": spent,
            "wall_seconds": wall,
            "frames": result,
            "peak_bytes": max(0, memory("VmHWM") - before),
            "process_bytes": memory("VmHWM"),
        }
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
