"""What a frame costs: parsing, accumulation and network of the full-size systems, and memory."""

from __future__ import annotations

import functools
import json
import os
import platform
import subprocess
import sys
import time
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np

from evidence import record

# CoViAR is three nets of which each is a recipe of its own.
SYSTEMS = {
    "CoViAR: ResNet-152 + 2 x ResNet-18": ("coviar_i", "coviar_mv", "coviar_r"),
    "DMC-Net: generator + ResNet-18": ("dmc_net",),
    "TTP: 3 x EfficientNet-B1": ("ttp",),
    "ATTP: 3 x EfficientNet-B1": ("attp",),
    "MFCD-Net: MFNet-3D, 12 frames": ("mfcd",),
}
SMALL = {"small CoViAR": ("small_coviar_i", "small_coviar_mv", "small_coviar_r")}
PARTS = ("read", "accumulate", "prepare", "network")
FULL = {"clip": "h264/walk.mkv", "gop": 12, "gops": 5, "small": False, "seeds": [0]}
QUICK = {**FULL, "gops": 1, "small": True}


def run(book: record.Book, settings: dict[str, Any], progress: Any = print) -> None:
    for name, recipes in (SMALL if settings["small"] else SYSTEMS).items():
        if book.has(name, 0):
            continue
        parts = [measured(recipe, settings) for recipe in recipes]
        sums = {part: np.sum([p[part] for p in parts], axis=0) for part in PARTS}
        total = np.sum(list(sums.values()), axis=0)
        more: dict[str, Any] = {part: round(float(np.median(v)), 3) for part, v in sums.items()}
        more["frames"] = parts[0]["frames"]
        more["parameters"] = sum(p["parameters"] for p in parts)
        more["peak_bytes"] = max(p["peak_bytes"] for p in parts)
        more["size"] = parts[0]["size"]
        book.add(name, 0, total, **more, machine=machine())
        progress(f"{name:36s} {np.median(total):8.1f} ms a frame")


def measured(recipe: str, settings: dict[str, Any]) -> dict[str, Any]:
    """One recipe in a process of its own, so that its peak memory is its own."""
    found = subprocess.run(
        [sys.executable, "-m", "evidence.efficiency", recipe, json.dumps(settings)],
        check=True,
        capture_output=True,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    answer: dict[str, Any] = json.loads(found.stdout.splitlines()[-1])
    return answer


def measure(recipe: str, settings: dict[str, Any]) -> dict[str, Any]:
    """Milliseconds of CPU time a frame of each GOP; the first GOP warms up and is left out.

    `predict` takes the time on the wall; here it is CPU time of one thread, which on an idle core
    is the same, and which other work on the machine does not lengthen.
    """
    import torch

    from cvdecode.recipes import config, systems
    from cvdecode.recipes.checkpoint import Trained
    from cvdecode.recipes.predict import predict

    torch.set_num_threads(1)
    torch.manual_seed(0)
    changes = [f"data.virtual_gop={settings['gop']}", "data.test_crops=1"]
    loaded = config.load(recipe, changes)
    system = systems.system(loaded, 51)
    trained = Trained(loaded, [str(k) for k in range(51)], system, 0)
    rows = []
    with mock.patch("time.perf_counter", time.process_time):
        for each in predict(trained, clip(settings)):
            rows.append([1000 * each.seconds[part] / len(each.frames) for part in PARTS])
            frames = len(each.frames)
            if len(rows) > settings["gops"]:
                break
    net = system.net
    return {
        **dict(zip(PARTS, np.array(rows[1:]).T.tolist(), strict=True)),
        "frames": frames,
        "size": loaded.data.size,
        "parameters": sum(p.numel() for p in net.parameters()),
        "peak_bytes": peak_bytes(),
    }


def clip(settings: dict[str, Any]) -> str:
    data = os.environ.get("CVDECODE_TEST_DATA", record.HERE.parent.parent / "shared" / "clips")
    return str(Path(data) / settings["clip"])


def peak_bytes() -> int:
    with open("/proc/self/status") as status:
        line = next(line for line in status if line.startswith("VmHWM"))
    return int(line.split()[1]) * 1024


@functools.cache
def machine() -> str:
    with open("/proc/cpuinfo") as info:
        names = [line.split(":")[1].strip() for line in info if line.startswith("model name")]
    return (names or [platform.machine()])[0]


def report(book: record.Book) -> str:
    s = book.settings
    lines = [
        "| system | parse | accumulate | crops | network | together | frames/s | peak MB | M |",
        "|---|---:|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for row in book.rows:
        together = float(np.median(row["scores"]))
        parts = " | ".join(f"{row[part]:.1f}" for part in PARTS)
        lines.append(
            f"| {row['row']} | {parts} | {together:.1f} | {1000 / together:.1f} | "
            f"{row['peak_bytes'] / 1e6:.0f} | {row['parameters'] / 1e6:.1f} |"
        )
    done = {row["row"] for row in book.rows}
    lines += [f"| {name} | not run | | | | | | | |" for name in SYSTEMS if name not in done]
    names = sorted({row["machine"] for row in book.rows})
    return "\n\n".join(
        [
            "## What a frame costs",
            f"Milliseconds of CPU time for each frame that a system looks at, one thread of "
            f"{', '.join(names)}, one centre crop; medians over {s['gops']} GOPs after a first "
            f"one. The clip is {s['clip']} as it was recorded, cut into virtual GOPs of "
            f"{s['gop']}. Columns as in Huo et al.'s table of efficiency, whose machines are "
            "others: compare columns, not numbers. The machine was busy with other work (load "
            "average 25 to 30 on two cores), which slows CPU time too. Parse: reading, parsing, "
            "and decoding of the pixels that the system takes (key frames; all systems but "
            "DMC-Net, and for "
            '`residual="recon_diff"` the drawn frames and those under them). Peak memory is that '
            "of the whole process, torch included. **The weights are random**: they do not matter "
            "for the time, and nothing is said about accuracy. Per video the table must be "
            "multiplied by the frames that a system looks at: one of a GOP, MFCD-Net all 12.",
            "\n".join(lines),
        ]
    )


if __name__ == "__main__":
    print(json.dumps(measure(sys.argv[1], json.loads(sys.argv[2]))))
