"""One candidate in a process of its own: a line "FILE" in, CPU seconds and frames out.

python worker.py CANDIDATE      then one path a line on standard input
"""

from __future__ import annotations

import json
import random
import sys
import time
from typing import Any


def cvdecode_planes(path: str, planes: tuple[str, ...], backend: str) -> int:
    import cvdecode

    frames = 0
    with cvdecode.VideoReader(path, planes=planes, backend=backend) as video:
        for clip in video.batches(32):
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
    from torchcodec.decoders import VideoDecoder

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


def random_three(frames: int) -> list[int]:
    return sorted(random.Random(7).sample(range(frames), 3))


class CvdecodeRandom:
    """Three frames of an open reader, its caches emptied by asking for others in between."""

    def __init__(self) -> None:
        self.open: dict[str, Any] = {}
        self.turn = 0

    def __call__(self, path: str) -> float:
        import cvdecode

        if path not in self.open:
            self.open[path] = cvdecode.VideoReader(path, planes=("mv", "ref"), backend="native")
        video = self.open[path]
        self.turn += 1
        wanted = sorted(random.Random(self.turn).sample(range(len(video)), 3))
        begin = time.process_time()
        video.get_frames_at(wanted)
        return time.process_time() - begin


class PyavRandom:
    """The same three frames by seeking to the key frame before each and decoding up to it."""

    def __init__(self) -> None:
        self.open: dict[str, Any] = {}
        self.turn = 0

    def __call__(self, path: str) -> float:
        import av

        if path not in self.open:
            container = av.open(path)
            stream = container.streams.video[0]
            stream.codec_context.thread_type = "NONE"
            stream.codec_context.thread_count = 1
            stream.codec_context.options = {"flags2": "+export_mvs"}
            self.open[path] = (container, stream)
        container, stream = self.open[path]
        self.turn += 1
        wanted = sorted(random.Random(self.turn).sample(range(stream.frames), 3))
        step = 1 / (stream.average_rate * stream.time_base)
        start = stream.start_time or 0
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
        return time.process_time() - begin


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
    "cvdecode three random frames": CvdecodeRandom(),
    "PyAV three random frames": PyavRandom(),
}


def main() -> None:
    candidate = CANDIDATES[sys.argv[1]]
    for line in sys.stdin:
        begin = time.process_time()
        result = candidate(line.strip())
        spent = time.process_time() - begin
        if isinstance(result, float):  # the candidate timed itself: opening excluded
            spent, result = result, 3
        print(json.dumps({"seconds": spent, "frames": result}), flush=True)


if __name__ == "__main__":
    main()
