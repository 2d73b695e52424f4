"""Is accumulated motion the motion of the picture? Textures that move as a formula says.

python bench/python/known_motion.py [--quick] [--out FOLDER] [--pictures FOLDER]

A texture that is a sum of waves is drawn at any place exactly, so frames need no resampling and
the displacement of every pixel since frame 0 is known to the last digit. x264 encodes the frames
as it does by default (B-frames in a pyramid, 3 references, keyint 250). Four ways to say where a
pixel was in frame 0 are measured against the formula:

  exact       cvdecode.accumulate: each vector taken from the picture that it refers to
  B dropped   vectors of P-frames only, as loaders do that know no B-frames: a B-frame shows the
              displacement of the last P-frame
  previous    every list-0 vector taken from the frame before, as loaders do that know no
              references; a block without one keeps the displacement that was there
  zero        nothing moved

All are measured at the same pixels: those whose origin lies in frame 0 and whose exact trace
reaches it (mask 0); the table says how many these are.
"""

from __future__ import annotations

import argparse
import itertools
import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

import cvdecode

Floats = npt.NDArray[np.floating[Any]]
WIDTH, HEIGHT = 320, 240
METHODS = ("exact", "B dropped", "previous", "zero")
# Written before the first run: each is expected to have a smaller mean error than the next one.
# Where "zero" falls is not predicted: it is there for scale.
EXPECTED = ("exact", "B dropped", "previous")

Motion = Callable[[int], tuple[Floats, Floats]]  # t -> the matrix and shift of frame -> texture


def _turn(degrees: float, scale: float, shift: tuple[float, float]) -> tuple[Floats, Floats]:
    """Around the middle of the picture."""
    a = np.deg2rad(degrees)
    matrix = scale * np.array([[np.cos(a), -np.sin(a)], [np.sin(a), np.cos(a)]])
    middle = np.array([WIDTH / 2, HEIGHT / 2])
    return matrix, middle - matrix @ middle + np.array(shift)


MOTIONS: dict[str, Motion] = {
    "pan": lambda t: _turn(0, 1, (1.7 * t, -0.6 * t)),
    "sway": lambda t: _turn(0, 1, (18 * np.sin(t / 6), 10 * np.sin(t / 4))),
    "rotate": lambda t: _turn(0.7 * t, 1, (0, 0)),
    "zoom": lambda t: _turn(0, 1.008**-t, (0.5 * t, 0)),
}


def texture(seed: int) -> Callable[[Floats, Floats], Floats]:
    """Waves of every direction, 5 to 100 samples long, the long ones stronger; about 16 to 235."""
    rng = np.random.default_rng(seed)
    length = 1 / np.exp(rng.uniform(np.log(5), np.log(100), 28))
    angle = rng.uniform(0, 2 * np.pi, 28)
    phase = rng.uniform(0, 2 * np.pi, 28)
    strength = length**-0.6
    strength *= 50 / np.sqrt((strength**2).sum() / 2)

    def at(x: Floats, y: Floats) -> Floats:
        out = np.full(x.shape, 126.0, np.float32)
        for k, a, p, s in zip(length, angle, phase, strength, strict=True):
            waves = (x * np.cos(a) + y * np.sin(a)) * k * 2 * np.pi + p
            out += np.float32(s) * np.cos(waves.astype(np.float32))
        return out

    return at


def grid() -> tuple[Floats, Floats]:
    y, x = np.mgrid[0:HEIGHT, 0:WIDTH].astype(np.float64)
    return x, y


def place(motion: Motion, t: int) -> tuple[Floats, Floats]:
    """Where on the texture each pixel of frame t lies."""
    x, y = grid()
    m, s = motion(t)
    return m[0, 0] * x + m[0, 1] * y + s[0], m[1, 0] * x + m[1, 1] * y + s[1]


def truth(motion: Motion, t: int) -> tuple[Floats, npt.NDArray[np.bool_]]:
    """Here minus where this point of the texture was in frame 0, (2, H, W) in pixels; whether
    that lies in the picture."""
    u, v = place(motion, t)
    m, s = motion(0)
    inverse = np.linalg.inv(m)
    x0 = inverse[0, 0] * (u - s[0]) + inverse[0, 1] * (v - s[1])
    y0 = inverse[1, 0] * (u - s[0]) + inverse[1, 1] * (v - s[1])
    x, y = grid()
    inside = (x0 >= 0) & (x0 <= WIDTH - 1) & (y0 >= 0) & (y0 <= HEIGHT - 1)
    return np.stack([x - x0, y - y0]), inside


