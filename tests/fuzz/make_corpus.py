"""Writes the seed corpus of the fuzz targets: the matrix in small, and streams made by hand.

python tests/fuzz/make_corpus.py build/fuzz/corpus

The same bytes every time (with one version of x264).
"""

from __future__ import annotations

import itertools
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests" / "python"))

import handmade  # noqa: E402
import mpeg4_streams  # noqa: E402
import streams  # noqa: E402
import syntax_writer  # noqa: E402

MAX_LEN = 4000  # of an input; time goes with length, and no branch needs a longer one
# The first bytes of an input choose how it is read (memory_stream.h, fuzz_alloc.cc).
PREFIXES = {
    "nal": (b"",),
    "parser": (b"\x01", b"\x11"),  # once; once more one by one
    "pair": (b"",),
    "vop": (b"",),
    "alloc": (b"\0\1\1", b"\x30\0\1"),  # the allocation that fails, then as for the parser
}


def _picture(width: int, idr_pic_id: int, pcm: int) -> bytes:
    """An IDR picture of width x 1 macroblocks with sets of its own; its slice ends after `pcm`."""
    data = handmade.Bits()
    for value in (0, 7, 0):  # first_mb_in_slice, I, PPS 0
        data.ue(value)
    data.u(4, 0)  # frame_num
    data.ue(idr_pic_id)
    data.u(4, 0)  # pic_order_cnt_lsb
    data.u(2, 0)
    data.se(0)  # slice_qp_delta
    for _ in range(pcm):
        data.ue(25)
        data.u(-len(data.bits) % 8, 0)
        data.u(8 * 384, int.from_bytes(bytes(range(1, 193)) * 2, "big"))
    return handmade.baseline_sets(width, 1) + data.nal(3, 5)


def handmade_damage() -> list[tuple[str, bytes]]:
    """Streams that once found something, and their relatives."""
    large = _picture(3, 0, 3)
    return [
        # A slice that breaks before its first macroblock, after one of a larger picture: what was
        # noted of that one's last macroblock lay outside the memory of the smaller picture.
        ("smaller-breaks-at-once", large + _picture(1, 1, 0)),
        ("same-breaks-at-once", large + _picture(3, 1, 0)),
        ("smaller-breaks-later", large + _picture(2, 1, 1)),
        ("larger-breaks-at-once", _picture(1, 0, 1) + _picture(3, 1, 0) + large),
    ]


def seeds() -> list[tuple[str, bytes]]:
    """(name, Annex B stream), each at most MAX_LEN bytes."""
    made: list[tuple[str, bytes]] = []
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        for stream in streams.matrix(folder, frames=4, size="32x32"):
            made.append((stream.name, stream.path.read_bytes()))
        for number in range(12):
            hand = handmade.Recipe(number, width=2, height=2, pictures=5)
            hand.weighted_bipred_idc = number % 3
            path = folder / f"hand{number}.264"
            handmade.write(path, hand)
            made.append((path.stem, path.read_bytes()))
        for number, (cabac, inference, lossless) in enumerate(
            itertools.product((False, True), (False, True), (False, True))
        ):
            path = folder / f"syntax{number}.264"
            recipe = syntax_writer.Recipe(number, cabac, 2, 2, 5, inference=inference)
            recipe.lossless = lossless
            syntax_writer.write(path, recipe)
            made.append((path.stem, path.read_bytes()))
    short = [(name, data[:MAX_LEN]) for name, data in made]
    # The size changes in mid-stream: what a thread keeps from a larger picture must not matter.
    joined = [
        (f"{a}-{b}", first[: MAX_LEN // 2] + second[: MAX_LEN // 2])
        for (a, first), (b, second) in zip(short[::5], short[:-40:-3], strict=False)
    ]
    return short + joined + handmade_damage()


def vop_seeds() -> list[tuple[str, bytes]]:
    """(name, MPEG-4 part 2 elementary stream), each at most MAX_LEN bytes."""
    made = []
    with tempfile.TemporaryDirectory() as temporary:
        for name, (_, options) in mpeg4_streams.STREAMS.items():
            path = Path(temporary) / f"{name}.m4v"
            mpeg4_streams.make(path, "mandelbrot=size=48x32:rate=25", options, frames=6)
            made.append((name, path.read_bytes()[:MAX_LEN]))
        path = Path(temporary) / "b_vops.m4v"
        mpeg4_streams.make(path, "testsrc2=size=32x32:rate=25", ["-bf", "2"], frames=6)
        made.append((path.stem, path.read_bytes()[:MAX_LEN]))
    return made


def main(folder: Path) -> int:
    """One folder per target; returns the number of seeds."""
    made, vops = seeds(), vop_seeds()
    for target, prefixes in PREFIXES.items():
        (folder / target).mkdir(parents=True, exist_ok=True)
        for number, (name, data) in enumerate(vops if target == "vop" else made):
            prefix = prefixes[number % len(prefixes)]
            (folder / target / name).write_bytes(prefix + data)
    return len(made) + len(vops)


if __name__ == "__main__":
    print(main(Path(sys.argv[1])), "seeds")
