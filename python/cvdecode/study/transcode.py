"""Transcodes clips with every setting of a grid: in parallel, taken up again after a kill.

In the output folder lie one folder a setting, ``manifest.jsonl`` with one line a finished clip,
``failed.jsonl`` with what could not be made, and ``grid.json``. An output is known by its address:
source content, settings, ffmpeg's version. It is made under a temporary name, verified, renamed
and only then entered, so a kill at any moment costs the clips in work and nothing else, and the
finished folder has the same bytes as if there had been no kill.
"""

from __future__ import annotations

import dataclasses
import errno
import json
import os
import shutil
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from pathlib import Path

import cvdecode

from . import jpeg, together
from .errors import DiskFull, EncodeFailed, StudyError
from .ffmpeg import full_disk, keep_every_frame, local, run
from .grid import Setting, input_filters
from .records import Journal, Record, dump, provenance, write_atomic
from .sources import load_sources, one_line, sha256_of
from .units import Item, Unit, plan, probes_first
from .verify import verify

NO_ROOM = 64 << 10
"""Free bytes below which a failed output is taken for a full disk."""


@dataclasses.dataclass(frozen=True)
class Estimate:
    """What is left to do, told before most of it is done."""

    items: int
    done_before: int
    bytes: int
    """Of the outputs that are still to be written."""
    free: int


@dataclasses.dataclass(frozen=True)
class Summary:
    """What a run of transcode() left behind."""

    records: list[Record]
    """The lines of the manifest: every clip with every setting that could be made."""
    failed: list[Record]
    """source, setting (None: the source itself cannot be read) and error."""
    done_before: int


def transcode(
    inputs: Sequence[tuple[str, str]],
    settings: Sequence[Setting],
    out: str | os.PathLike[str],
    *,
    jobs: int = 1,
    join: bool = False,
    command: str = "",
    on_estimate: Callable[[Estimate], None] = lambda estimate: None,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
) -> Summary:
    """Encodes every clip with every setting, verifies and enters it; goes on where it stopped.

    Args:
        inputs: (path, name) of each clip; the name, which may hold folders, is the output's.
        settings: the cells of the grid.
        out: output folder; made if missing.
        jobs: clips in work at a time, each with one encoder thread.
        join: also with CRF and bitrate, send small H.264 clips of equal size through one encoder
            process, although its rate control then carries over from clip to clip. With constant
            QP this is always done, because it changes nothing.
        command: what the user typed, for ``grid.json``.
        on_estimate: called once, when the first clips have told the size of the rest.
        on_progress: called with (items finished, items in all).

    Raises:
        DiskFull: before the work where the estimate exceeds the free space, or in its midst where
            the disk ran full. Finished outputs are kept; the same call goes on from them.
        StudyError: another run works in this folder, or no setting is given.
    """
    if not settings or len({s.name for s in settings}) != len(settings):
        raise StudyError("a grid needs at least one setting, and each of them once")
    folder = Path(out)
    folder.mkdir(parents=True, exist_ok=True)
    with only_one(folder):
        for left in folder.rglob(".*.part*"):
            left.unlink(missing_ok=True)
        grid = {
            "settings": [s.record() | {"name": s.name} for s in settings],
            **provenance(command),
        }
        work = _Run(folder, jobs, on_progress)
        try:
            write_atomic(folder / "grid.json", json.dumps(grid, indent=1, sort_keys=True) + "\n")
            return work.all(inputs, settings, join, on_estimate)
        except DiskFull:
            raise
        except OSError as error:
            if full_disk(error):
                raise work.full() from error
            raise


