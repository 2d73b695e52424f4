"""What the motion net is aligned with: see evidence.variants."""

from __future__ import annotations

from typing import Any

from evidence import ablation, record, variants

FULL, QUICK = ablation.FULL, ablation.QUICK
ROWS = tuple(variants.ALIGNMENT)


def run(book: record.Book, settings: dict[str, Any], progress: Any = print) -> None:
    variants.run(book, settings, variants.alignment, progress)


def figure(book: record.Book) -> tuple[dict[str, record.Book], dict[str, float], str]:
    return (
        {"What the motion net is aligned with": book},
        {"What the motion net is aligned with": 100 / 36},
        "% right",
    )


def report(book: record.Book) -> str:
    return variants.report(book, "alignment", "What the motion net is aligned with", list(ROWS))
