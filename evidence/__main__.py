"""python -m evidence EXPERIMENT... [--quick] [--out FOLDER]"""

from __future__ import annotations

import argparse
import importlib
from pathlib import Path

from evidence import record

EXPERIMENTS = ("bframes",)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m evidence", description=__doc__)
    parser.add_argument("experiments", nargs="*", metavar="EXPERIMENT", help=", ".join(EXPERIMENTS))
    parser.add_argument("--quick", action="store_true", help="small sizes, one seed")
    parser.add_argument("--seeds", type=int, nargs="+", help="only these seeds")
    parser.add_argument("--out", type=Path, help="folder of results (default: docs/evidence)")
    parser.add_argument("--report", action="store_true", help="run nothing, write the report")
    arguments = parser.parse_args()
    unknown = set(arguments.experiments) - set(EXPERIMENTS)
    if unknown:
        parser.error(f"no experiment {', '.join(sorted(unknown))}; there are {EXPERIMENTS}")
    if arguments.quick and arguments.out is None:
        parser.error("--quick needs --out: docs/evidence holds full runs only")
    out = arguments.out or record.DOCS
    for name in arguments.experiments or EXPERIMENTS:
        module = importlib.import_module(f"evidence.{name}")
        settings = dict(module.QUICK if arguments.quick else module.FULL)
        if arguments.seeds:
            settings["seeds"] = arguments.seeds
        book = record.Book(out / f"{name}.jsonl", name, settings)
        if not arguments.report:
            module.run(book, settings)
        text = module.report(book)
        (out / f"{name}.md").write_text(text + "\n")
        print(text)


if __name__ == "__main__":
    main()
