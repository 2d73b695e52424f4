"""Recipes: everything that makes a training repeatable, in one small TOML file."""

from __future__ import annotations

import dataclasses
import sys
from pathlib import Path
from typing import Any, get_type_hints

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

FOLDER = Path(__file__).parent / "toml"


@dataclasses.dataclass(frozen=True)
class Model:
    """Which system, of which networks."""

    system: str
    """"stream", "three_stream", "attp", "dmc", "dmc_gan", "clip" or "mfcd"; see systems.py."""
    backbone: str = "small"
    """"small", "resnet18", "resnet152", "efficientnet_b1" or "mobilenet_v2"; of "clip" and "mfcd"
    "small" or "mfnet"."""
    input: str = "iframe"
    """stream: "iframe", "mv", "residual" or "flow". clip: "rgb", "augmented", "residual" or
    "residual_only"."""
    head: str = "trilinear"
    """three_stream: "late", "concat", "bilinear" or "trilinear"."""
    dim: int = 1024
    """Length of the pooled vector of "bilinear" and "trilinear"."""
    temporal: bool = False
    """three_stream: the neighbouring GOP's I-frame joins in (TTP)."""
    alignment: str = "both"
    """attp: "none", "fc", "kd" or "both"."""


@dataclasses.dataclass(frozen=True)
class Data:
    """What is read of a video."""

    size: int = 224
    """Side of the crops, samples."""
    resize: int = 256
    """Testing: side that pictures are squashed to before crops are cut."""
    segments: int = 3
    """Training: segments (or GOPs) of a video."""
    test_segments: int = 25
    test_crops: int = 10
    """1, 3, 5 or 10."""
    motion: str = "accumulated"
    """"accumulated" or "step"."""
    residual: str = "recon_diff"
    """"recon_diff", which all published weights were trained on, or "coded"."""
    virtual_gop: int = 0
    """GOPs of n frames whatever the encoder did; 0 = the video's own."""
    scale_values: bool = False
    """Scale vectors with the resize (CoViAR does not)."""
    flip: float = 0.5
    crop: str = "multiscale"
    """Training: "multiscale" (TSN, CoViAR: sides of ``scales``) or "random": a random place of the
    picture squashed to ``resize``."""
    scales: tuple[float, ...] = (1.0, 0.875, 0.75)
    """"multiscale": sides of crops, of the picture's shorter side."""
    jitter: bool = False
    """Training: shift hue, lightness and saturation of pictures, as CoViAR does of I-frames."""
    test_random: bool = False
    """clip, mfcd: test random GOPs and one random crop each, not the middle ones (MFCD-Net)."""
    length: int = 12
    """clip, mfcd: frames of a GOP."""


@dataclasses.dataclass(frozen=True)
class Train:
    """How it is trained."""

    epochs: int
    batch_size: int
    lr: float
    optimiser: str = "adam"
    """"adam" (eps 1e-3, as CoViAR), "adamw" or "sgd" (momentum 0.9)."""
    weight_decay: float = 1e-4
    milestones: tuple[int, ...] = ()
    """Epochs after which the rate falls to a tenth. Without any it falls along a half cosine."""
    pretrained_rates: bool = False
    """CoViAR's rates by layer, for backbones that are already trained."""
    clip_norm: float = 0.0
    """Longest gradient; 0 = any."""


@dataclasses.dataclass(frozen=True)
class Recipe:
    """A training, by name."""

    name: str
    about: str
    model: Model
    data: Data
    train: Train

    def as_dict(self) -> dict[str, Any]:
        """As in the TOML file."""
        return dataclasses.asdict(self)


def names() -> list[str]:
    """The recipes that come with the package."""
    return sorted(path.stem for path in FOLDER.glob("*.toml"))


def load(name: str, changes: list[str] | None = None) -> Recipe:
    """A recipe by name, or from a TOML file by path.

    Args:
        name: one of names(), or a path that ends in .toml.
        changes: "section.key=value" with a value as in TOML (a bare word is a string).

    Raises:
        ValueError: no such recipe, section or key, or a value of another type.
    """
    path = Path(name) if name.endswith(".toml") else FOLDER / f"{name}.toml"
    if not path.is_file():
        raise ValueError(f"there is no recipe {name!r}; there are {', '.join(names())}")
    table = tomllib.loads(path.read_text(encoding="utf-8"))
    for change in changes or []:
        key, equals, value = change.partition("=")
        section, dot, field = key.strip().partition(".")
        if not equals or not dot:
            raise ValueError(f"{change!r}: a change is section.key=value, as train.epochs=5")
        table.setdefault(section, {})[field] = _value(value.strip())
    return from_dict({"name": path.stem, **table})


def from_dict(table: dict[str, Any]) -> Recipe:
    """A recipe from what as_dict() gives."""
    sections = {"model": Model, "data": Data, "train": Train}
    unknown = set(table) - {"name", "about", *sections}
    if unknown:
        raise ValueError(f"a recipe has no {', '.join(sorted(unknown))}")
    made = {name: _section(kind, name, table.get(name, {})) for name, kind in sections.items()}
    return Recipe(name=table["name"], about=table.get("about", ""), **made)


def _value(text: str) -> Any:
    try:
        return tomllib.loads(f"x = {text}")["x"]
    except tomllib.TOMLDecodeError:
        return text


def _section(kind: type, name: str, values: dict[str, Any]) -> Any:
    fields = {field.name: field for field in dataclasses.fields(kind)}
    hints = get_type_hints(kind)
    unknown = set(values) - set(fields)
    if unknown:
        raise ValueError(
            f"[{name}] has no {', '.join(sorted(unknown))}; it has {', '.join(fields)}"
        )
    found: dict[str, Any] = {}
    for key, value in values.items():
        wanted = hints[key]
        if wanted is float and type(value) is int:
            value = float(value)
        if isinstance(value, list):
            value = tuple(value)
        plain = tuple if wanted not in (str, int, float, bool) else wanted
        if type(value) is not plain:
            raise ValueError(f"{name}.{key} is {value!r}, not of type {plain.__name__}")
        found[key] = value
    missing = [
        key for key, field in fields.items()
        if field.default is dataclasses.MISSING and key not in found
    ]  # fmt: skip
    if missing:
        raise ValueError(f"[{name}] lacks {', '.join(missing)}")
    return kind(**found)
