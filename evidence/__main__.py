"""python -m evidence EXPERIMENT... [--quick] [--out FOLDER]"""

from __future__ import annotations

import argparse
import importlib
from pathlib import Path
from typing import Any

from evidence import ablation, otani, plots, record

EXPERIMENTS = (
    "bframes",
    "motion_error",
    "ablation",
    "real",
    "frames",
    "alignment",
    "mfcd",
    "enhancement",
    "johnston",
    "otani",
    "otani_real",
    "efficiency",
)
# Name -> (experiment, other settings). Defaults: what people really have, by virtual GOPs.
VARIANTS = {
    "ablation_half": ("ablation", ablation.HALF),
    "ablation_defaults": ("ablation", {**ablation.HALF, "codec": "default"}),
    "otani_hevc": ("otani", otani.HEVC),
}
TWINS = {"frames": "variants", "alignment": "variants"}
"""Experiments made by one module: name -> module."""


def experiment(name: str) -> Any:
    """What has FULL, QUICK, run and report, and figure where there is one."""
    module = importlib.import_module(f"evidence.{TWINS.get(name, name)}")
    return getattr(module, name) if name in TWINS else module


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m evidence", description=__doc__)
    parser.add_argument(
        "experiments", nargs="*", metavar="EXPERIMENT", help=", ".join([*EXPERIMENTS, *VARIANTS])
    )
    parser.add_argument("--quick", action="store_true", help="small sizes, one seed")
    parser.add_argument("--seeds", type=int, nargs="+", help="only these seeds")
    parser.add_argument("--out", type=Path, help="folder of results (default: docs/evidence)")
    parser.add_argument("--report", action="store_true", help="run nothing, write the report")
    arguments = parser.parse_args()
    unknown = set(arguments.experiments) - {*EXPERIMENTS, *VARIANTS}
    if unknown:
        parser.error(
            f"no experiment {', '.join(sorted(unknown))}; there are {', '.join(EXPERIMENTS)}"
        )
    if arguments.quick and arguments.out is None:
        parser.error("--quick needs --out: docs/evidence holds full runs only")
    out = arguments.out or record.DOCS
    for name in arguments.experiments or [*VARIANTS, *EXPERIMENTS]:
        where, changes = VARIANTS.get(name, (name, {}))
        module = experiment(where)
        settings = {**module.FULL, **changes}
        if arguments.quick:
            settings |= {k: v for k, v in module.QUICK.items() if k != "codec"}
        if arguments.seeds:
            settings["seeds"] = arguments.seeds
        book = record.Book(out / f"{name}.jsonl", name, settings)
        if not arguments.report:
            module.run(book, settings)
        text = module.report(book)
        if book.rows and hasattr(module, "figure"):
            parts, chance, unit = module.figure(book)
            plots.bars(parts, chance, out / f"{name}.png", unit=unit)
            text += f"\n\n![{name}]({name}.png)"
        if book.rows and hasattr(module, "plot"):
            module.plot(book, out / f"{name}.png")
        if book.rows and hasattr(module, "draw_figure"):
            module.draw_figure(book, out / f"{name}.png")
            text += f"\n\n![{name}]({name}.png)"
        text += f"\n\nMade by `python -m evidence {name}` (`make evidence`); rows: {name}.jsonl."
        (out / f"{name}.md").write_text(text + "\n")
        print(text)


if __name__ == "__main__":
    main()
