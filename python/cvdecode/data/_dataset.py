"""CompressedVideoDataset: labelled videos as samples of a network, straight from the bitstream."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Literal, cast

import numpy as np
import torch
from torch.utils.data import Dataset, IterableDataset, get_worker_info

import cvdecode
from cvdecode.data._collate import Skipped
from cvdecode.data._gops import GopTable
from cvdecode.data._heap import keep_heap
from cvdecode.data._index import DatasetIndex
from cvdecode.data._read import Memory, What, is_path, read_sample, sample_of
from cvdecode.data._report import Failure, Report, ReportFile
from cvdecode.data.jitter import HlsJitter
from cvdecode.data.lists import Entry, folder_per_class
from cvdecode.data.samplers import TSN, Sampler
from cvdecode.data.views import FullFrame, View

OnError = Literal["raise", "skip", "zeros"]
CAUGHT = (cvdecode.Error, OSError)
"""What a bad file may raise; anything else is a mistake in the program and always raised."""


class CompressedVideoDataset(Dataset[dict[str, Any]]):
    """One sample a video: the drawn frames' modalities as tensors, read where it is asked for.

    A sample depends on (seed, epoch, index) alone: any number of workers, started by fork or
    spawn, gives the same. Only what the sampler drew is parsed (``meta["slices_parsed"]``).

    Args:
        videos: a folder with a folder of videos per class, or a list of Entry (see
            cvdecode.data.lists), of (path, label) or of paths.
        sampler: which frames; see cvdecode.data.samplers.
        modalities: some of "iframe" (pixels of the GOPs' intra pictures), "mv", "residual", "qp",
            "mb_type", "bits", "mask" (of the accumulation), "rgb" (pixels of the drawn frames).
        view: crop, size, flips, the same for all modalities; see cvdecode.data.views. None: whole
            pictures.
        encoding: of "mv" and "residual": a name for both, or a dict; see cvdecode.data.encodings.
            None: "coviar_u8"; with motion="coded" "int16" for "mv".
        root: folder that relative paths of a list start from.
        virtual_gop: n: GOPs of n frames whatever the encoder did, each traced back to its first
            frame. None: the video's own GOPs.
        motion: what "mv" is: "accumulated" to the GOP's intra picture (or the virtual GOP's first),
            "step": to the true reference only, or "coded": the vectors and references themselves,
            both lists ("mv" with "ref").
        residual: "coded": what the stream adds to its predictions, Y, Cb, Cr (chroma repeated to
            luma size); "recon_diff": the difference of decoded pictures, which CoViAR and all
            published weights call residual. Both along the same trace as "mv" (one step unless
            motion="accumulated").
        mode: "exact", or "coviar" for pytorch-coviar's map integer for integer (I and P only).
        mv_grid: 4 traces blocks instead of samples: much faster; "mv" has a quarter of the size.
        per_frame: with motion="step": motion divided by the distance of the reference in frames.
        scale_values: scale vectors with the resize; CoViAR does not.
        jitter: random shifts of the colours of "iframe" and "rgb"; see HlsJitter. None: none.
        on_error: a bad file raises ("raise"), is left out of the batch by collate ("skip"), or
            gives zeros with ``valid`` False ("zeros"; needs a view of fixed size). See report().
        seed: of all randomness.
        index_file: where to keep an index of all videos; made or completed at once, in parallel.
            It tells frame counts and GOPs without opening files (``video(i)``), finds bad files
            beforehand, and lets videos open without a scan (some 300 bytes a frame, in a folder
            beside it).
        index_workers: threads that make the index; None: one a core.
        progress: show a progress bar while the index is made.
        transform: applied to each sample (a dict) at the end.

    An item is a dict. N... is the shape of the sampler's frames, M... that of its iframes; h, w the
    view's size; with a view of K > 1 crops tensors of modalities begin with an axis of K:

    - "iframe" uint8 (M..., 3, h, w) RGB; "rgb" uint8 (N..., 3, h, w)
    - "mv" (N..., 2 (x, y), h, w), here minus source; with mv_grid=4 (N..., 2, ceil(h/4),
      ceil(w/4)); motion="coded": int16 (N..., 2 lists, 2, ceil(h/4), ceil(w/4)), quarter samples
      from block to source, and "ref" int16 (N..., 2 lists, ceil(h/4), ceil(w/4))
    - "residual" (N..., 3, h, w)
    - "qp" int16, "mb_type" uint8, "bits" uint16: (N..., ceil(h/16), ceil(w/16)): the macroblock
      under the centre of each 16x16 cell of the view
    - "mask" uint8 (N..., h, w), how the trace ended (cvdecode.accumulate)
    - "label" int64 () (or (L,) for several), "index" int64 (), "valid" bool ()
    - "frames" int64 (N...), "iframes" int64 (M...): presentation indices, -1 padding
    - "lost" bool (N...): frames that damage took, wholly or in part
    - "meta": dict: path, num_frames, num_gops, width, height, slices_parsed, pictures_decoded,
      damage (frame -> what), epoch

    Raises:
        ListError: no video in the folder.
        ValueError: arguments that exclude each other.
        cvdecode.Error: of an item with on_error="raise": a video that cannot be read.
    """

    def __init__(
        self,
        videos: str | os.PathLike[str] | Sequence[Any],
        sampler: Sampler | None = None,
        modalities: Sequence[str] = ("iframe", "mv", "residual"),
        view: View | None = None,
        encoding: str | Mapping[str, str] | None = None,
        *,
        root: str | os.PathLike[str] | None = None,
        virtual_gop: int | None = None,
        motion: Literal["accumulated", "step", "coded"] = "accumulated",
        residual: Literal["coded", "recon_diff"] = "coded",
        mode: Literal["exact", "coviar"] = "exact",
        mv_grid: int = 1,
        per_frame: bool = False,
        scale_values: bool = False,
        jitter: HlsJitter | None = None,
        on_error: OnError = "raise",
        seed: int = 0,
        index_file: str | os.PathLike[str] | None = None,
        index_workers: int | None = None,
        progress: bool = True,
        transform: Callable[[dict[str, Any]], dict[str, Any]] | None = None,
    ) -> None:
        if on_error not in ("raise", "skip", "zeros"):
            raise ValueError(f'on_error is "raise", "skip" or "zeros", not {on_error!r}')
        if virtual_gop is not None and virtual_gop < 1:
            raise ValueError(f"virtual_gop is a number of frames, 1 or more, not {virtual_gop!r}")
        self.view: View = FullFrame() if view is None else view
        if on_error == "zeros" and self.view.size is None:
            raise ValueError('on_error="zeros" needs a view of fixed size, to know that of zeros')
        self.entries, self.root = _entries(videos, root)
        self.sampler: Sampler = TSN() if sampler is None else sampler
        names = {"mv": "int16" if motion == "coded" else "coviar_u8", "residual": "coviar_u8"}
        if encoding is not None:
            names |= dict.fromkeys(names, encoding) if isinstance(encoding, str) else encoding
        if len(names) > 2:
            raise ValueError(f'encoding is of "mv" and "residual", not of {sorted(names)}')
        self.what = What(
            modalities=tuple(modalities),
            motion=motion,
            residual=residual,
            mode=mode,
            mv_encoding=names["mv"],
            residual_encoding=names["residual"],
            virtual_gop=virtual_gop,
            mv_grid=mv_grid,
            per_frame=per_frame,
            scale_values=scale_values,
            jitter=jitter,
        )
        self.on_error: OnError = on_error
        self.seed = seed
        self.transform = transform
        # In shared memory, so that workers that stay alive see a new epoch.
        self._epoch = torch.zeros((), dtype=torch.int64)
        self._epoch.share_memory_()  # type: ignore[no-untyped-call]
        self._report = ReportFile()
        self._memory = Memory()
        self.index: DatasetIndex | None = None
        if index_file is not None:
            self.index = DatasetIndex(index_file)
            workers = index_workers or os.cpu_count() or 1
            self.index.complete([e.path for e in self.entries], self.root, workers, progress)

    def __len__(self) -> int:
        """Number of videos."""
        return len(self.entries)

    @property
    def labels(self) -> list[int | tuple[int, ...]]:
        """The label of every video, without opening any."""
        return [entry.label for entry in self.entries]

    @property
    def epoch(self) -> int:
        """The epoch that samples are drawn for."""
        return int(self._epoch)

    def set_epoch(self, epoch: int) -> None:
        """Draw other frames and views from now on, also in workers that stay alive.

        Call it before the loader is iterated, as with DistributedSampler.set_epoch.
        """
        self._epoch.fill_(epoch)

    def path(self, index: int) -> str:
        """Where a video lies."""
        return os.path.join(self.root, self.entries[index].path)

    def gops(self, index: int) -> GopTable:
        """The GOP table of a video, from the index file if there is one."""
        if self.index is not None:
            known = self.index.videos[self.entries[index].path]
            if known.error:
                name, _, message = known.error.partition(": ")  # the message names the file
                raise getattr(cvdecode, name, cvdecode.CorruptStream)(message)
            return known.table(self.what.virtual_gop)
        from cvdecode.data._read import gop_table

        with cvdecode.VideoReader(self.path(index), planes=()) as video:
            return gop_table(video, self.what.virtual_gop)

    def __getitem__(self, index: int) -> dict[str, Any]:
        """A sample; see the class."""
        if not -len(self) <= index < len(self):
            raise IndexError(f"item {index} is out of range: there are {len(self)} videos")
        index %= len(self)
        epoch = self.epoch
        path = self.path(index)
        try:
            sample = self._read(index, path, epoch)
            sample["valid"] = _scalar(True, np.bool_)
        except CAUGHT as error:
            if self.on_error == "raise":
                raise
            self._fail(index, epoch, type(error).__name__, str(error))
            if self.on_error == "skip":
                return Skipped(index=index, path=path)
            sample = self._zeros(path)
            sample["valid"] = _scalar(False, np.bool_)
        sample["label"] = _scalar(self.entries[index].label, np.int64)
        sample["index"] = _scalar(index, np.int64)
        sample["meta"]["epoch"] = epoch
        for frame, what in sample["meta"]["damage"].items():
            self._fail(index, epoch, "damage", f"frame {frame}: {what}")
        return sample if self.transform is None else self.transform(sample)

    def sample_of(
        self, video: cvdecode.VideoReader, sampler: Sampler, seconds: dict[str, float] | None = None
    ) -> dict[str, Any]:
        """The tensors of an open video, drawn by another sampler: for predicting GOP by GOP.

        Args:
            video: opened with ``planes=dataset.what.planes``.
            sampler: which frames.
            seconds: gets what "read" (parsing, and decoding of pixels) and "accumulate" took.
        """
        rng = np.random.default_rng(self.seed)
        took = {} if seconds is None else seconds
        path = video.metadata.source
        return sample_of(video, path, self.what, sampler, self.view, rng, took)

    def _read(self, index: int, path: str, epoch: int) -> dict[str, Any]:
        keep_heap()
        rng = np.random.default_rng((self.seed, epoch, index))
        reader_file = None
        if self.index is not None:
            reader_file = self.index.reader_file(self.entries[index].path)
            if not os.path.exists(reader_file):  # taken away: the folder may be read-only by now
                reader_file = None
        return read_sample(path, self.what, self.sampler, self.view, rng, reader_file, self._memory)

    def _fail(self, index: int, epoch: int, error: str, message: str) -> None:
        self._report.add(Failure(self.path(index), index, epoch, error, message))

    def _zeros(self, path: str) -> dict[str, Any]:
        """A sample of the shapes that the sampler gives for a long video, all zeros."""
        what, view = self.what, self.view
        draw = self.sampler(GopTable.virtual(12, 300), np.random.default_rng(0))
        height, width = cast("tuple[int, int]", view.size)
        crops = (view.num_crops,) if view.num_crops > 1 else ()
        n, m = (*crops, *draw.frames.shape), (*crops, *draw.iframes.shape)
        mv_block = 4 if what.motion == "coded" or what.mv_grid == 4 else 1
        fine = (-(-height // mv_block), -(-width // mv_block))
        coarse = (-(-height // 16), -(-width // 16))
        kinds = {"coviar_u8": torch.uint8, "dmc_u8": torch.uint8, "int16": torch.int16}
        mv, residual = (
            kinds.get(name, torch.float32) for name in (what.mv_encoding, what.residual_encoding)
        )
        lists = (2,) if what.motion == "coded" else ()
        shapes: dict[str, tuple[tuple[int, ...], torch.dtype]] = {
            "iframe": ((*m, 3, height, width), torch.uint8),
            "rgb": ((*n, 3, height, width), torch.uint8),
            "mv": ((*n, *lists, 2, *fine), mv),
            "residual": ((*n, 3, height, width), residual),
            "qp": ((*n, *coarse), torch.int16),
            "mb_type": ((*n, *coarse), torch.uint8),
            "bits": ((*n, *coarse), torch.uint16),
            "mask": ((*n, *(fine if what.mv_grid == 4 else (height, width))), torch.uint8),
            "ref": ((*n, 2, *fine), torch.int16),
        }
        names = [name for name in what.modalities if name != "mv" or what.motion != "coded"]
        names += ["mv", "ref"] if "mv" in what.planes else []
        sample: dict[str, Any] = {
            name: torch.zeros(shapes[name][0], dtype=shapes[name][1]) for name in names
        }
        sample["frames"] = torch.full(draw.frames.shape, -1)
        sample["iframes"] = torch.full(draw.iframes.shape, -1)
        sample["lost"] = torch.ones(draw.frames.shape, dtype=torch.bool)
        sample["meta"] = dict.fromkeys(
            ("num_frames", "num_gops", "width", "height", "slices_parsed", "pictures_decoded"), 0
        )
        sample["meta"].update(path=path, damage={})
        return sample

    def report(self) -> Report:
        """Everything that went wrong up to now, in all processes of this machine.

        Bad files with the error that each raised, and damaged frames (error "damage"); empty
        where all is well. Bad files that the index found are there before the first epoch.
        """
        found = list(self._report.read())
        if self.index is not None:
            for index, entry in enumerate(self.entries):
                error = self.index.videos[entry.path].error
                if error:
                    name, _, message = error.partition(": ")
                    found.append(Failure(self.path(index), index, -1, name, message))
        return Report(sorted(found, key=lambda f: (f.epoch, f.item)))


class CompressedVideoStream(IterableDataset[dict[str, Any]]):
    """The same samples as an iterable, for loaders that want one: shuffled, sharded, no gaps.

    Each worker of each rank takes every k-th sample of the epoch's order. Skipped samples are left
    out before batches are made, so batches stay full; with ranks of torch.distributed that fail on
    different files, the number of batches may then differ.

    Args:
        dataset: what to read.
        shuffle: a new order every epoch, from (seed, epoch), else the order of the list.
        rank: of this process; and
        world_size: how many there are; 0 and 1 unless torch.distributed is initialised.
    """

    def __init__(
        self,
        dataset: CompressedVideoDataset,
        *,
        shuffle: bool = True,
        rank: int | None = None,
        world_size: int | None = None,
    ) -> None:
        self.dataset = dataset
        self.shuffle = shuffle
        ready = torch.distributed.is_available() and torch.distributed.is_initialized()
        self.rank = rank if rank is not None else torch.distributed.get_rank() if ready else 0
        self.world_size = (
            world_size
            if world_size is not None
            else torch.distributed.get_world_size()
            if ready
            else 1
        )

    def set_epoch(self, epoch: int) -> None:
        """As CompressedVideoDataset.set_epoch."""
        self.dataset.set_epoch(epoch)

    def __iter__(self) -> Iterator[dict[str, Any]]:
        """The samples of this worker."""
        order = np.arange(len(self.dataset))
        if self.shuffle:
            np.random.default_rng((self.dataset.seed, self.dataset.epoch)).shuffle(order)
        worker = get_worker_info()
        number, count = (worker.id, worker.num_workers) if worker else (0, 1)
        for index in order[self.rank :: self.world_size][number::count].tolist():
            sample = self.dataset[index]
            if not isinstance(sample, Skipped):
                yield sample


def _scalar(value: Any, dtype: Any) -> torch.Tensor:
    """A small tensor, through NumPy: torch.tensor() takes ten times as long."""
    return torch.from_numpy(np.array(value, dtype))


def _entries(videos: Any, root: str | os.PathLike[str] | None) -> tuple[list[Entry], str]:
    """The entries, and the folder that their paths start from."""
    if is_path(videos):
        if root is not None:
            raise ValueError("root goes with a list of videos, not with a folder")
        return folder_per_class(videos), os.path.abspath(videos)
    entries = []
    for item in videos:
        if is_path(item):
            entries.append(Entry(os.fspath(item), -1))
        else:
            path, label = item
            entries.append(Entry(os.fspath(path), label))
    if not entries:
        raise ValueError("the list of videos is empty")
    return entries, os.path.abspath(root) if root is not None else ""
