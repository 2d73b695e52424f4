"""The settings of a transcoding grid (Otani et al., Algorithms 1 and 2) and what they are called.

One setting is one cell of the grid: every clip is encoded once with it.
"""

from __future__ import annotations

import dataclasses
import hashlib
import itertools
import json
import re
from collections.abc import Iterable, Sequence
from typing import Any, Literal, cast

Codec = Literal["h264", "hevc", "jpeg"]
Rate = Literal["crf", "qp", "bitrate", "strength", "quality"]

LAYOUT = 1
"""Version of how outputs are made; a change makes every earlier output count as another."""

_RANGES: dict[str, tuple[int, int]] = {
    "crf": (0, 51),
    "qp": (0, 51),
    "bitrate": (1, 1_000_000),
    "strength": (0, 100),
    "quality": (1, 100),
}
RATES: dict[str, tuple[str, ...]] = {
    "h264": ("crf", "qp", "bitrate"),
    "hevc": ("crf", "qp", "bitrate"),
    "jpeg": ("strength", "quality"),
}


@dataclasses.dataclass(frozen=True)
class Setting:
    """How one cell is encoded.

    ``rate`` and ``value``: constant rate factor ("crf", 0 to 51), constant quantiser of every
    macroblock ("qp", 0 to 51), mean bitrate in one pass ("bitrate", kbit/s), or for JPEG the
    compression "strength" (0 to 100; its quality is 100 - strength, at least 1) or "quality".
    ``gop``: largest distance of key frames (``-g``). ``bframes``: None leaves it to the encoder.
    ``short_side``: a clip whose short side is longer is scaled to it; None scales nothing.
    """

    codec: Codec
    rate: Rate
    value: int
    gop: int = 12
    preset: str = "medium"
    bframes: int | None = None
    short_side: int | None = 360

    def __post_init__(self) -> None:
        if self.codec not in RATES:
            raise ValueError(f"codec {self.codec!r}: choose from {', '.join(RATES)}")
        if self.rate not in RATES[self.codec]:
            raise ValueError(
                f"{self.codec} has no {self.rate!r}: choose from {', '.join(RATES[self.codec])}"
            )
        low, high = _RANGES[self.rate]
        if not low <= self.value <= high:
            raise ValueError(f"{self.rate} {self.value} lies outside {low} to {high}")
        if self.codec != "jpeg" and self.gop < 1:
            raise ValueError(f"a GOP of {self.gop} frames: it has at least 1")
        if self.bframes is not None and self.bframes < 0:
            raise ValueError(f"{self.bframes} B-frames: choose 0 or more")
        if self.short_side is not None and (self.short_side < 16 or self.short_side % 2):
            raise ValueError(f"short side {self.short_side}: choose an even number from 16 on")

    @property
    def name(self) -> str:
        """Name of the cell and of its folder: ``h264-crf20-g12-medium``, ``jpeg-strength70``."""
        if self.codec == "jpeg":
            return f"jpeg-{self.rate}{self.value}"
        more = "" if self.bframes is None else f"-b{self.bframes}"
        return f"{self.codec}-{self.rate}{self.value}-g{self.gop}-{self.preset}{more}"

    @property
    def quality(self) -> int:
        """JPEG quality, 1 to 100 (Algorithm 1: 100 - strength, clipped)."""
        return self.value if self.rate == "quality" else max(1, 100 - self.value)

    def record(self) -> dict[str, str | int | None]:
        """The settings that matter for this codec, for JSON."""
        all_of_it = dataclasses.asdict(self)
        if self.codec == "jpeg":  # Algorithm 1 compresses before any resize
            return {name: all_of_it[name] for name in ("codec", "rate", "value")}
        return all_of_it

    def key(self, source_sha256: str, tool: str, with_clips: Sequence[str] = ()) -> str:
        """Address of an output: source content, settings, version of what encodes.

        ``with_clips``: content of all clips that one encoder process takes in turn: numbering,
        and except with constant QP the rate control, carry over from one to the next.
        """
        text = json.dumps(
            [LAYOUT, source_sha256, self.record(), tool, list(with_clips)], sort_keys=True
        )
        return hashlib.sha256(text.encode()).hexdigest()

    def encoder(self) -> list[str]:
        """ffmpeg's output options for this setting (not for JPEG).

        One thread, so that the bytes do not depend on the machine. Constant QP means it: no
        offsets between frame types.
        """
        options = ["-preset", self.preset, "-g", str(self.gop), "-threads", "1"]
        if self.bframes is not None:
            options += ["-bf", str(self.bframes)]
        extra = [] if self.rate != "qp" else ["ipratio=1", "pbratio=1"]
        if self.rate == "crf":
            options += ["-crf", str(self.value)]
        elif self.rate == "bitrate":
            options += ["-b:v", f"{self.value}k"]
        if self.codec == "h264":
            if self.rate == "qp":
                options += ["-qp", str(self.value)]
            return ["-c:v", "libx264", *options, *_params("-x264-params", extra)]
        if self.rate == "qp":
            extra.append(f"qp={self.value}")
        extra += ["log-level=error", "pools=none", "frame-threads=1"]
        return ["-c:v", "libx265", "-tag:v", "hvc1", *options, *_params("-x265-params", extra)]


