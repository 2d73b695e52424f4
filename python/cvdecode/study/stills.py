"""Still images as seven-frame clips (Johnston et al.): the same picture at every QP and frame type.

Each image stands still in the centre of a clip of seven frames, on horizontal lines that scroll
upwards so that the codec has something to predict. The clips are coded IBBPBBP with one QP for
every macroblock (or one mean bitrate), all of them by one encoder process with an IDR at each.
Images are planar Y, U, V throughout, and stay so: networks are given Y, U and V.

The paper leaves open the period and the speed of the lines and the QP offsets of P- and B-frames:
here 8 samples, 2 samples a frame, none.
"""

from __future__ import annotations

import glob
import hashlib
import os
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

import cvdecode

from .errors import EncodeFailed, StudyError
from .ffmpeg import feed, local, start
from .ffmpeg import frames as decoded
from .measures import psnr, ssim
from .records import dump, provenance, save_array, write_atomic

Array = npt.NDArray[Any]
Images = npt.NDArray[np.uint8]

LENGTH = 7
PATTERN = "IBBPBBP"
"""Frame types of a clip, in presentation order."""
BORDER = 8
"""Samples of background on every side of the image."""
PERIOD, SPEED = 8, 2
"""Of the lines: samples from line to line, samples a frame."""
LINES = (48, 208)
"""Luma of the dark and the bright half of the period; their chroma is 128."""

QPS = (10, 25, 37, 41, 46, 50)
FRAMES = (0, 2, 3, 6)
"""The frames that the paper looks at: I, B, P, P."""


def load_images(path: str | os.PathLike[str]) -> tuple[Images, npt.NDArray[np.int64]]:
    """Images and class numbers from a .npz file, or from one folder of images a class.

    Returns:
        images, uint8 (N, H, W) or (N, H, W, 3) RGB; labels (N,), classes numbered in the order of
        their folders' names; 0 where the .npz has none.

    Raises:
        StudyError: there are none, or they differ in size.
    """
    path = Path(path)
    if path.suffix == ".npz":
        with np.load(path) as file:
            if "images" not in file:
                raise StudyError(f"{path}: an array named images is wanted")
            images = np.asarray(file["images"], np.uint8)
            labels = np.asarray(file["labels"] if "labels" in file else np.zeros(len(images)))
        return images, labels.astype(np.int64)
    from PIL import Image

    found, numbers = [], []
    classes = sorted(p for p in path.iterdir() if p.is_dir()) if path.is_dir() else []
    for number, folder in enumerate(classes):
        for file in sorted(folder.iterdir()):
            if file.suffix.lower() in (".png", ".jpg", ".jpeg", ".bmp", ".ppm", ".pgm"):
                with Image.open(file) as image:
                    found.append(np.asarray(image.convert("RGB")))
                numbers.append(number)
    if not found or len({image.shape for image in found}) > 1:
        raise StudyError(f"{path}: images of one size, in one folder a class, are wanted")
    return np.stack(found), np.array(numbers, np.int64)


def to_yuv(images: Images) -> Images:
    """(N, 3, H, W) Y, U, V from RGB (N, H, W, 3) by BT.601 limited range, or from grey (N, H, W).

    Grey levels become Y as they are, with U = V = 128.
    """
    if images.ndim == 3:
        flat = np.full_like(images, 128)
        return np.stack([images, flat, flat], axis=1)
    if images.ndim != 4 or images.shape[-1] != 3:
        raise ValueError(f"images are (N, H, W) or (N, H, W, 3), not {images.shape}")
    r, g, b = np.moveaxis(images.astype(np.float64) / 255, -1, 0)
    y = 0.299 * r + 0.587 * g + 0.114 * b
    planes = (16 + 219 * y, 128 + 112 * (b - y) / 0.886, 128 + 112 * (r - y) / 0.701)
    yuv: Images = np.rint(np.stack(planes, axis=1)).astype(np.uint8)
    return yuv


