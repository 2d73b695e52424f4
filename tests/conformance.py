"""Runs every oracle over every shared H.264 clip and writes docs/conformance.md.

    python tests/conformance.py [--output docs/conformance.md] [--only SUBSTRING]

Needs the shared clips (CVDECODE_TEST_DATA) and the package. Ends with an error when a stream in
scope is not exact or one outside it was read.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests" / "python"))

from oracles.compare import Report, compare  # noqa: E402
from oracles.shared import DATA, in_scope, manifest  # noqa: E402

GROUPS = ("h264-conformance", "h264")

HEAD = """# Conformance of the native H.264 parser

Made by `python tests/conformance.py`; do not edit. Every stream is compared with the unpatched
system libavcodec by the oracles in `tests/python/oracles`: each macroblock of each picture is
rebuilt from libavcodec's own neighbours and references plus our residual (Y, Cb, Cr, every
sample), libavcodec's exported vectors are simulated from our planes and compared as whole lists,
QP and macroblock types are compared one by one, and the bits of each slice must add up to its end.

*exact* means that nothing differs in any picture that could be compared. Pictures are left out
only for the reasons given beside the word. Streams outside the scope (field and MBAFF coding,
flexible macroblock ordering, SP and SI slices, more than 8 bit, 4:2:2, 4:4:4) are refused with
the syntax element; `backend="auto"` then reads them with libavcodec.

"""


def outcome(report: Report) -> str:
    """The last column of the table."""
    if report.unsupported:
        return f"refused: {report.unsupported}"
    excluded = [
        f"{n} {reason.removeprefix('excluded: ')}"
        for reason, n in report.counts.items()
        if reason.startswith("excluded") and n
    ]
    note = f" (left out: {', '.join(excluded)})" if excluded else ""
    return ("exact" if report.exact else f"**{report.counts['differences']} differences**") + note


def main() -> int:
    """Returns the number of streams that are not as they should be."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", type=Path, default=ROOT / "docs" / "conformance.md")
    parser.add_argument("--only", default="", help="only paths that contain this; prints, no file")
    args = parser.parse_args()
    rows = [r for r in manifest() if args.only in r["path"] and r["group"] in GROUPS]
    if not rows:
        sys.exit(f"no manifest at {DATA}: set CVDECODE_TEST_DATA")
    lines = ["| stream | profile | size | features | pictures | macroblocks | vectors | outcome |"]
    lines += ["|---|---|---|---|---|---|---|---|"]
    wrong = native = macroblocks = 0
    for row in rows:
        start = time.perf_counter()
        report = compare(DATA / row["path"])
        good = report.exact if in_scope(row) else bool(report.unsupported)
        wrong += not good
        native += not report.unsupported
        counts = report.counts
        macroblocks += counts["macroblocks exact"]
        lines.append(
            f"| {row['path']} | {row['profile']} {row['entropy']} | {row['w']}x{row['h']} "
            f"| {row['features']} | {counts['pictures'] or ''} | {counts['macroblocks'] or ''} "
            f"| {counts['vectors'] or ''} | {outcome(report)} |"
        )
        print(f"{row['path']}: {outcome(report)} ({time.perf_counter() - start:.1f} s)", flush=True)
        for finding in report.findings:
            print("   ", finding)
    share = (
        f"{native} of {len(rows)} shared H.264 clips are read natively ({native / len(rows):.0%};"
        f" files damaged on purpose are not counted); {macroblocks:,} macroblocks exact."
    )
    print(share)
    if not args.only:
        args.output.write_text(HEAD + share + "\n\n" + "\n".join(lines) + "\n")
    return wrong


if __name__ == "__main__":
    sys.exit(1 if main() else 0)
