"""How far accumulated motion is from the truth, references right and guessed."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np

import cvdecode
from evidence import record
from evidence.actions import MOTIONS, actions, draw, flow
from evidence.encode import X264_DEFAULT, X264_GOP12, encode
from evidence.features import sign_only_trace

FULL = {"clips": 48, "frames": 36, "seeds": [0, 1, 2]}
QUICK = {"clips": 48, "frames": 24, "seeds": [0]}
CODECS = {"GOP 12": (X264_GOP12, False), "defaults": (X264_DEFAULT, True)}
ROWS = tuple(f"{codec}, {way}" for codec in CODECS for way in ("exact", "sign only"))
GOP = 12


def run(book: record.Book, settings: dict[str, Any], progress: Any = print) -> None:
    frames = settings["frames"]
    for seed in settings["seeds"]:
        todo = actions("test", settings["clips"], len(MOTIONS), 6)
        for codec, (options, virtual) in CODECS.items():
            if all(book.has(f"{codec}, {way}", seed) for way in ("exact", "sign only")):
                continue
            errors: dict[str, list[float]] = {"exact": [], "sign only": []}
            with tempfile.TemporaryDirectory() as folder:
                path = Path(folder) / "clips.mp4"
                encode((draw(a, frames, seed) for a in todo), path, frames, options)
                with cvdecode.VideoReader(path, planes=("mv", "ref")) as video:
                    anchors = list(range(0, len(video), GOP)) if virtual else None
                    for number, action in enumerate(todo):
                        found: dict[str, list[float]] = {"exact": [], "sign only": []}
                        for gop in range(GOP, frames, GOP):  # the first GOP starts with an IDR
                            first = number * frames + gop
                            rows = list(range(first + 1, first + GOP))
                            acc = cvdecode.accumulate(video, rows, grid=4, anchors=anchors)
                            traced = sign_only_trace(video.get_frames_in_range(first, first + GOP))
                            ways = {"exact": acc.displacement / 4, "sign only": traced[1:]}
                            for p in range(1, GOP):
                                truth = flow(action, frames, seed, gop, gop + p)
                                for way, field in ways.items():
                                    found[way].append(np.hypot(*(field[p - 1] - truth)).mean())
                        for way, values in found.items():
                            errors[way].append(float(np.mean(values)))
            for way, values in errors.items():
                book.add(f"{codec}, {way}", seed, -np.array(values))
                progress(f"seed {seed}  {codec}, {way:10s} {np.mean(values):6.3f} samples")


def figure(book: record.Book) -> tuple[dict[str, record.Book], dict[str, float], str]:
    return {"Endpoint error, negative": book}, {}, "samples"


def report(book: record.Book) -> str:
    s = book.settings
    section = record.expected("motion_error")
    return "\n\n".join(
        [
            "## Accumulated motion against the truth",
            f"{section['why']} Endpoint error in samples (shown negative, so that more is better) "
            f"of the displacement to the GOP's first picture on the 4x4 grid, mean over all "
            f"blocks and predicted pictures; {s['clips']} synthetic clips a seed, seeds "
            f"{book.seeds}, whose generator knows the truth. Defaults: x264 with keyint 250, 3 B "
            "pictures, pyramid, 3 references, virtual GOPs of 12. Sign only: every vector is "
            "taken for one between neighbours, in its direction in time.",
            record.table(book, list(ROWS), scale=1),
            record.verdicts(section, book.scores(), scale=1),
        ]
    )
