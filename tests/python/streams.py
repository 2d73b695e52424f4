"""The generated H.264 matrix: x264 in every combination of two options, on noise that moves.

Every frame differs from every other everywhere, so a wrong reference or vector cannot hide.
"""

from __future__ import annotations

import itertools
import random
import subprocess
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

# option -> its values; x264's own names where it has them.
OPTIONS: dict[str, tuple[str, ...]] = {
    "cabac": ("0", "1"),
    "8x8dct": ("0", "1"),
    "bframes": ("0", "2", "5"),
    "b-pyramid": ("none", "strict", "normal"),
    "direct": ("none", "spatial", "temporal", "auto"),
    "ref": ("1", "4", "16"),
    "weightp": ("0", "1", "2"),
    "weightb": ("0", "1"),
    "partitions": ("none", "all"),
    "slices": ("1", "4"),
    "cqm": ("flat", "jvt"),
    "qp": ("0", "18", "30", "44"),
    "constrained-intra": ("0", "1"),
    "open-gop": ("0", "1"),
    "intra-refresh": ("0", "1"),
    "fake-interlaced": ("0", "1"),
    "keyint": ("6", "30"),
    "size": ("80x64", "98x68", "112x96", "66x132"),
    "content": ("pan", "fade", "cuts", "soft"),
}


# A second array for what only B pictures have, so that no pair is wasted on streams without them.
B_OPTIONS = OPTIONS | {
    "bframes": ("1", "3", "7"),
    "b-pyramid": ("strict", "normal"),
    "direct": ("spatial", "temporal", "auto"),
    "ref": ("2", "5", "16"),
    "qp": ("0", "24", "38"),
    "open-gop": ("0", "1"),
    "intra-refresh": ("0",),
}


@dataclass(frozen=True)
class Stream:
    """One generated stream: its name, options and where it lies."""

    name: str
    options: dict[str, str] = field(hash=False)
    path: Path = Path()


def pairwise(options: dict[str, tuple[str, ...]], seed: int = 1) -> list[dict[str, str]]:
    """A small list of rows in which every pair of values of two options occurs."""
    rng = random.Random(seed)
    names = list(options)
    missing = {
        (a, va, b, vb)
        for a, b in itertools.combinations(names, 2)
        for va in options[a]
        for vb in options[b]
    }
    rows: list[dict[str, str]] = []
    while missing:
        best: dict[str, str] = {}
        best_gain = -1
        for _ in range(40):
            a, va, b, vb = rng.choice(sorted(missing))
            row = {a: va, b: vb}
            for name in rng.sample(names, len(names)):
                if name in row:
                    continue
                gains = {
                    value: sum(
                        ((n, row[n], name, value) in missing)
                        or ((name, value, n, row[n]) in missing)
                        for n in row
                    )
                    for value in options[name]
                }
                top = max(gains.values())
                row[name] = rng.choice([v for v in options[name] if gains[v] == top])
            gain = sum(
                (a, row[a], b, row[b]) in missing for a, b in itertools.combinations(names, 2)
            )
            if gain > best_gain:
                best, best_gain = row, gain
        rows.append({name: best[name] for name in names})
        missing -= {(a, best[a], b, best[b]) for a, b in itertools.combinations(names, 2)}
    return rows


