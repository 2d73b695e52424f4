"""What a run of transcode() has to make, cut into the work of single processes."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

from . import jpeg, together
from .ffmpeg import version
from .grid import Setting, target_size
from .sources import Source

PROBES = 3
"""Clips that are encoded first with every setting, to tell the disk use of the rest."""


@dataclasses.dataclass(frozen=True)
class Item:
    """One clip with one setting."""

    source: Source
    setting: Setting
    key: str
    path: str
    """Below the output folder."""

    @property
    def size(self) -> tuple[int, int]:
        """(width, height) of the output."""
        if self.setting.codec == "jpeg":  # compressed before any resize
            return self.source.width, self.source.height
        return target_size(self.source.width, self.source.height, self.setting.short_side)


Unit = tuple[Item, ...]
"""What one process makes: one item, or small clips of one setting together."""


def plan(sources: Sequence[Source], settings: Sequence[Setting], join: bool) -> list[Unit]:
    """The units of work, setting by setting, clips in the order of their names."""
    ordered = sorted(sources, key=lambda s: s.name)
    units: list[Unit] = []
    for setting in settings:
        groups: dict[Any, list[Source]] = {}
        for source in ordered:
            joint = setting.codec == "h264" and (join or setting.rate == "qp")
            joint = joint and together.is_small(source)
            shape = (source.width, source.height, source.frame_rate) if joint else source.name
            groups.setdefault(shape, []).append(source)
        tool = version() if setting.codec != "jpeg" else f"{version()} {jpeg.version()}"
        for group in groups.values():
            for at in range(0, len(group), together.AT_ONCE):
                units.append(_unit(group[at : at + together.AT_ONCE], setting, tool))
    return units


def _unit(sources: Sequence[Source], setting: Setting, tool: str) -> Unit:
    joint = len(sources) > 1
    members = [s.sha256 for s in sources] if joint else []
    suffix = ".mjpeg" if setting.codec == "jpeg" else ".264" if joint else ".mp4"
    return tuple(
        Item(
            source,
            setting,
            setting.key(source.sha256 + suffix, tool, members),
            f"{setting.name}/{source.name}{suffix}",
        )
        for source in sources
    )


def probes_first(units: Sequence[Unit]) -> tuple[list[Unit], list[Unit]]:
    """(units of PROBES clips spread over each setting, the rest)."""
    by_setting: dict[str, list[Unit]] = {}
    for unit in units:
        by_setting.setdefault(unit[0].setting.name, []).append(unit)
    first: list[Unit] = []
    rest: list[Unit] = []
    for those in by_setting.values():
        step = max(1, len(those) // PROBES)
        chosen = set(range(0, len(those), step)[:PROBES])
        for number, unit in enumerate(those):
            (first if number in chosen else rest).append(unit)
    return first, rest
