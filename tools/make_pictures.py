"""Makes the pictures and the table of docs/accumulation.md from a video.

python tools/make_pictures.py VIDEO [--frame N] [--out docs/images]
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from PIL import Image

import cvdecode
from cvdecode.report import flow_image

LUMA = np.array([0.299, 0.587, 0.114])  # BT.601, of full-range R, G, B


def luma(rgb: np.ndarray) -> np.ndarray:
    return np.tensordot(LUMA, rgb.astype(np.float64), axes=(0, 0))


def psnr(a: np.ndarray, b: np.ndarray) -> float:
    error = float(np.mean((a - b) ** 2))
    return float("inf") if error == 0 else 10 * np.log10(255**2 / error)


def warped(anchor: np.ndarray, displacement: np.ndarray) -> np.ndarray:
    """The anchor's samples where the trace of each pixel ended, to the nearest whole sample."""
    height, width = anchor.shape
    y, x = np.mgrid[0:height, 0:width]
    dx, dy = (displacement + 2) >> 2
    return anchor[np.clip(y - dy, 0, height - 1), np.clip(x - dx, 0, width - 1)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("video")
    parser.add_argument("--frame", type=int, default=20)
    parser.add_argument("--out", default="docs/images")
    arguments = parser.parse_args()
    out = Path(arguments.out)
    out.mkdir(parents=True, exist_ok=True)
    with cvdecode.VideoReader(arguments.video, planes=("mv", "ref"), rgb="all") as video:
        frames = list(range(arguments.frame + 1))
        acc = cvdecode.accumulate(video, frames, residual="coded", return_hops=True)
        clip = video.get_frames_at(frames)
    t = arguments.frame
    residual = np.clip(128 + 2 * acc.residual_y[t].astype(np.int32), 0, 255).astype(np.uint8)
    colours = np.array([[236, 240, 243], [227, 100, 20], [0, 0, 0], [90, 90, 90], [72, 149, 239]])
    # Traces that end in frame 0 dark, in the frame itself bright.
    steps = np.clip(acc.anchor[t], 0, t) / max(t, 1)
    pictures = {
        "anchor": (30 + 220 * steps).astype(np.uint8),
        "frame": clip.rgb[t].transpose(1, 2, 0),
        "displacement": flow_image(acc.displacement[t]),
        "mask": colours[acc.mask[t]].astype(np.uint8),
        "residual": residual,
    }
    for name, picture in pictures.items():
        Image.fromarray(np.ascontiguousarray(picture)).save(
            out / f"accumulated_{name}.jpg", quality=80
        )
    print("| hops | pixels | anchor alone, dB | anchor + coded residual, dB |")
    print("|---|---|---|---|")
    hops = acc.hops
    for low, high in ((1, 1), (2, 2), (3, 4), (5, 8), (9, 16), (17, 32)):
        alone, summed, truth = [], [], []
        for t in frames:
            here = (hops[t] >= low) & (hops[t] <= high) & (acc.mask[t] == 0)
            if not here.any():
                continue
            # The default anchors: the last intra picture; one in this stretch of frames.
            key = int(np.unique(acc.anchor[t][here])[0])
            here &= acc.anchor[t] == key
            moved = warped(luma(clip.rgb[key]), acc.displacement[t])
            alone.append(moved[here])
            summed.append(np.clip(moved + 255 / 219 * acc.residual_y[t], 0, 255)[here])
            truth.append(luma(clip.rgb[t])[here])
        if truth:
            real = np.concatenate(truth)
            print(
                f"| {low if low == high else f'{low} to {high}'} | {real.size} "
                f"| {psnr(np.concatenate(alone), real):.1f} "
                f"| {psnr(np.concatenate(summed), real):.1f} |"
            )


if __name__ == "__main__":
    main()