def noise_video(width: int, height: int, frames: int, content: str, seed: int) -> np.ndarray:
    """(frames, height * 3 // 2, width) uint8 I420: moving texture, own noise in every frame.

    content: "pan" moves background and two objects by fractions of a sample, "fade" also changes
    brightness (explicit weights pay), "cuts" changes the scene every few frames, "soft" has little
    contrast and noise (lossless coding then takes intra prediction and not I_PCM).
    """
    rng = np.random.default_rng(seed)
    out = np.empty((frames, height * 3 // 2, width), np.uint8)

    def texture(h: int, w: int) -> np.ndarray:
        coarse = rng.uniform(30, 225, (h // 4 + 3, w // 4 + 3))
        fine = rng.normal(0, 18, (h + 8, w + 8))
        return np.kron(coarse, np.ones((4, 4)))[: h + 8, : w + 8] + fine

    def sample(tex: np.ndarray, x: float, y: float, h: int, w: int) -> np.ndarray:
        ys = (np.arange(h) + y) % (tex.shape[0] - 1)
        xs = (np.arange(w) + x) % (tex.shape[1] - 1)
        y0, x0 = ys.astype(int), xs.astype(int)
        fy, fx = (ys - y0)[:, None], (xs - x0)[None, :]
        a, b = tex[y0][:, x0], tex[y0][:, x0 + 1]
        c, d = tex[y0 + 1][:, x0], tex[y0 + 1][:, x0 + 1]
        return (a * (1 - fx) + b * fx) * (1 - fy) + (c * (1 - fx) + d * fx) * fy

    scenes = [(texture(2 * height, 2 * width), texture(height, width)) for _ in range(3)]
    chroma = [texture(height, width) for _ in range(2)]
    for t in range(frames):
        back, front = scenes[(t // 4) % 3 if content == "cuts" else 0]
        luma = sample(back, 1.75 * t, 0.5 * t + 3 * np.sin(t), height, width)
        h, w = height // 3, width // 3
        y, x = int(3 * t) % (height - h), int(5 * t) % (width - w)
        luma[y : y + h, x : x + w] = sample(front, -0.75 * t, 0.25 * t, h, w)
        gain = 1.0
        if content == "fade":
            gain = 0.35 + 0.65 * abs(np.cos(t * 0.23))
        noise = rng.normal(0, 0.8 if content == "soft" else 4, luma.shape)
        if content == "soft":
            luma = 110 + 0.08 * luma + np.arange(width)[None, :] * 0.7
        luma = (luma - 16) * gain + 16 + noise + (12 if content == "fade" else 0) * np.sin(t)
        out[t, :height] = np.clip(np.rint(luma), 0, 255)
        for c in range(2):
            plane = sample(chroma[c], 0.9 * t, 0.25 * t, height // 2, width // 2) * gain
            plane = plane + rng.normal(0, 3, plane.shape)
            rows = np.clip(np.rint(plane), 0, 255).astype(np.uint8)
            flat = out[t, height:].reshape(-1)
            size = rows.size
            flat[c * size : (c + 1) * size] = rows.reshape(-1)
    return out


def encode_x264(
    video: np.ndarray, path: Path, params: dict[str, str], *, extra: tuple[str, ...] = ()
) -> None:
    """Encode (T, H * 3 // 2, W) I420 frames with libx264 through the ffmpeg command."""
    height, width = video.shape[1] * 2 // 3, video.shape[2]
    text = ":".join(f"{k}={v}" for k, v in params.items())
    command = ["ffmpeg", "-nostdin", "-v", "error", "-y", "-f", "rawvideo", "-pix_fmt", "yuv420p"]
    command += ["-s", f"{width}x{height}", "-r", "25", "-i", "-", "-c:v", "libx264"]
    command += ["-preset", "medium", "-threads", "1", "-x264-params", text, *extra, str(path)]
    done = subprocess.run(command, input=video.tobytes(), capture_output=True)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)}:\n{done.stderr.decode(errors='replace')}")


def _encode_row(number: int, row: dict[str, str], folder: Path, frames: int) -> Stream:
    """One row; the noise is seeded by its number."""
    width, height = map(int, row["size"].split("x"))
    params = {k: v for k, v in row.items() if k not in ("size", "content")}
    params |= {"min-keyint": "3", "scenecut": "40", "me": "umh", "subme": "9"}
    params |= {"trellis": "1", "b-adapt": "0", "rc-lookahead": "4", "no-psy": "1", "threads": "1"}
    name = f"m{number:03d}"
    path = folder / f"{name}.264"
    video = noise_video(width, height, frames, row["content"], seed=number)
    encode_x264(video, path, params)
    return Stream(name, dict(row), path)


def matrix(
    folder: Path, *, frames: int = 16, seeds: tuple[int, ...] = (1,), size: str | None = None
) -> list[Stream]:
    """Encode the two pairwise arrays into folder, once for every seed (another covering each).

    size overrides the sizes of the arrays: small seeds for the fuzz targets.
    """
    rows: list[dict[str, str]] = []
    for seed in seeds:
        rows += pairwise(OPTIONS, seed) + pairwise(B_OPTIONS, seed)
    if size is not None:
        rows = [row | {"size": size} for row in rows]
    with ThreadPoolExecutor(2) as pool:
        return list(
            pool.map(lambda item: _encode_row(*item, folder, frames), list(enumerate(rows)))
        )


def special(folder: Path) -> list[Stream]:
    """Streams for branches that the matrix does not reach, each named for what it holds."""
    noise = noise_video(64, 48, 6, "pan", 99)
    white = np.random.default_rng(7).integers(0, 256, (3, 72, 64), np.uint8)
    flat = np.full((6, 72, 64), 90, np.uint8)
    soft = noise_video(80, 64, 5, "soft", 97)
    mixed = noise.copy()
    mixed[:, 16:32, 16:48] = np.random.default_rng(8).integers(0, 256, (6, 16, 32), np.uint8)
    base = {"threads": "1", "no-psy": "1"}
    grey = ("-pix_fmt", "gray")
    cases: list[tuple[str, np.ndarray, dict[str, str], tuple[str, ...]]] = [
        ("plain", noise, {"qp": "26", "bframes": "2"}, ()),
        ("pcm-cavlc", white, {"qp": "1", "cabac": "0"}, ()),
        ("pcm-cabac", white, {"qp": "1", "cabac": "1"}, ()),
        ("pcm-among-others-cavlc", mixed, {"qp": "2", "cabac": "0"}, ()),
        ("pcm-among-others-cabac", mixed, {"qp": "2", "bframes": "2"}, ()),
        ("grey-cavlc", noise, {"qp": "24", "cabac": "0"}, grey),
        ("grey-cabac", noise, {"qp": "24", "8x8dct": "1"}, grey),
        ("grey-lossless", noise, {"qp": "0"}, grey),
        ("skips", flat, {"qp": "40", "bframes": "3"}, ()),
        ("lossless-cavlc-8x8", noise, {"qp": "0", "cabac": "0", "8x8dct": "1"}, ()),
        ("lossless-soft-cavlc", soft, {"qp": "0", "cabac": "0", "8x8dct": "1"}, ()),
        ("lossless-soft-cabac", soft, {"qp": "0", "8x8dct": "1", "bframes": "1"}, ()),
        ("lossless-soft-4x4", soft, {"qp": "0", "partitions": "i4x4,p8x8"}, ()),
        ("lossless-soft-16x16", soft, {"qp": "0", "partitions": "none"}, ()),
        ("chroma-qp", noise, {"qp": "30", "chroma-qp-offset": "-12", "cqm": "jvt"}, ()),
        ("aq", noise_video(96, 80, 8, "cuts", 98), {"crf": "28", "aq-mode": "2"}, ()),
        ("many-slices", noise, {"qp": "28", "slice-max-mbs": "2", "bframes": "2"}, ()),
    ]
    out = []
    for name, video, params, extra in cases:
        path = folder / f"{name}.264"
        encode_x264(video, path, base | params, extra=extra)
        out.append(Stream(name, params, path))
    return out