def _params(name: str, values: Sequence[str]) -> list[str]:
    return [name, ":".join(values)] if values else []


def grid(
    codec: str,
    rate: str,
    values: Iterable[int],
    gops: Iterable[int] = (12,),
    *,
    presets: Iterable[str] = ("medium",),
    bframes: Iterable[int | None] = (None,),
    short_side: int | None = 360,
) -> list[Setting]:
    """Every value with every GOP length, preset and number of B-frames, the last varying fastest;
    JPEG has values alone.

    Raises:
        ValueError: a codec, rate or number that Setting does not know.
    """
    others = (
        [(12, "medium", None)] if codec == "jpeg" else itertools.product(gops, presets, bframes)
    )
    return [
        Setting(cast("Codec", codec), cast("Rate", rate), value, *other, short_side)
        for value, other in itertools.product(values, others)
    ]


def target_size(width: int, height: int, short_side: int | None) -> tuple[int, int]:
    """(width, height) after Algorithm 2's resize rule: the short side becomes `short_side`,
    only if it is longer; the ratio is kept to the nearest even number. 4:2:0 wants even sizes:
    an odd last row or column is cut off where nothing is scaled.
    """
    short = min(width, height)
    if short_side is None or short <= short_side:
        return width // 2 * 2, height // 2 * 2
    longer = (max(width, height) * short_side + short) // (2 * short) * 2
    return (longer, short_side) if width >= height else (short_side, longer)


def input_filters(width: int, height: int, short_side: int | None) -> str:
    """The filter chain from a source of this size to what the encoder is fed."""
    to = target_size(width, height, short_side)
    if to == (width, height):
        return "format=yuv420p"
    if short_side is not None and min(width, height) > short_side:
        return f"scale={to[0]}:{to[1]}:flags=bicubic,format=yuv420p"
    return f"crop={to[0]}:{to[1]}:0:0,format=yuv420p"


def natural(name: str) -> list[Any]:
    """A key that sorts names of cells with their numbers as numbers."""
    return [int(p) if p.isdigit() else p for p in re.split(r"(\d+)", name)]


def short_names(names: Iterable[str]) -> tuple[dict[str, str], str]:
    """Names of cells without what all of them share, for the heads of tables and axes.

    ``h264-crf20-g12-medium`` and ``h264-crf40-g12-medium`` become ``crf20`` and ``crf40`` of
    ``h264-*-g12-medium``. Names that are made another way ("original") stay; of "a > b" each part
    is taken by itself.

    Returns:
        {name: short name}, and the pattern of what was left out; "" where nothing was.
    """
    names = list(names)
    parts = {part for name in names for part in name.split(" > ")}
    coded = [part.split("-") for part in sorted(parts) if part.count("-") >= 2]
    told = {name: name for name in names}
    if len(coded) < 2 or len({len(tokens) for tokens in coded}) > 1:
        return told, ""
    varies = [len(set(tokens)) > 1 for tokens in zip(*coded, strict=True)]
    short = {
        "-".join(tokens): "-".join(t for t, v in zip(tokens, varies, strict=True) if v)
        for tokens in coded
    }
    pattern = "-".join("*" if v else t for t, v in zip(coded[0], varies, strict=True))
    return {n: " > ".join(short.get(p, p) for p in n.split(" > ")) for n in names}, pattern
