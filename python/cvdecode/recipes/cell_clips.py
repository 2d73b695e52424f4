"""The clips of a grid's cells, without those that turn out to be unreadable.

Work on a cell that meets such a clip is begun again without it: its result is that of a cell that
never had the clip, whenever the clip was met and however often the run was interrupted.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

from cvdecode.study.clips import ClipSpec
from cvdecode.study.cross import samples
from cvdecode.study.errors import StudyError
from cvdecode.study.manifest import load_manifest
from cvdecode.study.records import Journal

from .clip_training import READING, Files, Unreadable, unreadable

T = TypeVar("T")
Labels = Mapping[str, int]


class CellClips:
    """Labelled clips by cell; the lines of kind "failed" in a journal name those left out."""

    def __init__(
        self,
        grid: str | os.PathLike[str],
        originals: Sequence[tuple[str, str]],
        journal: Journal,
        spec: ClipSpec,
        jobs: int,
    ) -> None:
        self.grid, self.originals, self.journal = grid, originals, journal
        self.spec, self.jobs = spec, jobs
        self.names = {str(r["file"]): str(r["source"]) for r in load_manifest(grid)}
        self.names |= dict(originals)

    def all(self, quality: str, labels: Labels) -> Files:
        """(path, class) of the clips that the cell has.

        Raises:
            StudyError: there is none.
        """
        return samples(self.grid, quality, labels, self.originals)

    def readable(self, quality: str, labels: Labels) -> Files:
        """Those that are not known to be unreadable.

        Raises:
            StudyError: there is none.
        """
        every = self.all(quality, labels)
        good = [(p, c) for p, c in every if self._key(quality, p) not in self.journal.records]
        if not good:
            why = self.journal.records[self._key(quality, every[0][0])]["error"]
            raise StudyError(f"{quality}: none of {len(every)} clips can be read; one: {why}")
        return good

    def left_out(self, quality: str, labels: Labels) -> list[str]:
        """Names of labelled clips that the cell lacks, or that cannot be read."""
        return sorted(set(labels) - {self.names[p] for p, _ in self.readable(quality, labels)})

    def on_readable(self, quality: str, labels: Labels, work: Callable[[Files], T]) -> T:
        """What `work` gives of the readable clips; those that stop it are entered as failed."""
        while True:
            files = self.readable(quality, labels)
            try:
                return work(files)
            except READING as error:
                bad = {error.path: str(error)} if isinstance(error, Unreadable) else {}
                bad = unreadable(files, self.spec, self.jobs) | bad
                if not bad:
                    raise
            for path in (p for p, _ in files if p in bad):
                self.journal.add(
                    {
                        "key": self._key(quality, path),
                        "kind": "failed",
                        "setting": quality,
                        "source": self.names[path],
                        "error": bad[path],
                    }
                )

    def _key(self, quality: str, path: str) -> str:
        return f"failed|{quality}|{self.names[path]}"
