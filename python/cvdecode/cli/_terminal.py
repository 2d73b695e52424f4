"""Tables and progress bars (rich), on standard error so that standard output stays clean."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from rich.console import Console
    from rich.progress import Progress


def _missing() -> SystemExit:
    return SystemExit("the command line needs rich: pip install 'cvdecode[cli]'")


def console(*, stderr: bool = False) -> Console:
    try:
        from rich.console import Console
    except ImportError:
        raise _missing() from None
    return Console(stderr=stderr, highlight=False)


def progress() -> Progress:
    """A progress bar that shows only on a terminal and never mixes with the output."""
    try:
        from rich.progress import (
            BarColumn,
            MofNCompleteColumn,
            Progress,
            TextColumn,
            TimeRemainingColumn,
        )
    except ImportError:
        raise _missing() from None
    screen = console(stderr=True)
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=screen,
        disable=not screen.is_terminal,
        transient=True,
    )


def print_table(title: str, head: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    try:
        from rich import box
        from rich.table import Table
    except ImportError:
        raise _missing() from None
    table = Table(*head, title=title, title_justify="left", box=box.SIMPLE_HEAD)
    for column in table.columns:
        column.overflow = "fold"  # two names that differ at their ends must not look alike
    for row in rows:
        table.add_row(*row)
    console().print(table)


def readable(size: float) -> str:
    """1536 -> '1.5 KiB'."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if abs(size) < 1024:
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1024
    return f"{size:.1f} TiB"
