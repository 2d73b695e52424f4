"""All oracles over one stream: what is compared, how often, and what differs."""

from __future__ import annotations

import itertools
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from . import bits, direct, exporter, native, reference
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


class _Frames:
    """libavcodec's frames by the packet in which a picture begins, decoded as they are needed.

    Frames that no list may name again are let go when the stream is too big to keep.
    """

    def __init__(self, path: Path, keep_bytes: int, plain_c: bool) -> None:
        self._source = reference.frames(path, mb_types=True, plain_c=plain_c)
        self._waiting: dict[int, list[reference.ReferenceFrame]] = {}
        self._by_number: dict[int, reference.ReferenceFrame] = {}
        self._keep = keep_bytes
        self.given = 0

    def take(self, number: int, packet: int) -> reference.ReferenceFrame | None:
        """The frame of the picture with this decode number, None when libavcodec gave none."""
        while not self._waiting.get(packet):
            frame = next(self._source, None)
            if frame is None:
                return None
            self.given += 1
            self._waiting.setdefault(frame.packet, []).append(frame)
        self._by_number[number] = self._waiting[packet].pop(0)
        return self._by_number[number]

    def trusted(self, wanted: set[int]) -> dict[int, reference.ReferenceFrame]:
        """The frames of these pictures that carry no sign of damage."""
        size = sum(p.nbytes for f in self._by_number.values() for p in f.planes)
        for number in sorted(self._by_number):
            if size <= self._keep:
                break
            if number not in wanted and number < max(self._by_number) - 20:
                size -= sum(p.nbytes for p in self._by_number.pop(number).planes)
        return {n: f for n, f in self._by_number.items() if n in wanted and f.clean}

    def drop(self, number: int) -> None:
        """The picture may not serve as a reference."""
        self._by_number.pop(number, None)

    def left_over(self) -> int:
        """Frames that no picture asked for, once the stream is through."""
        return sum(map(len, self._waiting.values())) + sum(1 for _ in self._source)


def _samples(
    p: ParsedPicture,
    f: reference.ReferenceFrame,
    references: dict[int, reference.ReferenceFrame],
    report: Report,
) -> None:
    r = reconstruct(p, f, references)
    report.counts["samples"] += sum(plane.size for plane in r.planes)
    if not r.exact:
        report.add(f"picture {p.number}: {r.describe(p, f)}")
    exact = (r.verdict == RECONSTRUCTED) & ~r.wrong.any(axis=0)
    report.counts["macroblocks exact"] += int(exact.sum())


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


def _direct(
    p: ParsedPicture, known: dict[int, ParsedPicture], departed: set[int], report: Report
) -> set[int]:
    """Temporal direct blocks against the standard; the picture's number if libavcodec departs.

    A picture whose co-located picture already departed has other vectors to start from.
    """
    checked = direct.check(p, known)
    report.counts["temporal direct blocks"] += checked.blocks
    for text in checked.wrong:
        report.add(f"picture {p.number} {text}")
    follows = any(s.ref_lists[1] and s.ref_lists[1][0][0] in departed for s in p.slices)
    return {p.number} if checked.departs or follows else set()


def _bits(p: ParsedPicture, packets: list[bytes], report: Report) -> None:
    for number, s in enumerate(p.slices):
        if s.damaged or not (p.slice == number).any():
            continue
        if (p.mb_type == LOST).any():
            continue  # macroblocks whose direct prediction is lost count no bits
        nal = packets[s.packet][s.nal_offset : s.nal_offset + s.nal_size]
        payload, got = bits.rbsp(nal), bits.slice_sum(p, number)
        report.counts["slices"] += 1
        if not bits.ends_at(payload, got, cabac=s.entropy_coding_mode):
            expected = bits.end_of_slice(payload)
            report.add(f"picture {p.number} slice {number} bits: expected {expected}, got {got}")


def _order(places: list[tuple[int, int]], report: Report) -> None:
    """places: (our presentation index, libavcodec's output index) of every picture shown."""
    indices = [theirs for _, theirs in sorted(places)]
    report.counts["order"] += len(indices)
    for i, (got, expected) in enumerate(zip(indices, sorted(indices), strict=True)):
        if got != expected:
            report.add(
                f"presentation {i}: libavcodec shows that picture as number {got} of its output,"
                f" number {expected} is due"
            )
            return


def compare(
    path: str | Path,
    *,
    max_pictures: int | None = None,
    keep_bytes: int = 1 << 30,
    plain_c: bool = False,
    damaged: bool = False,
) -> Report:
    """Run every oracle over a stream.

    Excluded and counted: pictures that libavcodec did not give or calls damaged, and pictures
    whose references are not sure (gaps, damage).

    damaged=True is for broken streams: pictures in which we lost a macroblock are left out too,
    and samples are not compared, because libavcodec adds coefficients that a failed macroblock
    left behind to the next picture, and wraps samples in lossless blocks that leave 0..255.
    """
    path = Path(path)
    report = Report(path)
    debug = native.open_debug(path)
    if debug.unsupported:
        report.unsupported = debug.unsupported
        return report
    frames = _Frames(path, keep_bytes, plain_c)
    packets = reference.packets(path)
    done: dict[int, exporter.Exported] = {}
    known: dict[int, ParsedPicture] = {}
    places: list[tuple[int, int]] = []
    departed: set[int] = set()
    clean: set[int] = set()
    count = debug.size if max_pictures is None else min(debug.size, max_pictures)
    seen = 0
    for p in itertools.islice(native.pictures(debug), count):
        seen += 1
        wanted = {n for s in p.slices for lst in s.ref_lists for n, _ in lst}
        for old in [n for n in known if n not in wanted and n < p.number - 40]:
            del known[old], done[old]
        done[p.number] = exporter.export(p, done, known)
        known[p.number] = p
        _bits(p, packets, report)
        departed |= _direct(p, known, departed, report)
        f = frames.take(p.number, p.packet)
        if f is None:
            report.counts["excluded: not given by libavcodec"] += 1
            continue
        if p.presentation is not None:
            places.append((p.presentation, f.index))
        if not f.clean:
            report.counts["excluded: damaged by libavcodec's account"] += 1
            continue
        if damaged and (p.mb_type == LOST).any():
            report.counts["excluded: lost by our account"] += 1
            continue
        if not p.references_sure:
            report.counts["excluded: references not sure"] += 1
            frames.drop(p.number)
            continue
        if (f.height, f.width) != tuple(16 * n for n in p.mb_shape):
            report.add(f"picture {p.number}: libavcodec's coded size is {f.width}x{f.height}")
            continue
        if p.number in departed:
            report.counts["excluded: libavcodec departs from 8.4.1.2.3"] += 1
            continue
        report.counts["pictures"] += 1
        report.counts["macroblocks"] += p.mb_type.size
        report.mb_types.update(p.mb_type.reshape(-1).tolist())
        _qp(p, f, report)
        clean.add(p.number)
        if damaged:
            if any(s.ref_lists[1] and s.ref_lists[1][0][0] not in clean for s in p.slices):
                clean.discard(p.number)  # its direct blocks looked at something else
                continue
        else:
            _samples(p, f, frames.trusted(wanted), report)
        _vectors(p, f, done[p.number], report)
        _types(p, f, done[p.number], report)
        p.residual_y = p.residual_y[:0]  # no later picture looks at it
        p.residual_uv = None
    _order(places, report)
    unread = count - seen
    report.counts["excluded: nothing was read"] += unread
    if count == debug.size and (left := frames.left_over()) > unread:
        report.add(f"libavcodec gave {left} frames more, the parser could not read {unread}")
    return report