def chroma_420(yuv: Images) -> Images:
    """Chroma averaged over 2x2 and repeated to full size again; H and W are even."""
    n, _, h, w = yuv.shape
    means = yuv[:, 1:].reshape(n, 2, h // 2, 2, w // 2, 2).astype(np.float64).mean(axis=(3, 5))
    small = np.floor(means + 0.5).astype(np.uint8)
    full = np.repeat(np.repeat(small, 2, axis=2), 2, axis=3)
    return np.concatenate([yuv[:, :1], full], axis=1)


def level_uv(yuv: Images, levels: int = 8) -> Images:
    """U and V quantised to uniform levels, each at the middle of its interval."""
    step = 256 // levels
    middle = (yuv[:, 1:] // step * step + step // 2).astype(np.uint8)
    return np.concatenate([yuv[:, :1], middle], axis=1)


def interlaced(yuv: Images, shift: int = 2) -> Images:
    """Every other row (1, 3, ...) moved right by `shift` samples; its first sample is repeated."""
    columns = np.maximum(np.arange(yuv.shape[-1]) - shift, 0)
    out = yuv.copy()
    out[..., 1::2, :] = yuv[..., 1::2, :][..., columns]
    return out


COLOURS = {
    "yuv444": lambda yuv: yuv,
    "yuv420": chroma_420,
    "leveluv": level_uv,
    "interlaced": interlaced,
}
"""The uncompressed variants by name."""


def double(images: Images) -> Images:
    """(N, H, W[, 3]) at twice the size, Lanczos, by Pillow."""
    from PIL import Image

    height, width = images.shape[1:3]
    return np.stack(
        [
            np.asarray(Image.fromarray(i).resize((2 * width, 2 * height), Image.Resampling.LANCZOS))
            for i in images
        ]
    )


def clip_420(image: Images) -> Images:
    """The clip of one image (3, H, W): (7, (H + 16) * 3 / 2, W + 16), planar 4:2:0 frames.

    H and W are even.
    """
    _, h, w = image.shape
    height, width = h + 2 * BORDER, w + 2 * BORDER
    small = chroma_420(image[None])[0, 1:, ::2, ::2]
    out = np.full((LENGTH, height * 3 // 2, width), 128, np.uint8)
    rows = np.arange(height)[None] + SPEED * np.arange(LENGTH)[:, None]
    bright = (rows // (PERIOD // 2)) % 2
    out[:, :height] = np.array(LINES, np.uint8)[bright][:, :, None]
    out[:, BORDER : BORDER + h, BORDER : BORDER + w] = image[0]
    # U and V lie one after the other, each a quarter of the luma plane.
    chroma = out[:, height:].reshape(LENGTH, 2, height // 2, width // 2)
    half = BORDER // 2
    chroma[:, :, half : half + h // 2, half : half + w // 2] = small
    return out


def encode(
    yuv: Images,
    out: str | os.PathLike[str],
    *,
    qp: int | None = None,
    kbps: int | None = None,
) -> npt.NDArray[np.int64]:
    """Encodes the clips of all images as one H.264 stream and checks what was coded.

    Args:
        yuv: (N, 3, H, W), H and W even.
        out: Annex B file; it appears under this name only when it is whole and checked.
        qp: QP of every macroblock of every frame; or
        kbps: mean bitrate in one pass at 25 frames a second, whose rate control carries over from
            image to image.

    Returns:
        Histogram of the coded QP at each frame of a clip: (7, 52) macroblocks.

    Raises:
        EncodeFailed, DiskFull: ffmpeg's words, or another QP, length or order of frame types than
            asked for.
    """
    if (qp is None) == (kbps is None):
        raise ValueError("give either qp or kbps")
    if yuv.ndim != 4 or yuv.shape[1] != 3 or yuv.shape[2] % 2 or yuv.shape[3] % 2 or not len(yuv):
        raise ValueError(f"images are (N, 3, H, W) with even H and W, not {yuv.shape}")
    height, width = yuv.shape[2] + 2 * BORDER, yuv.shape[3] + 2 * BORDER
    rate = ["-qp", str(qp)] if qp is not None else ["-b:v", f"{kbps}k"]
    params = "ipratio=1:pbratio=1:bframes=2:b-adapt=0:b-pyramid=none:keyint=7:min-keyint=1:"
    params += "scenecut=0:ref=1:weightp=0:open-gop=0"
    path = Path(out)
    for left in path.parent.glob(f".{glob.escape(path.stem)}.*.part.264"):  # of a killed run
        left.unlink(missing_ok=True)
    part = path.with_name(f".{path.stem}.{os.getpid()}.part.264")
    process = start(
        [
            *["-hide_banner", "-v", "error", "-y", "-f", "rawvideo", "-pix_fmt", "yuv420p"],
            *["-s", f"{width}x{height}", "-r", "25", "-i", "-", "-c:v", "libx264", "-threads", "1"],
            *[*rate, "-x264-params", params, "-f", "h264", local(part)],
        ],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )
    try:
        feed(process, (clip_420(image).tobytes() for image in yuv), f"{len(yuv)} images")
        histogram = check(part, len(yuv), qp)
        os.replace(part, path)
        return histogram
    finally:
        part.unlink(missing_ok=True)


def check(
    path: str | os.PathLike[str], images: int, qp: int | None = None
) -> npt.NDArray[np.int64]:
    """Reads a stream of clips back by its planes; see encode() for what it gives and raises."""
    histogram = np.zeros((LENGTH, 52), np.int64)
    with cvdecode.VideoReader(path, planes=("qp",), backend="native") as video:
        if len(video) != images * LENGTH:
            raise EncodeFailed(f"{images} clips make {images * LENGTH} frames, not {len(video)}")
        for clip in video.batches(LENGTH * 64):
            types = "".join(clip.frame_type)
            if types != PATTERN * (len(types) // LENGTH):
                raise EncodeFailed(f"{PATTERN} was asked for, the stream has {types[:14]}...")
            for position in range(LENGTH):
                found = clip.qp[position::LENGTH]
                counts = np.bincount(found[found != cvdecode.QP_NONE].ravel(), minlength=52)
                histogram[position] += counts
    coded = np.flatnonzero(histogram.sum(axis=0))
    if qp is not None and list(coded) != [qp]:
        raise EncodeFailed(f"QP {qp} was asked for, the stream has QP {coded[0]} to {coded[-1]}")
    return histogram


def decode(
    path: str | os.PathLike[str],
    size: tuple[int, int],
    frames: Sequence[int] = FRAMES,
) -> Images:
    """The images out of a stream of clips, at some of its frames.

    Args:
        size: (H, W) of the images.
        frames: positions in the clip, 0 to 6.

    Returns:
        (N, len(frames), 3, H, W), chroma repeated to full size.
    """
    h, w = size
    height, width = h + 2 * BORDER, w + 2 * BORDER
    wanted = {position: n for n, position in enumerate(frames)}
    rows: list[Images] = []
    for number, frame in enumerate(_yuv_frames(path, height, width)):
        if number % LENGTH == 0:
            rows.append(np.empty((len(frames), 3, h, w), np.uint8))
        place = wanted.get(number % LENGTH)
        if place is not None:
            rows[-1][place] = frame[:, BORDER : BORDER + h, BORDER : BORDER + w]
    return np.stack(rows)


def _yuv_frames(path: str | os.PathLike[str], height: int, width: int) -> Iterator[Images]:
    for frame in decoded(path, (height * 3 // 2, width), "yuv420p"):
        chroma = frame[height:].reshape(2, height // 2, width // 2)
        full = np.repeat(np.repeat(chroma, 2, axis=1), 2, axis=2)
        yield np.concatenate([frame[None, :height], full])


def coded_qp(path: str | os.PathLike[str], size: tuple[int, int]) -> Images:
    """The QP that every sample of the images was coded with, parsed from a stream of clips.

    Args:
        size: (H, W) of the images.

    Returns:
        (N, 7, H, W) uint8. A macroblock without a QP (I_PCM, lost) has 0: nothing was quantised.
    """
    h, w = size
    rows: list[Images] = []
    with cvdecode.VideoReader(path, planes=("qp",), backend="native") as video:
        for clip in video.batches(LENGTH * 64):
            known = np.where(clip.qp == cvdecode.QP_NONE, 0, clip.qp).astype(np.uint8)
            dense = np.repeat(np.repeat(known, 16, axis=1), 16, axis=2)
            mine = dense[:, BORDER : BORDER + h, BORDER : BORDER + w]
            rows.append(mine.reshape(-1, LENGTH, h, w))
    return np.concatenate(rows)


def variant_names(
    qps: Sequence[int] = QPS, bitrates: Sequence[int] = (), frames: Sequence[int] = FRAMES
) -> list[str]:
    """yuv444, yuv420, leveluv, interlaced, q10_f0, ..., b40_f6."""
    coded = [f"q{q}_f{f}" for q in qps for f in frames]
    return [*COLOURS, *coded, *(f"b{b}_f{f}" for b in bitrates for f in frames)]


def synthesise(
    images: Images,
    out: str | os.PathLike[str],
    *,
    qps: Sequence[int] = QPS,
    bitrates: Sequence[int] = (),
    frames: Sequence[int] = FRAMES,
    command: str = "",
) -> list[dict[str, Any]]:
    """Writes every variant of a set of images as ``<variant>.npy``, uint8 (N, 3, H, W).

    Streams lie beside them (``q10.264``) and are not made again; they are checked again.

    Args:
        images: RGB (N, H, W, 3) or grey (N, H, W), uint8, H and W even.
        frames: positions in the clip.
        command: what the user typed, for ``stills.jsonl``.

    Returns:
        One record a variant: psnr (dB) and ssim of its luma against the image, and for the coded
        ones the asked rate, the mean coded QP and the histogram over QP 0 to 51 at that frame.

    Raises:
        StudyError: the folder holds variants of other images.
        EncodeFailed, DiskFull: as encode().
    """
    yuv = to_yuv(images)
    folder = Path(out)
    folder.mkdir(parents=True, exist_ok=True)
    stamp = folder / "images.sha256"
    digest = hashlib.sha256(str(yuv.shape).encode() + yuv.tobytes()).hexdigest()
    if stamp.exists() and stamp.read_text() != digest:
        raise StudyError(f"{folder} holds variants of other images: choose another folder")
    write_atomic(stamp, digest)
    records = []
    for name, change in COLOURS.items():
        records.append(_variant(folder, name, change(yuv), yuv))
    for rate, values, letter in (("qp", qps, "q"), ("kbps", bitrates, "b")):
        for value in values:
            stream = folder / f"{letter}{value}.264"
            if stream.exists():
                histogram = check(stream, len(yuv), value if rate == "qp" else None)
            else:
                histogram = encode(yuv, stream, **{rate: value})
            shown = decode(stream, (yuv.shape[2], yuv.shape[3]), frames)
            for n, frame in enumerate(frames):
                record = _variant(folder, f"{letter}{value}_f{frame}", shown[:, n], yuv)
                counts = histogram[frame]
                mean = float(counts @ np.arange(52) / counts.sum())
                more = {rate: value, "frame": frame, "mean_qp": mean, "qp_histogram": counts}
                records.append(record | more)
    head = {"key": "study", "kind": "study", **provenance(command), "images": len(yuv)}
    write_atomic(folder / "stills.jsonl", "".join(dump(r) + "\n" for r in (head, *records)))
    return records


def _variant(folder: Path, name: str, found: Images, yuv: Images) -> dict[str, Any]:
    """Writes one variant, and compares its luma with the image's."""
    save_array(folder / f"{name}.npy", found)
    distance = psnr(yuv[:, 0], found[:, 0])
    record = {
        "key": f"still|{name}",
        "kind": "still",
        "variant": name,
        "psnr": distance if np.isfinite(distance) else None,
        "ssim": None,
    }
    if min(yuv.shape[2:]) >= 11:
        record["ssim"] = float(ssim(yuv[:, 0], found[:, 0]).mean())
    return record