def encode(motion: Motion, seed: int, frames: int, crfs: list[int], folder: Path) -> list[Path]:
    """The same frames at several qualities; x264's own settings otherwise."""
    draw = texture(seed)
    grey = np.full((HEIGHT // 2, WIDTH // 2), 128, np.uint8).tobytes() * 2
    raw = b"".join(
        np.clip(np.rint(draw(*place(motion, t))), 16, 235).astype(np.uint8).tobytes() + grey
        for t in range(frames)
    )
    paths = []
    for crf in crfs:
        path = folder / f"{seed}-crf{crf}.mp4"
        subprocess.run(
            ["ffmpeg", "-v", "error", "-y", "-f", "rawvideo", "-pix_fmt", "yuv420p",
             "-s", f"{WIDTH}x{HEIGHT}", "-r", "25", "-i", "-", "-c:v", "libx264",
             "-crf", str(crf), "-threads", "1", str(path)],
            input=raw, check=True,
        )  # fmt: skip
        paths.append(path)
    return paths


def previous(clip: cvdecode.Clip) -> Floats:
    """Every list-0 vector as if its reference were the frame before: (T, 2, H, W) in pixels."""
    x, y = (a.astype(int) for a in grid())
    out = np.zeros((len(clip), 2, HEIGHT, WIDTH))
    for t in range(1, len(clip)):
        used = clip.ref[t, 0] != 0
        v = np.where(used, clip.mv[t, 0], 0).repeat(4, 1).repeat(4, 2)[:, :HEIGHT, :WIDTH]
        sx = np.clip(x + ((v[0] + 2) >> 2), 0, WIDTH - 1)
        sy = np.clip(y + ((v[1] + 2) >> 2), 0, HEIGHT - 1)
        out[t] = out[t - 1][:, sy, sx] - v / 4
    return out


def displacements(path: Path) -> tuple[dict[str, Floats], npt.NDArray[np.bool_], list[str]]:
    """Each method's (T, 2, H, W) in pixels; where the exact trace reaches frame 0; frame types."""
    with cvdecode.VideoReader(path, planes=("mv", "ref"), backend="native") as video:
        clip = video[:]
        acc = cvdecode.accumulate(video, anchors=[0])
    types = [str(kind) for kind in clip.frame_type]
    if types.count("I") != 1:
        raise SystemExit(f"{path}: one intra picture was expected, not {types.count('I')}")
    exact = acc.displacement / 4.0
    last = [max(s for s in range(t + 1) if types[s] != "B") for t in range(len(types))]
    methods = {
        "exact": exact,
        "B dropped": exact[last],
        "previous": previous(clip),
        "zero": np.zeros_like(exact),
    }
    return methods, (acc.mask == 0) & (acc.anchor == 0), types


def measure(path: Path, motion: Motion) -> dict[str, Any]:
    """Mean and 90th percentile of the error in pixels, over all frames but the first."""
    methods, reached, types = displacements(path)
    real = [truth(motion, t) for t in range(len(types))]
    flow = np.stack([r[0] for r in real])
    inside = np.stack([r[1] for r in real])
    b = np.array([kind == "B" for kind in types])
    counted = reached & inside
    counted[0] = False
    result: dict[str, Any] = {
        "B frames": int(b.sum()), "frames": len(types),
        "counted": float(counted.sum() / inside[1:].sum()),
        "distance": float(np.hypot(flow[:, 0], flow[:, 1])[counted].mean()), "methods": {},
    }  # fmt: skip
    for name, got in methods.items():
        error = np.hypot(*(got - flow).swapaxes(0, 1))
        values = error[counted]
        result["methods"][name] = {
            "mean": float(values.mean()),
            "p90": float(np.percentile(values, 90)),
            "mean of B": float(error[b][counted[b]].mean()) if counted[b].any() else None,
            "by frame": [
                float(error[t][counted[t]].mean()) if counted[t].any() else None
                for t in range(len(types))
            ],
        }
    return result


def order_holds(result: dict[str, Any]) -> bool:
    means = [result["methods"][name]["mean"] for name in EXPECTED]
    return all(a < b for a, b in itertools.pairwise(means))


def run(frames: int, seeds: list[int], crfs: list[int], names: list[str], out: Path) -> Any:
    rows: list[dict[str, Any]] = []
    for name in names:
        for seed in seeds:
            folder = out / name
            folder.mkdir(parents=True, exist_ok=True)
            paths = encode(MOTIONS[name], seed, frames, crfs, folder)
            for crf, path in zip(crfs, paths, strict=True):
                row = measure(path, MOTIONS[name])
                rows.append({"motion": name, "seed": seed, "crf": crf, "path": str(path), **row})
    return rows


def markdown(rows: list[dict[str, Any]]) -> str:
    head = ["motion", "CRF", "moved, px", "pixels counted", *METHODS]
    lines = ["| " + " | ".join(head) + " |", "|---" * len(head) + "|"]
    for motion, crf in dict.fromkeys((r["motion"], r["crf"]) for r in rows):
        some = [r for r in rows if (r["motion"], r["crf"]) == (motion, crf)]

        def mean(value: Callable[[dict[str, Any]], float], some: Any = some) -> float:
            return float(np.mean([value(r) for r in some]))

        cells = [motion, str(crf), f"{mean(lambda r: r['distance']):.1f}",
                 f"{mean(lambda r: r['counted']):.0%}"]  # fmt: skip
        for name in METHODS:
            average = mean(lambda r, name=name: r["methods"][name]["mean"])  # type: ignore[misc]
            high = mean(lambda r, name=name: r["methods"][name]["p90"])  # type: ignore[misc]
            cells.append(f"{average:.2f} / {high:.2f}")
        lines.append("| " + " | ".join(cells) + " |")
    held = sum(order_holds(r) for r in rows)
    lines += ["", f"Expected order ({' < '.join(EXPECTED)}, written before the run): "
                  f"held on {held} of {len(rows)} clips."]  # fmt: skip
    return "\n".join(lines)


def draw(rows: list[dict[str, Any]], motion: str, t: int, out: Path) -> None:
    """Errors frame by frame, and one B-frame's displacement by every method."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    from cvdecode.report import flow_image

    row = next(r for r in rows if r["motion"] == motion and r["crf"] == min(q["crf"] for q in rows))
    methods, reached, types = displacements(Path(row["path"]))
    while types[t] != "B":
        t += 1
    flow, inside = truth(MOTIONS[motion], t)
    largest = float(np.hypot(*flow)[inside].max())
    figure, axes = plt.subplots(1, 4, figsize=(12, 2.7), layout="constrained")
    for axis, (name, field) in zip(
        axes,
        {"formula": flow, **{m: methods[m][t] for m in METHODS[:3]}}.items(),
        strict=True,
    ):
        image = flow_image(np.rint(4 * field).astype(np.int16), largest)
        image[~(inside & reached[t])] = 200
        error = np.hypot(*(field - flow))[inside & reached[t]].mean()
        axis.imshow(image)
        axis.set_title(name if name == "formula" else f"{name}: {error:.2f} px off", fontsize=10)
        axis.axis("off")
    figure.savefig(out / "known_motion_field.png", dpi=100)
    figure, axis = plt.subplots(figsize=(7, 3.2), layout="constrained")
    styles = {"exact": "-", "B dropped": "--", "previous": "-.", "zero": ":"}
    for name in METHODS:
        values = row["methods"][name]["by frame"]
        axis.plot([np.nan if v is None else v for v in values], styles[name], label=name)
    axis.set(xlabel="frame", ylabel="mean error since frame 0, px", yscale="log")
    axis.set_title(f"{motion}, CRF {row['crf']}", fontsize=10)
    axis.legend(fontsize=9)
    figure.savefig(out / "known_motion_error.png", dpi=100)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    root = Path(__file__).resolve().parents[2]
    parser.add_argument("--quick", action="store_true", help="one texture, 24 frames")
    parser.add_argument("--out", type=Path, default=root / "build" / "known-motion")
    parser.add_argument("--pictures", type=Path, help="also draw, into this folder")
    arguments = parser.parse_args()
    seeds, frames = ([0], 24) if arguments.quick else ([0, 1, 2], 48)
    rows = run(frames, seeds, [18, 30], list(MOTIONS), arguments.out)
    (arguments.out / "known_motion.json").write_text(json.dumps(rows) + "\n")
    print(markdown(rows))
    if arguments.pictures:
        draw(rows, "rotate", frames // 2, arguments.pictures)


if __name__ == "__main__":
    main()
