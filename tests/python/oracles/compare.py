"""All oracles over one stream: what is compared, how often, and what differs."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from . import bits, exporter, native, reference
from .parsed import I_PCM, LOST, ParsedPicture
from .reconstruct import RECONSTRUCTED, reconstruct

MAX_FINDINGS = 12


@dataclass
class Report:
    """What the oracles found in one stream.

    counts: "pictures", "macroblocks", "samples", "vectors", "qp", "types", "slices", "lists_...":
    how many things were compared; "excluded ...": pictures left out, by reason.
    findings: one line per difference, precise enough to debug from; empty = exact.
    """

    path: Path
    unsupported: str = ""
    counts: Counter[str] = field(default_factory=Counter)
    findings: list[str] = field(default_factory=list)
    mb_types: Counter[int] = field(default_factory=Counter)

    @property
    def exact(self) -> bool:
        """The stream was read and nothing differs."""
        return not self.unsupported and not self.findings

    def add(self, text: str) -> None:
        """Note a difference; only the first few are kept, the rest are counted."""
        self.counts["differences"] += 1
        if len(self.findings) < MAX_FINDINGS:
            self.findings.append(text)


def _align(
    pics: list[ParsedPicture], frames: list[reference.ReferenceFrame], report: Report
) -> dict[int, reference.ReferenceFrame]:
    """Decode number -> libavcodec's frame, by the packet in which a picture begins."""
    by_packet: dict[int, list[reference.ReferenceFrame]] = {}
    for f in frames:
        by_packet.setdefault(f.packet, []).append(f)
    out = {}
    for p in pics:
        queue = by_packet.get(p.packet)
        if queue:
            out[p.number] = queue.pop(0)
        else:
            report.counts["excluded: not given by libavcodec"] += 1
    left = sum(map(len, by_packet.values()))
    if left:
        report.add(f"libavcodec gave {left} frames more than the parser found pictures")
    shown = [p for p in pics if p.presentation is not None and p.number in out]
    shown.sort(key=lambda p: p.presentation or 0)
    indices = [out[p.number].index for p in shown]
    if indices != sorted(indices):
        first = next(
            i for i, (a, b) in enumerate(zip(indices, sorted(indices), strict=False)) if a != b
        )
        report.add(f"presentation order differs from libavcodec's at index {first}")
    return out


def _qp(p: ParsedPicture, f: reference.ReferenceFrame, report: Report) -> None:
    if f.qp is None:
        report.add(f"picture {p.number}: libavcodec gave no QP")
        return
    use = (p.mb_type != I_PCM) & (p.mb_type != LOST)
    report.counts["qp"] += int(use.sum())
    for y, x in np.argwhere(use & (f.qp != p.qp))[:1]:
        report.add(
            f"picture {p.number} macroblock ({x}, {y}) mb_type {p.mb_type[y, x]} qp: "
            f"expected {f.qp[y, x]}, got {p.qp[y, x]}; "
            f"{int((use & (f.qp != p.qp)).sum())} macroblocks differ"
        )


def _vectors(
    p: ParsedPicture, f: reference.ReferenceFrame, done: exporter.Exported, report: Report
) -> None:
    report.counts["vectors"] += len(f.vectors)
    mine, theirs = done.vectors, f.vectors
    if len(mine) == len(theirs) and (mine == theirs).all():
        return
    n = min(len(mine), len(theirs))
    differ = np.flatnonzero(mine[:n] != theirs[:n])
    at = int(differ[0]) if differ.size else n
    expected = theirs[at] if at < len(theirs) else "the end"
    got = mine[at] if at < len(mine) else "the end"
    report.add(
        f"picture {p.number} vectors: expected {len(theirs)}, got {len(mine)}; entry {at}: "
        f"expected {expected}, got {got} {exporter.VECTOR.names}"
    )


def _types(
    p: ParsedPicture, f: reference.ReferenceFrame, done: exporter.Exported, report: Report
) -> None:
    h, w = p.mb_shape
    theirs = exporter.parse_letters(f.mb_types, h, w)
    if theirs is None:
        report.add(f"picture {p.number}: no macroblock types in libavcodec's log")
        return
    mine = exporter.letters(p, done)
    report.counts["types"] += h * w
    for y in range(h):
        for x in range(w):
            if mine[y][x] != theirs[y][x]:
                report.add(
                    f"picture {p.number} macroblock ({x}, {y}) mb_type {p.mb_type[y, x]}: "
                    f"-debug mb_type says {theirs[y][x]!r}, ours would be {mine[y][x]!r}"
                )
                return


def _bits(p: ParsedPicture, packets: list[bytes], report: Report) -> None:
    for number, s in enumerate(p.slices):
        if s.damaged:
            continue
        nal = packets[s.packet][s.nal_offset : s.nal_offset + s.nal_size]
        expected, got = bits.end_of_slice(bits.rbsp(nal)), bits.slice_sum(p, number)
        report.counts["slices"] += 1
        if expected != got:
            report.add(f"picture {p.number} slice {number} bits: expected {expected}, got {got}")


def compare(path: str | Path, *, max_pictures: int | None = None) -> Report:
    """Run every oracle over a stream.

    Excluded and counted: pictures that libavcodec did not give or calls damaged, and pictures
    whose references are not sure (gaps, damage).
    """
    path = Path(path)
    report = Report(path)
    debug = native.open_debug(path)
    if debug.unsupported:
        report.unsupported = debug.unsupported
        return report
    pics = list(native.pictures(debug))
    frames = list(reference.frames(path, mb_types=True))
    packets = reference.packets(path)
    aligned = _align(pics, frames, report)
    trusted = {n: f for n, f in aligned.items() if f.clean}
    known = {p.number: p for p in pics}
    done: dict[int, exporter.Exported] = {}
    for p in pics[:max_pictures]:
        done[p.number] = exporter.export(p, done, known)
        _bits(p, packets, report)
        if p.number not in aligned:
            continue
        f = aligned[p.number]
        if not f.clean:
            report.counts["excluded: damaged by libavcodec's account"] += 1
            continue
        if not p.references_sure:
            report.counts["excluded: references not sure"] += 1
            trusted.pop(p.number, None)
            continue
        if (f.height, f.width) != tuple(16 * n for n in p.mb_shape):
            report.add(f"picture {p.number}: libavcodec's coded size is {f.width}x{f.height}")
            continue
        report.counts["pictures"] += 1
        report.counts["macroblocks"] += p.mb_type.size
        report.mb_types.update(p.mb_type.reshape(-1).tolist())
        r = reconstruct(p, f, trusted)
        report.counts["samples"] += sum(plane.size for plane in r.planes)
        if not r.exact:
            report.add(f"picture {p.number}: {r.describe(p, f)}")
        report.counts["macroblocks exact"] += int(
            ((r.verdict == RECONSTRUCTED) & ~r.wrong.any(axis=0)).sum()
        )
        _qp(p, f, report)
        _vectors(p, f, done[p.number], report)
        _types(p, f, done[p.number], report)
    return report
