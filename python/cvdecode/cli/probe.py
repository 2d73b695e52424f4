"""Say what a video is: codec, sizes, frames, GOPs, and which planes can be had."""

from __future__ import annotations

import argparse
import dataclasses
import json
import math
from collections import Counter
from fractions import Fraction
from typing import Any

import cvdecode
from cvdecode.cli._terminal import print_table


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("video", help="a video file or URL")
    parser.add_argument("--json", action="store_true", help="print everything as JSON")


def run(arguments: argparse.Namespace) -> int:
    meta = cvdecode.probe(arguments.video)
    if arguments.json:
        print(json.dumps(dataclasses.asdict(meta), default=_plain))
        return 0
    m = meta
    types = Counter(meta.frame_types)
    lengths = [g.stop - g.start for g in meta.gops]
    facts = [
        ("codec", f"{m.codec} {m.profile}".strip()),
        ("size", f"{m.width}x{m.height} (coded {m.coded_width}x{m.coded_height})"),
        ("frames", f"{m.num_frames}: " + ", ".join(f"{n} {t}" for t, n in sorted(types.items()))),
        ("rate", f"{m.average_fps:.3f} fps" if m.average_fps else "not said"),
        ("duration", f"{m.duration_seconds:.3f} s" if m.duration_seconds else "not said"),
        ("GOPs", _lengths(lengths)),
        ("segments", str(len(meta.segments))),
    ]
    if m.rotation:
        facts.append(("rotation", f"{m.rotation:g} degrees (not applied)"))
    facts += [("warning", text) for text in meta.warnings]
    print_table(str(arguments.video), ("", ""), facts)
    rows = [
        (plane, *("yes" if plane in offer.planes else "no" for offer in meta.backends.values()))
        for plane in cvdecode.PLANES
    ]
    print_table("planes", ("plane", *meta.backends), rows)
    for name, offer in meta.backends.items():
        for why in dict.fromkeys(offer.why_not.values()):
            planes = ", ".join(p for p, reason in offer.why_not.items() if reason == why)
            print(f"no {planes} by {name}: {why}")
    return 0


def _lengths(lengths: list[int]) -> str:
    if not lengths:
        return "none"
    low, high = min(lengths), max(lengths)
    return (
        f"{len(lengths)} of {low} frames"
        if low == high
        else f"{len(lengths)} of {low} to {high} frames"
    )


def _plain(value: Any) -> Any:
    """What json cannot write itself: fractions as [numerator, denominator], arrays as lists."""
    if isinstance(value, Fraction):
        return [value.numerator, value.denominator]
    return [None if math.isnan(v) else v for v in value.tolist()]
