"""Many short clips through one encoder process, one stream: a process a clip would cost minutes.

Every clip starts with an IDR (or an MPEG-4 I-VOP), so nothing refers across clips.
"""

from __future__ import annotations

import subprocess
from collections.abc import Iterable
from pathlib import Path

from evidence.actions import SIZE, Frames

# GOP 12 with two B pictures, IBBPBBPBBPBP; the encoder's choice of types is switched off.
X264_GOP12 = (
    "-c:v", "libx264", "-preset", "medium", "-crf", "23", "-g", "12", "-keyint_min", "12",
    "-sc_threshold", "0", "-bf", "2", "-b_strategy", "0", "-x264-params", "open-gop=0",
)  # fmt: skip
# What people really have: keyint 250, 3 adaptive B pictures, pyramid, 3 references.
X264_DEFAULT = ("-c:v", "libx264", "-preset", "medium", "-crf", "23", "-forced-idr", "1")
X264_P_ONLY = (*X264_GOP12, "-bf", "0")
# What CoViAR's loader reads.
MPEG4_P_ONLY = ("-c:v", "mpeg4", "-q:v", "3", "-g", "12", "-bf", "0", "-sc_threshold", "1000000000")


def encode(
    clips: Iterable[Frames], path: Path, frames: int, codec: tuple[str, ...], *, threads: int = 1
) -> None:
    """Write clips of ``frames`` grey pictures each, one after the other, as one video.

    Clip i is frames [i * frames, (i + 1) * frames). Chroma is 128 everywhere. The same bytes for
    the same clips and version of the encoder, because ``threads`` is fixed.
    """
    command = [
        "ffmpeg", "-v", "error", "-y", "-f", "rawvideo", "-pix_fmt", "yuv420p",
        "-s", f"{SIZE}x{SIZE}", "-r", "25", "-i", "-", *codec,
        "-force_key_frames", f"expr:not(mod(n,{frames}))", "-threads", str(threads),
        "-map_metadata", "-1", "-fflags", "+bitexact", str(path),
    ]  # fmt: skip
    chroma = bytes([128]) * (SIZE * SIZE // 2)
    path.parent.mkdir(parents=True, exist_ok=True)
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdin is not None
    assert process.stderr is not None
    try:
        for clip in clips:
            if clip.shape != (frames, SIZE, SIZE):
                raise ValueError(f"a clip of shape {clip.shape}, not {(frames, SIZE, SIZE)}")
            for picture in clip:
                process.stdin.write(picture.tobytes() + chroma)
    except BrokenPipeError:
        pass
    finally:
        process.stdin.close()
        message = process.stderr.read().decode()
        process.stderr.close()
        code = process.wait()
    if code:
        path.unlink(missing_ok=True)
        raise OSError(f"{path}: ffmpeg failed ({code}): {message.strip()}")
