"""Lists of labelled videos in the formats that data sets come in.

Each function gives a list of Entry with paths as the list has them, relative to the folder of the
videos. A line that cannot be understood raises ListError with file and line.
"""

from __future__ import annotations

import csv
import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

import cvdecode

SUFFIXES = (".mp4", ".mkv", ".avi", ".mov", ".webm", ".mpg", ".ts", ".264", ".h264", ".m4v")
PathLike = str | os.PathLike[str]


class Entry(NamedTuple):
    """One video of a list."""

    path: str
    label: int | tuple[int, ...]
    """Class number from 0; a tuple where a video has several; -1 where the list has none."""


class ListError(cvdecode.Error, ValueError):
    """A list of videos that cannot be understood; names file and line."""


def _wrong(file: PathLike, line: int, why: str) -> NoReturn:
    raise ListError(f"{os.fspath(file)}:{line}: {why}")


def _lines(file: PathLike) -> Iterator[tuple[int, str]]:
    """(number from 1, text) of each line that is not empty."""
    try:
        text = Path(file).read_text(encoding="utf-8-sig")  # a spreadsheet's mark is no column name
    except FileNotFoundError:
        raise ListError(f"{os.fspath(file)}: no such list") from None
    except UnicodeDecodeError as error:
        raise ListError(f"{os.fspath(file)}: not a text file in UTF-8 ({error})") from None
    for number, line in enumerate(text.splitlines(), 1):
        if line.strip():
            yield number, line.strip()


def _some(entries: list[Entry], file: PathLike) -> list[Entry]:
    if not entries:
        raise ListError(f"{os.fspath(file)}: the list names no video")
    return entries


def _number(text: str, file: PathLike, line: int, least: int = 0) -> int:
    try:
        number = int(text)
    except ValueError:
        _wrong(file, line, f"the label is {text!r}, not a whole number")
    if number < least:
        _wrong(file, line, f"the label is {number}; labels start at {least}")
    return number


def coviar(file: PathLike, *, suffix: str = ".mp4") -> list[Entry]:
    """pytorch-coviar's lists: ``class/video.avi class label``, separated by white space.

    ``suffix`` takes the place of the listed one, as the original looks for the re-encoded .mp4;
    "" keeps the listed one.
    """
    entries = []
    for number, line in _lines(file):
        parts = line.split()
        if len(parts) != 3:
            _wrong(file, number, f"three columns (path, class, label) wanted, not {len(parts)}")
        path = str(Path(parts[0]).with_suffix(suffix)) if suffix else parts[0]
        entries.append(Entry(path, _number(parts[2], file, number)))
    return _some(entries, file)


def ucf101(file: PathLike, class_ind: PathLike | None = None, *, suffix: str = "") -> list[Entry]:
    """UCF-101's official splits: ``trainlist01.txt`` with labels, ``testlist01.txt`` without.

    Args:
        file: the list; lines ``Class/v_x.avi 1`` or ``Class/v_x.avi``.
        class_ind: ``classInd.txt`` (lines ``1 Class``), needed for lines without a label and
            checked against those with one.
        suffix: as in coviar().

    Labels are counted from 0. A class folder whose capitals alone differ from classInd
    (HandStandPushups, HandstandPushups) is taken as the same class.
    """
    classes: dict[str, int] = {}
    for number, line in _lines(class_ind) if class_ind is not None else ():
        parts = line.split()
        if len(parts) != 2:
            _wrong(class_ind or "", number, f"two columns (number, class) wanted: {line!r}")
        classes[parts[1].lower()] = _number(parts[0], class_ind or "", number, 1) - 1
    entries = []
    for number, line in _lines(file):
        parts = line.split()
        if len(parts) > 2:
            _wrong(file, number, f"a path and perhaps a label wanted: {line!r}")
        label = _number(parts[1], file, number, 1) - 1 if len(parts) == 2 else -1
        if label < 0 and class_ind is None:
            _wrong(file, number, "there is no label in this line: give class_ind=classInd.txt")
        if class_ind is not None:
            name = Path(parts[0]).parent.name
            known = classes.get(name.lower())
            if known is None:
                _wrong(file, number, f"{os.fspath(class_ind)} has no class {name!r}")
            if label >= 0 and label != known:
                _wrong(file, number, f"label {label + 1}, but {name} is class {known + 1}")
            label = known
        path = str(Path(parts[0]).with_suffix(suffix)) if suffix else parts[0]
        entries.append(Entry(path, label))
    return _some(entries, file)


def hmdb51(
    folder: PathLike, split: int = 1, subset: str = "train", *, suffix: str = ""
) -> list[Entry]:
    """HMDB-51's official splits: a folder of ``<class>_test_split<1-3>.txt``.

    Lines are ``video.avi 1`` (training), ``2`` (test) or ``0`` (neither). Classes are numbered in
    alphabetical order; paths are ``class/video.avi``.
    """
    wanted = {"train": 1, "test": 2}.get(subset)
    if wanted is None:
        raise ValueError(f'subset is "train" or "test", not {subset!r}')
    ending = f"_test_split{split}.txt"
    files = sorted(Path(folder).glob(f"*{ending}"))
    if not files:
        raise ListError(f"{os.fspath(folder)}: no file *{ending}")
    entries = []
    for label, file in enumerate(files):
        name = file.name.removesuffix(ending)
        for number, line in _lines(file):
            parts = line.split()
            if len(parts) != 2 or parts[1] not in ("0", "1", "2"):
                _wrong(file, number, f"a video and 0, 1 or 2 wanted: {line!r}")
            if int(parts[1]) == wanted:
                path = Path(name, parts[0])
                entries.append(Entry(str(path.with_suffix(suffix) if suffix else path), label))
    return _some(entries, folder)


