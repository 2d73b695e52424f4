"""Writes the seed corpus of the fuzz targets: the matrix, cut short, and handmade streams.

python tests/fuzz/make_corpus.py build/fuzz/corpus
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests" / "python"))

import handmade  # noqa: E402
import streams  # noqa: E402


def main(folder: Path) -> int:
    """One folder per target; returns the number of seeds."""
    seeds: list[tuple[str, bytes]] = []
    with tempfile.TemporaryDirectory() as temporary:
        made = streams.matrix(Path(temporary), frames=4, size="48x32")
        seeds += [(s.name, s.path.read_bytes()) for s in made]
        for number in range(12):
            path = Path(temporary) / f"hand{number}.264"
            recipe = handmade.Recipe(number, width=3, height=2, pictures=5)
            recipe.weighted_bipred_idc = number % 3
            handmade.write(path, recipe)
            seeds.append((path.stem, path.read_bytes()))
    for target, prefix in (("nal", b""), ("parser", b"\x01"), ("pair", b""), ("alloc", b"\0\1\1")):
        (folder / target).mkdir(parents=True, exist_ok=True)
        for name, data in seeds:
            if len(data) < 30_000:
                (folder / target / name).write_bytes(prefix + data)
    return len(seeds)


if __name__ == "__main__":
    print(main(Path(sys.argv[1])), "seeds")
