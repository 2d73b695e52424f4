"""Which pictures motion and residual are drawn from: see evidence.variants."""

from __future__ import annotations

from typing import Any

from evidence import ablation, record, variants

FULL, QUICK = ablation.FULL, ablation.QUICK
ROWS = tuple(variants.FRAMES)


def run(book: record.Book, settings: dict[str, Any], progress: Any = print) -> None:
    variants.run(book, settings, variants.frames, progress)


def figure(book: record.Book) -> tuple[dict[str, record.Book], dict[str, float], str]:
    return (
        {"Which pictures motion and residual are drawn from": book},
        {"Which pictures motion and residual are drawn from": 100 / 36},
        "% right",
    )


def report(book: record.Book) -> str:
    return variants.report(
        book, "frames", "Which pictures motion and residual are drawn from", list(ROWS)
    )