class _Run:
    """One call of transcode()."""

    def __init__(self, folder: Path, jobs: int, on_progress: Callable[[int, int], None]) -> None:
        self.folder = folder
        self.jobs = max(1, jobs)
        self.journal = Journal(folder / "manifest.jsonl")
        self.failed: list[Record] = []
        self.on_progress = on_progress
        self.done = 0
        self.total = 0
        self.stop = threading.Event()
        self.lock = threading.Lock()

    def full(self) -> DiskFull:
        return DiskFull(
            f"the disk that holds {self.folder} is full: {len(self.journal.records)} outputs "
            f"are finished and kept; free space and run the same command again"
        )

    def all(
        self,
        inputs: Sequence[tuple[str, str]],
        settings: Sequence[Setting],
        join: bool,
        on_estimate: Callable[[Estimate], None],
    ) -> Summary:
        sources, self.failed = load_sources(inputs, self.jobs)
        units = plan(sources, settings, join)
        wanted = [item for unit in units for item in unit]
        # A joint stream is made again as a whole: its bytes depend on all its clips.
        units = [unit for unit in units if not all(map(self.is_done, unit))]
        self.total = len(wanted)
        self.done = done_before = self.total - sum(map(len, units))
        first, rest = probes_first(units)
        self.run(first)
        need, free = self.estimate(rest), shutil.disk_usage(self.folder).free
        on_estimate(Estimate(sum(map(len, rest)), done_before, need, free))
        if need > free:
            raise DiskFull(
                f"about {_size(need)} are needed in {self.folder}, {_size(free)} are free. What is "
                "finished is kept: free space, or choose fewer clips or settings, and run it again"
            )
        self.run(rest)
        keys = [item.key for item in wanted if item.key in self.journal.records]
        records = self.journal.finish(
            keys, lambda r: r["path"], lambda r: (r["setting"], r["source"])
        )
        self.failed.sort(key=lambda r: (r["setting"] or "", r["source"]))
        write_atomic(self.folder / "failed.jsonl", "".join(dump(r) + "\n" for r in self.failed))
        return Summary(records, self.failed, done_before)

    def is_done(self, item: Item) -> bool:
        record = self.journal.records.get(item.key)
        if record is None or record["path"] != item.path:
            return False
        try:
            return (self.folder / item.path).stat().st_size == int(record["bytes"])
        except OSError:
            return False

    def estimate(self, units: Sequence[Unit]) -> int:
        """Bytes that these units will take, by what the setting took per sample so far."""
        spent: dict[str, tuple[int, int]] = {}
        for record in self.journal.records.values():
            size, samples = spent.get(record["setting"], (0, 0))
            more = record["width"] * record["height"] * record["frames"]
            spent[record["setting"]] = (size + record["bytes"], samples + more)
        total = 0.0
        for item in (item for unit in units for item in unit):
            size, samples = spent.get(item.setting.name, (0, 0))
            width, height = item.size
            total += size / samples * width * height * item.source.frames if samples else 0
        return int(total)

    def run(self, units: Sequence[Unit]) -> None:
        """Makes these units; a failed one is noted, a full disk ends the work."""
        full: DiskFull | None = None
        with ThreadPoolExecutor(self.jobs) as pool:
            waiting: set[Future[None]] = set()
            try:
                for unit in units:
                    if len(waiting) >= 2 * self.jobs:
                        full = full or self.collect(waiting)
                    if full:
                        break
                    waiting.add(pool.submit(self.make, unit))
                while waiting:
                    full = self.collect(waiting) or full
            except BaseException:
                self.stop.set()
                for future in waiting:
                    future.cancel()
                raise
        if full:
            raise self.full() from full

    def collect(self, waiting: set[Future[None]]) -> DiskFull | None:
        finished, _ = wait(waiting, return_when=FIRST_COMPLETED)
        waiting -= finished
        full = None
        for future in finished:
            try:
                future.result()
            except DiskFull as error:
                full = error
                self.stop.set()
        return full

    def make(self, unit: Unit) -> None:
        """Makes one unit and enters its items; a clip that fails is noted and the study goes on."""
        if self.stop.is_set():
            return
        try:
            if len(unit) > 1:
                try:
                    self.make_joint(unit)
                    return
                except EncodeFailed:
                    if unit[0].setting.rate != "qp":
                        raise
                    # One bad clip spoils the stream of all: each by itself tells which.
            for item in unit:
                try:
                    self.make_one(item)
                except DiskFull:
                    raise
                except cvdecode.Error as error:
                    self.note((item,), error)
        except DiskFull:
            raise
        except OSError as error:
            if full_disk(error):
                raise DiskFull(error.errno, str(error)) from error
            self.note(unit, error)
        except cvdecode.Error as error:
            self.note(unit, error)

    def note(self, unit: Unit, error: Exception) -> None:
        if shutil.disk_usage(self.folder).free < NO_ROOM:  # a short file may be all that shows
            raise DiskFull(errno.ENOSPC, "no space left") from error
        for item in unit:
            record = {"source": item.source.name, "setting": item.setting.name}
            self.failed.append(record | {"error": one_line(error)})
        self.advance(len(unit))

    def advance(self, items: int) -> None:
        with self.lock:
            self.done += items
            self.on_progress(self.done, self.total)

    def make_one(self, item: Item) -> None:
        final = self.folder / item.path
        final.parent.mkdir(parents=True, exist_ok=True)
        part = _part(final)
        try:
            encode(item, part)
            self.enter(item, part, final)
        finally:
            part.unlink(missing_ok=True)

    def make_joint(self, unit: Unit) -> None:
        setting = unit[0].setting
        stream = _part(self.folder / f"{setting.name}-{unit[0].key[:12]}.264")
        pieces = together.encode([item.source for item in unit], setting, stream)
        for item, piece in zip(unit, pieces, strict=True):
            final = self.folder / item.path
            final.parent.mkdir(parents=True, exist_ok=True)
            part = _part(final)
            try:
                with open(part, "wb") as file:
                    file.write(piece)
                self.enter(item, part, final)
            finally:
                part.unlink(missing_ok=True)

    def enter(self, item: Item, part: Path, final: Path) -> None:
        width, height = item.size
        found = verify(part, item.setting, item.source.frames, width, height)
        record = {
            "key": item.key,
            "setting": item.setting.name,
            **item.setting.record(),
            "source": item.source.name,
            "source_sha256": item.source.sha256,
            "path": item.path,
            "sha256": sha256_of(part),
            "seconds": float(item.source.frames / item.source.frame_rate),
            **found,
        }
        with open(part, "rb+") as file:
            os.fsync(file.fileno())
        os.replace(part, final)
        self.journal.add(record)
        self.advance(1)