def kinetics(
    file: PathLike,
    *,
    classes: list[str] | None = None,
    pattern: str = "{label}/{id}_{start}_{end}.mp4",
) -> list[Entry]:
    """Kinetics' CSV: a header with label, youtube_id, time_start, time_end and perhaps split.

    Args:
        file: the CSV. Without a label column (the test set) every label is -1, and videos lie in no
            folder of a class.
        classes: class names in the order of their numbers; the sorted names of this file if left
            out: take those of the training list for all of them.
        pattern: the name of a video: {label}, {id}, {start} and {end} (six digits), {split}.
    """
    rows = list(csv.reader(line for _, line in _lines(file)))
    head = [name.strip().lower() for name in rows[0]] if rows else []
    for name in ("youtube_id", "time_start", "time_end"):
        if name not in head:
            _wrong(file, 1, f"there is no column {name!r} in the header {head}")
    table: list[tuple[int, dict[str, str]]] = []
    for number, fields in enumerate(rows[1:], 2):
        if len(fields) != len(head):
            _wrong(file, number, f"{len(fields)} fields, but the header has {len(head)}")
        table.append((number, dict(zip(head, fields, strict=True))))
    if classes is None:
        classes = sorted({row["label"] for _, row in table}) if "label" in head else []
    places = {name: place for place, name in enumerate(classes)}
    entries = []
    for number, row in table:
        label = row.get("label", "")
        if "label" in head and label not in places:
            _wrong(file, number, f"class {label!r} is not among the {len(places)} given")
        try:
            start, end = int(float(row["time_start"])), int(float(row["time_end"]))
        except ValueError:
            _wrong(file, number, "time_start and time_end are seconds")
        path = pattern.format(
            label=label, id=row["youtube_id"], start=f"{start:06d}", end=f"{end:06d}",
            split=row.get("split", ""),
        )  # fmt: skip
        # No label, no folder; left as it is the path would start at the root of the disk.
        entries.append(Entry(path if label else path.lstrip("/"), places.get(label, -1)))
    return _some(entries, file)


def mmaction2(file: PathLike, *, multi_label: bool = False, delimiter: str = " ") -> list[Entry]:
    """mmaction2's VideoDataset: ``path label``; with ``multi_label`` ``path label label ...``."""
    entries = []
    for number, line in _lines(file):
        parts = [part for part in line.split(delimiter) if part]
        if multi_label and len(parts) >= 2:
            labels = tuple(_number(part, file, number) for part in parts[1:])
            entries.append(Entry(parts[0], labels))
        elif not multi_label and len(parts) == 2:
            entries.append(Entry(parts[0], _number(parts[1], file, number)))
        else:
            _wrong(file, number, f"a path and {'labels' if multi_label else 'one label'} wanted")
    return _some(entries, file)


def something_something(file: PathLike, labels: PathLike, *, suffix: str = ".webm") -> list[Entry]:
    """Something-Something's JSON: a list of {"id", "template", ...}, and the labels file.

    ``labels`` maps templates (without their square brackets) to numbers, given as strings. Paths
    are the ids with ``suffix``; entries without a template (the test set) get label -1.
    """
    numbers = _json(labels, dict)
    entries = []
    for place, item in enumerate(_json(file, list)):
        if not isinstance(item, dict) or "id" not in item:
            raise ListError(f"{os.fspath(file)}: entry {place} has no id")
        label = -1
        if "template" in item:
            template = str(item["template"]).replace("[", "").replace("]", "")
            if template not in numbers:
                raise ListError(
                    f"{os.fspath(file)}: entry {place}: {os.fspath(labels)} has no {template!r}"
                )
            label = int(numbers[template])
        entries.append(Entry(f"{item['id']}{suffix}", label))
    return _some(entries, file)


def _json(file: PathLike, kind: type) -> Any:
    try:
        value = json.loads(Path(file).read_text(encoding="utf-8-sig"))
    except FileNotFoundError:
        raise ListError(f"{os.fspath(file)}: no such list") from None
    except ValueError as error:
        raise ListError(f"{os.fspath(file)}: no JSON ({error})") from None
    if not isinstance(value, kind):
        raise ListError(f"{os.fspath(file)}: a {kind.__name__} is wanted at the top")
    return value


def folder_per_class(root: PathLike, *, suffixes: tuple[str, ...] = SUFFIXES) -> list[Entry]:
    """``root/class/.../video.mp4``: classes are the folders of ``root`` in alphabetical order.

    Videos that lie in ``root`` itself, where there is no folder of videos, get label -1.
    """
    base = Path(root)
    if not base.is_dir():
        raise ListError(f"{base}: no such folder")

    def videos(folder: Path, every: Callable[[str], Iterator[Path]]) -> list[str]:
        found = (path for path in every("*") if path.suffix.lower() in suffixes)
        return sorted(str(path.relative_to(base)) for path in found)

    names = [d for d in sorted(base.iterdir()) if d.is_dir() and videos(d, d.rglob)]
    entries = [Entry(path, k) for k, d in enumerate(names) for path in videos(d, d.rglob)]
    if not names:
        entries = [Entry(path, -1) for path in videos(base, base.glob)]
    if not entries:
        raise ListError(f"{base}: no video ({', '.join(suffixes)}) in this folder")
    return entries
