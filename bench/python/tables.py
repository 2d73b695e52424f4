"""The results of run.py as Markdown, and their place in docs/speed.md and the README."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import data_candidates
from candidates import COVIAR_STANDIN, DECODE, geometric_mean

NATIVE = "cvdecode native mv+ref+qp+mb_type"
LIBAV = "cvdecode libav mv+qp"
NONE = "not measured"
# Frames a batch -> one thread, two threads.
THREADS = {
    8: (NATIVE, "cvdecode native, 2 threads"),
    32: ("cvdecode native, batches of 32", "cvdecode native, 2 threads, batches of 32"),
}


def _table(head: list[str], rows: list[list[str]]) -> list[str]:
    lines = ["| " + " | ".join(head) + " |", "|---" * len(head) + "|"]
    return [*lines, *("| " + " | ".join(row) + " |" for row in rows), ""]


def _ratios(rows: list[dict[str, Any]], name: str, over: str = DECODE) -> list[float]:
    """Time of `name` divided by the time of `over`, for each clip on which both were measured."""
    return [
        row["figures"][name]["seconds"] / row["figures"][over]["seconds"]
        for row in rows
        if name in row["figures"] and over in row["figures"]
    ]


def _classes(rows: list[dict[str, Any]]) -> list[tuple[str, list[dict[str, Any]]]]:
    kinds = sorted({(r["size"], r["crf"]) for r in rows})
    return [
        (f"{size} CRF {crf}", [r for r in rows if (r["size"], r["crf"]) == (size, crf)])
        for size, crf in kinds
    ]


def _over_decode(part: dict[str, Any]) -> list[str]:
    rows = part["rows"]
    names = list(dict.fromkeys(n for row in rows for n in row["figures"]))
    classes = _classes(rows)
    lines = []
    for name in names:
        if not (every := _ratios(rows, name)):
            continue
        cells = [_ratios(of_class, name) for _, of_class in classes]
        lines.append([
            name, *(f"{geometric_mean(c):.2f}" if c else NONE for c in cells),
            f"{geometric_mean(every):.2f}", f"{max(every):.2f}",
        ])  # fmt: skip
    return _table(["", *(label for label, _ in classes), "geometric mean", "worst"], lines)


def _streaming(part: dict[str, Any]) -> list[str]:
    out = ["CPU time over that of a plain C decode with libavcodec (less is faster):", ""]
    out += _over_decode(part)
    lines = []
    for row in part["rows"]:
        figures = row["figures"]
        if NATIVE not in figures or DECODE not in figures:
            continue
        ours, frames = figures[NATIVE]["seconds"], figures[NATIVE]["frames"]
        residual = figures.get("cvdecode native with residual", {}).get("seconds")
        base = figures[DECODE]["seconds"]
        lines.append([
            row["source"], f"{row['bits'] / frames:,.0f}", f"{base / frames * 1e3:.2f}",
            f"{ours / frames * 1e3:.2f}", f"{base / ours:.2f}x", f"{ours / row['bits'] * 1e9:.1f}",
            f"{base / residual:.2f}x" if residual else NONE,
        ])  # fmt: skip
    out += ["The native parser, clip by clip (decode time divided by ours; more is faster):", ""]
    out += _table(["clip", "bits a frame", "C decode, ms a frame", "native, ms a frame", "ratio",
                   "ns a bit", "ratio with residual"], lines)  # fmt: skip
    return out


def _pixels(part: dict[str, Any]) -> list[str]:
    return [f"Pixels, likewise ({len(part['rows'])} clips):", "", *_over_decode(part)]


def _random_access(part: dict[str, Any]) -> list[str]:
    lines = []
    for suffix, label in (("", "open reader"), (", opening included", "opening included")):
        for clip, figures in part["rows"].items():
            ours = figures.get(f"cvdecode three random frames{suffix}", {}).get("seconds")
            theirs = figures.get(f"PyAV three random frames{suffix}", {}).get("seconds")
            if ours and theirs:
                lines.append([f"{clip}, {label}", f"{ours * 1e3:.2f}", f"{theirs * 1e3:.2f}",
                              f"{theirs / ours:.1f}x"])  # fmt: skip
    return ["Three random frames (CPU time):", "",
            *_table(["", "cvdecode, ms", "PyAV, ms", "ratio"], lines)]  # fmt: skip


def _coviar(part: dict[str, Any]) -> list[str]:
    lines = []
    for label, figures in part["rows"].items():
        ours = next((f["seconds"] for n, f in figures.items() if n != COVIAR_STANDIN), None)
        theirs = figures.get(COVIAR_STANDIN, {}).get("seconds")
        if ours and theirs:
            name = label if label == "all positions" else f"{label}, gop_pos 11"
            lines.append([name, f"{ours / 4 * 1e3:.2f}", f"{theirs / 4 * 1e3:.2f}",
                          f"{theirs / ours:.2f}x"])  # fmt: skip
    return ["`cvdecode.coviar.load` on 10 s of 340x256 with GOPs of 12, in four GOPs spread "
            "over it, against a stand-in in C for pytorch-coviar (whose original needs a patched "
            "build of an old FFmpeg; same vectors). As the original does, the stand-in opens the "
            "file, parses it from its first byte and decodes the GOP at every call; ours has the "
            "index of the open file at hand:", "",
            *_table(["", "cvdecode, ms", "stand-in, ms", "ratio"], lines)]  # fmt: skip


def _threads(part: dict[str, Any]) -> list[str]:
    texts = []
    for size, (one, two) in THREADS.items():
        ratios = [
            f"{figures[one]['wall_seconds'] / figures[two]['wall_seconds']:.2f}x on `{clip}`"
            for clip, figures in part.get("rows", {}).items()
            if one in figures and two in figures
        ]
        if ratios:
            texts.append(f"{' and '.join(ratios)} in batches of {size}")
    if not texts:
        return []
    low, high = part["load"]
    return [f"Two threads against one, opening included: {'; '.join(texts)} (wall-clock time, the "
            f"least of {part['runs']} runs, load {low} to {high}).", ""]  # fmt: skip


def _memory(part: dict[str, Any]) -> list[str]:
    rows = [[name, f"{peak / 1e6:.0f}"] for name, peak in part["peak_bytes"].items()]
    return [f"Peak memory beyond the idle process, MB, on `{part['source']}`:", "",
            *_table(["", "MB"], rows)]  # fmt: skip


def _data(part: dict[str, Any]) -> list[str]:
    rows = part["rows"]
    names = list(dict.fromkeys(name for figures in rows.values() for name in figures))
    lines = []
    for name in names:
        peer = data_candidates.PYAV_PEER
        if name in data_candidates.MOTION:
            peer = data_candidates.RGB_PEER
        cells = []
        for figures in rows.values():
            own, other = figures.get(name), figures.get(peer)
            if own is None:
                cells.append("")
                continue
            text = f"{own['seconds'] / own['frames'] * 1e3:.1f}"
            if other is not None and name != peer:
                text += f" ({other['seconds'] / own['seconds']:.1f}x)"
            cells.append(text)
        most = max(figures[name]["process_bytes"] for figures in rows.values() if name in figures)
        lines.append([name, *cells, f"{most / 1e6:.0f}"])
    text = (
        "One sample of a training loader (three segments, 340x256, crops of 224), opening the file "
        "included (with `index_file`: by the data set's own index, made beforehand; without: "
        "scanned each time; *GOP 250, as 12*: x264's defaults with `virtual_gop=12`): CPU ms a "
        "sample on one core, in brackets how many times faster than the peer "
        f"({data_candidates.PYAV_PEER}; for motion alone {data_candidates.RGB_PEER}), and the "
        "peak memory of the process, torch included:"
    )
    out = [text, "", *_table(["", *rows, "process, MB"], lines)]
    if part.get("first_batch"):
        out += [f"First batch of 32 samples of 10,000 indexed files: "
                f"{part['first_batch']['seconds']:.1f} s of CPU time.", ""]  # fmt: skip
    return out


def _rate(value: float) -> str:
    for unit, scale in (("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if value >= scale:
            return f"{value / scale:.1f} {unit}"
    return f"{value:.1f} "


def _micro(part: dict[str, Any]) -> list[str]:
    lines = []
    for row in part["rows"]:
        rates = []
        if "items_per_second" in row:
            rates.append(_rate(row["items_per_second"]) + "/s")
        if "bytes_per_second" in row:
            rates.append(_rate(row["bytes_per_second"]) + "B/s")
        if "s_per_bit" in row:
            rates.append(f"{row['s_per_bit'] * 1e9:.1f} ns a bit")
        name = f"{row['program'].removesuffix('_bench')}: {row['name']}"
        lines.append([name, f"{row['cpu_time']:.3g} {row['time_unit']}", ", ".join(rates)])
    if not lines:
        return []
    return ["<details><summary>C++ microbenchmarks (CPU time)</summary>", "",
            *_table(["", "one iteration", "rate"], lines), "</details>", ""]  # fmt: skip


PARTS = {
    "streaming": _streaming,
    "pixels": _pixels,
    "random_access": _random_access,
    "coviar": _coviar,
    "threads": _threads,
    "memory": _memory,
    "data": _data,
    "micro": _micro,
}


def _circumstances(result: dict[str, Any], name: str) -> str:
    part, machine = result[name], result["machine"]
    low, high = sorted(part["load"])
    text = (
        f"`python bench/python/run.py --only {name} --docs` on {machine['cpu']}, "
        f"{machine['cores']} cores: CPU time of one thread unless said otherwise, median of "
        f"{part['runs']} counted runs, candidates in turn, after a round that is not counted; load "
        f"average {low} to {high}."
    )
    if high > machine["cores"]:
        text += (
            " The machine was busy with other work, which slows down caches and memory for all:"
            " single ratios move from run to run."
        )
    return text


def _section(result: dict[str, Any], name: str) -> str:
    part = result[name]
    missing = [f"Not measured: {n} ({why})." for n, why in part.get("not_measured", {}).items()]
    return "\n".join([_circumstances(result, name), "", *PARTS[name](part), *missing]).rstrip()


def markdown(result: dict[str, Any]) -> str:
    """Every part that there is, each with how it was measured."""
    return "\n\n".join(_section(result, name) for name in PARTS if name in result)


def _put(page: Path, name: str, text: str) -> None:
    """Replaces what stands between <!-- name --> and <!-- /name --> of a page."""
    begin, end = f"<!-- {name} -->", f"<!-- /{name} -->"
    before, found, rest = page.read_text().partition(begin)
    _, closed, after = rest.partition(end)
    if not found or not closed:
        raise SystemExit(f"{page} lacks the markers {begin} and {end}")
    page.write_text(f"{before}{begin}\n{text}\n{end}{after}")


def put_into_docs(root: Path, result: dict[str, Any], names: Iterable[str]) -> None:
    """The named parts into docs/speed.md; the table of streaming into README.md too."""
    for name in names:
        _put(root / "docs/speed.md", name, _section(result, name))
        if name == "streaming":
            table = "\n".join(_over_decode(result[name])).rstrip()
            _put(root / "README.md", "speed", f"{table}\n\n{_circumstances(result, name)}")