def encode(item: Item, out: Path) -> None:
    """Makes one output, unverified.

    Raises:
        EncodeFailed, DiskFull: with ffmpeg's words.
    """
    source, setting = item.source, item.setting
    if setting.codec == "jpeg":
        jpeg.encode_clip(source.path, source.width, source.height, setting.quality, out)
        return
    # A .264 belongs to a joint stream that could not be made.
    container = ["-f", "h264"] if out.suffix == ".264" else ["-movflags", "+faststart", "-f", "mp4"]
    run(
        [
            *["-threads", "1", "-i", local(source.path), "-map", "0:v:0", "-map_metadata", "-1"],
            *["-vf", input_filters(source.width, source.height, setting.short_side)],
            *[*keep_every_frame(), *setting.encoder(), *container, local(out)],
        ],
        source.path,
    )


def _part(final: Path) -> Path:
    """A temporary name beside the final one, another in every process."""
    return final.with_name(f".{final.stem}.{os.getpid()}.part{final.suffix}")


def _size(count: float) -> str:
    unit = 0
    while count >= 1024 and unit < 4:
        count, unit = count / 1024, unit + 1
    return f"{count:.1f} {('B', 'KiB', 'MiB', 'GiB', 'TiB')[unit]}"


class only_one:
    """A lock on the folder, which the system lets go when the process ends, however it ends."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / ".lock"

    def __enter__(self) -> None:
        import fcntl

        self._file = open(self._path, "w")
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            self._file.close()
            raise StudyError(
                f"{self._path.parent}: another run works in this folder; wait for it or stop it"
            ) from None

    def __exit__(self, *error: object) -> None:
        self._file.close()
