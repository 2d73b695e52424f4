"""Synthetic actions: a textured disk that moves in one of eight ways over a panning background.

A clip's motion and its appearance (the disk's texture) are drawn independently, so that a label
set can be built of either or of both. Position, phase and background have the same distribution
whatever the motion: the disk lives on a torus (what leaves on the left enters on the right), so
that no single picture tells the motion. Nothing is shared between splits but the formulas: each
clip has a generator seeded by (seed, split, number).
"""

from __future__ import annotations

import dataclasses
import functools
from typing import Any

import numpy as np
import numpy.typing as npt

SIZE = 112
RADIUS = 26
MOTIONS = ("left", "right", "up", "down", "clockwise", "counter-clockwise", "in", "out")
APPEARANCES = ("fine stripes", "coarse stripes", "checks", "rings", "blobs", "grain")
SPLITS = ("train", "val", "test")
NOISE = 3.0
"""Standard deviation of the sensor noise, grey levels."""

Frames = npt.NDArray[np.uint8]


@dataclasses.dataclass(frozen=True)
class Action:
    """One clip to be drawn."""

    motion: int
    appearance: int
    split: str
    number: int
    """Within the split."""


def actions(split: str, clips: int, motions: int, appearances: int) -> list[Action]:
    """``clips`` actions in which every (motion, appearance) pair occurs equally often.

    Raises ValueError where ``clips`` is not a multiple of motions * appearances: the counts
    must be equal for a label set to hide what it should hide.
    """
    cells = motions * appearances
    if clips % cells:
        raise ValueError(f"{clips} clips cannot hold {cells} pairs equally often")
    return [Action(n % motions, (n // motions) % appearances, split, n) for n in range(clips)]


def labels(
    kind: str, motion: npt.NDArray[np.int64], appearance: npt.NDArray[np.int64]
) -> tuple[npt.NDArray[np.int64], int]:
    """(class of each clip, number of classes) of a label set.

    "motion": the motion. "add": the pair (motion, appearance). "xor": (motion + appearance) mod 6
    with six of each, of which neither alone tells anything.
    """
    if kind == "motion":
        return motion, len(MOTIONS)
    if kind == "add":
        many = len(APPEARANCES)
        return motion * many + appearance, 6 * many
    if kind == "xor":
        return (motion + appearance) % 6, 6
    raise ValueError(f'a label set is "motion", "add" or "xor", not {kind!r}')


def mutual_information(one: npt.NDArray[np.int64], other: npt.NDArray[np.int64]) -> float:
    """Bits that one label tells of the other, by counting."""
    joint = np.zeros((int(one.max()) + 1, int(other.max()) + 1))
    np.add.at(joint, (one, other), 1)
    # In counts, so that independence gives an exact 0: log2(n * n_xy / (n_x * n_y)).
    total = joint.sum()
    apart = joint.sum(1, keepdims=True) * joint.sum(0, keepdims=True)
    found = joint > 0
    return float((joint[found] * np.log2(joint[found] * total / apart[found])).sum() / total)


@dataclasses.dataclass
class Scene:
    """One clip's parameters: speeds in samples (or radians, or log scale) per picture."""

    pan: npt.NDArray[np.float64]
    """How the window moves over the background, (x, y)."""
    origin: npt.NDArray[np.float64]
    step: tuple[float, float]
    spin: float
    """Growing angles turn clockwise on the screen: y points down."""
    grow: float
    phase: float
    start: npt.NDArray[np.float64]
    """Centre of the disk in the first picture."""
    texture: npt.NDArray[np.float64]
    pattern: Any
    rng: np.random.Generator

    @classmethod
    def of(cls, action: Action, frames: int, seed: int, centred: bool) -> Scene:
        rng = np.random.default_rng([seed, SPLITS.index(action.split), action.number])
        texture = _smooth(rng.normal(size=(160, 160)))
        # The background pans at a speed that has nothing to do with the class.
        pan = rng.uniform(-0.8, 0.8, 2)
        origin = rng.uniform(0, 160, 2)
        name = MOTIONS[action.motion]
        speed = rng.uniform(1.4, 2.4)
        turn = rng.uniform(0.06, 0.11)
        zoom = rng.uniform(0.012, 0.02)
        phase = rng.uniform(0, 2 * np.pi)
        steps = {"left": (-speed, 0), "right": (speed, 0), "up": (0, -speed), "down": (0, speed)}
        step = steps.get(name, (0.0, 0.0))
        if centred:
            start = 56 + rng.uniform(-8, 8, 2) - np.array(step) * frames / 2
        else:
            start = rng.uniform(0, SIZE, 2)
        pattern = _pattern(action.appearance, rng)
        return cls(
            pan=pan,
            origin=origin,
            step=step,
            spin={"clockwise": turn, "counter-clockwise": -turn}.get(name, 0),
            grow={"in": zoom, "out": -zoom}.get(name, 0),
            phase=phase,
            start=start,
            texture=texture,
            pattern=pattern,
            rng=rng,
        )

    def disk(self, t: int, frames: int) -> tuple[Any, Any, float, float]:
        """(x, y) of every column and row from the disk's centre, its scale and its radius."""
        grid = np.arange(SIZE, dtype=np.float64)
        scale = float(np.exp(self.grow * (t - frames / 2)))
        x = (grid - self.start[0] - self.step[0] * t + SIZE / 2) % SIZE - SIZE / 2
        y = (grid - self.start[1] - self.step[1] * t + SIZE / 2) % SIZE - SIZE / 2
        return x, y, scale, RADIUS * scale


def draw(action: Action, frames: int, seed: int, *, centred: bool = False) -> Frames:
    """The luma pictures of a clip, uint8 (frames, 112, 112).

    Args:
        action: what moves how.
        frames: number of pictures.
        seed: of the whole set.
        centred: start near the middle (for classifiers that cannot find the disk themselves).
    """
    s = Scene.of(action, frames, seed, centred)
    (x0, y0), (dx, dy) = s.origin, s.pan
    scene = 118 + 26 * np.stack(
        [_shifted(s.texture, x0 + dx * t, y0 + dy * t) for t in range(frames)]
    )
    for t in range(frames):
        x, y, scale, reach = s.disk(t, frames)
        columns, rows = np.flatnonzero(abs(x) <= reach + 1), np.flatnonzero(abs(y) <= reach + 1)
        u, v = np.meshgrid(x[columns], y[rows])
        edge = np.clip(reach + 0.5 - np.hypot(u, v), 0, 1)  # anti-aliased
        angle = s.phase + s.spin * t
        cos, sin = np.cos(angle), np.sin(angle)
        inside = 128 + 60 * s.pattern((u * cos + v * sin) / scale, (v * cos - u * sin) / scale)
        patch = scene[t][np.ix_(rows, columns)]
        scene[t][np.ix_(rows, columns)] = edge * inside + (1 - edge) * patch
    scene += s.rng.standard_normal(scene.shape, np.float32) * NOISE
    return np.clip(np.rint(scene), 0, 255).astype(np.uint8)


def flow(
    action: Action, frames: int, seed: int, since: int, t: int, *, centred: bool = False
) -> npt.NDArray[np.float32]:
    """True displacement of what is seen at ``t`` since picture ``since``: here minus there.

    Samples, float32 (2 (x, y), 28, 28): at the centres of the 4x4 blocks, as accumulated motion
    vectors are. An oracle: the generator knows where every point was.
    """
    s = _scene(action, frames, seed, centred)
    x, y, _, reach = s.disk(t, frames)
    x, y = x.reshape(-1, 4).mean(1), y.reshape(-1, 4).mean(1)
    u, v = np.meshgrid(x, y)
    steps = t - since
    cos, sin = np.cos(-s.spin * steps), np.sin(-s.spin * steps)
    shrink = np.exp(-s.grow * steps)
    was_u, was_v = shrink * (u * cos - v * sin), shrink * (u * sin + v * cos)
    inside = np.hypot(u, v) <= reach
    moved = [
        np.where(inside, here - was + step * steps, -pan * steps)
        for here, was, step, pan in (
            (u, was_u, s.step[0], s.pan[0]),
            (v, was_v, s.step[1], s.pan[1]),
        )
    ]
    return np.stack(moved).astype(np.float32)


@functools.lru_cache(1)
def _scene(action: Action, frames: int, seed: int, centred: bool) -> Scene:
    """Flow is asked for picture by picture; nothing here draws from the scene's generator."""
    return Scene.of(action, frames, seed, centred)


def _smooth(noise: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Two passes of a 5x5 box on a torus, back to unit variance."""
    for _ in range(2):
        for axis in (0, 1):
            noise = sum(np.roll(noise, k, axis) for k in range(-2, 3))
    return noise / noise.std()


def _shifted(texture: npt.NDArray[np.float64], x: float, y: float) -> npt.NDArray[np.float64]:
    """A 112x112 window of a torus at (x, y), bilinear."""
    left, top = int(np.floor(x)), int(np.floor(y))
    fx, fy = x - left, y - top
    rows = np.arange(top, top + SIZE + 1) % len(texture)
    columns = np.arange(left, left + SIZE + 1) % len(texture)
    window = texture[np.ix_(rows, columns)]
    window = window[:-1] * (1 - fy) + window[1:] * fy
    return window[:, :-1] * (1 - fx) + window[:, 1:] * fx


def _pattern(appearance: int, rng: np.random.Generator):  # type: ignore[no-untyped-def]
    """f(u, v) in about [-1, 1]: a texture in the disk's own coordinates."""
    shift = rng.uniform(0, 2 * np.pi, 2)
    period = rng.uniform(0.9, 1.1)
    where = rng.uniform(0, 2 * np.pi)
    waves = rng.normal(size=(8, 2))
    phases = rng.uniform(0, 2 * np.pi, 8)
    name = APPEARANCES[appearance]

    def wave(x, length):  # type: ignore[no-untyped-def]
        return np.sin(2 * np.pi * x / (length * period))

    def noise(u, v, length):  # type: ignore[no-untyped-def]
        direction = waves / np.linalg.norm(waves, axis=1, keepdims=True)
        total = sum(
            np.sin(2 * np.pi * (a * u + b * v) / (length * period) + p)
            for (a, b), p in zip(direction, phases, strict=True)
        )
        return np.clip(total / 2.2, -1, 1)

    def value(u, v):  # type: ignore[no-untyped-def]
        if name == "fine stripes":
            return wave(u + shift[0], 6) * (0.8 + 0.2 * wave(v + shift[1], 30))
        if name == "coarse stripes":
            return wave(u + shift[0], 14) * (0.8 + 0.2 * wave(v + shift[1], 30))
        if name == "checks":
            return np.sign(wave(u + shift[0], 14) * wave(v + shift[1], 14)) * 0.9
        if name == "rings":  # off the centre, or turning them would move nothing
            return wave(np.hypot(u - 14 * np.cos(where), v - 14 * np.sin(where)) + shift[0], 10)
        return noise(u, v, 18 if name == "blobs" else 6.5)

    return value
