"""What went wrong in a data set, gathered from every worker process.

Workers cannot hand objects back past a DataLoader, and batches that were fetched ahead may never be
seen. So each failure is one line appended to a temporary file that all processes of this machine
share by name: appends of one short write do not mix. It works alike after fork and spawn.
"""

from __future__ import annotations

import contextlib
import json
import os
import tempfile
import weakref
from typing import Any, NamedTuple


class Failure(NamedTuple):
    """One thing that went wrong with one sample."""

    path: str
    item: int
    """Which item of the data set."""
    epoch: int
    error: str
    """Name of the exception; "damage" for frames that were read but are damaged."""
    message: str


class Report(tuple[Failure, ...]):
    """The failures, ordered by (epoch, item), each once; prints as one line a file."""

    __slots__ = ()

    @property
    def paths(self) -> list[str]:
        """The files concerned, sorted, each once."""
        return sorted({failure.path for failure in self})

    def __str__(self) -> str:
        if not self:
            return "no failures"
        first = {failure.path: failure for failure in reversed(self)}
        return "\n".join(f"{f.path}: {f.error}: {f.message}" for _, f in sorted(first.items()))


class ReportFile:
    """The shared file; made at the first need of its name, removed with its maker."""

    def __init__(self) -> None:
        descriptor, self.path = tempfile.mkstemp(prefix="cvdecode-report-", suffix=".jsonl")
        os.close(descriptor)
        self._finalizer = weakref.finalize(self, _remove, self.path, os.getpid())

    def __getstate__(self) -> dict[str, Any]:
        return {"path": self.path}  # a copy in another process does not remove it

    def add(self, failure: Failure) -> None:
        """Append; from any process."""
        line = json.dumps(failure._replace(message=failure.message[:2000])) + "\n"
        descriptor = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        try:
            os.write(descriptor, line.encode())
        finally:
            os.close(descriptor)

    def read(self) -> Report:
        """Everything up to now."""
        try:
            with open(self.path, encoding="utf-8") as file:
                found = {Failure(*json.loads(line)) for line in file}
        except FileNotFoundError:
            return Report()
        return Report(sorted(found, key=lambda f: (f.epoch, f.item, f.error, f.message)))

    def clear(self) -> None:
        """Forget everything."""
        with contextlib.suppress(FileNotFoundError):
            os.truncate(self.path, 0)


def _remove(path: str, pid: int) -> None:
    if os.getpid() == pid:  # not in a fork
        with contextlib.suppress(OSError):
            os.unlink(path)
