"""List formats, on files written here, and the errors that name a line."""

from __future__ import annotations

from pathlib import Path

import pytest

import cvdecode
from cvdecode.data import Entry, ListError, lists


def write(path: Path, *lines: str) -> Path:
    path.write_text("\n".join(lines) + "\n")
    return path


def test_coviar(tmp_path: Path) -> None:
    file = write(tmp_path / "l.txt", "brush/a.avi brush 0", "", "cart/b.avi\tcart  1")
    assert lists.coviar(file) == [Entry("brush/a.mp4", 0), Entry("cart/b.mp4", 1)]
    assert lists.coviar(file, suffix="")[0].path == "brush/a.avi"
    write(file, "brush/a.avi brush 0", "cart/b.avi cart")
    with pytest.raises(ListError, match=r"l\.txt:2: three columns"):
        lists.coviar(file)
    write(file, "brush/a.avi brush x")
    with pytest.raises(ListError, match=r"l\.txt:1: the label is 'x'"):
        lists.coviar(file)
    with pytest.raises(cvdecode.Error, match="no such list"):
        lists.coviar(tmp_path / "none.txt")
    with pytest.raises(ListError, match="names no video"):
        lists.coviar(write(file, ""))


def test_ucf101(tmp_path: Path) -> None:
    classes = write(tmp_path / "classInd.txt", "1 Archery", "2 HandstandPushups")
    train = write(tmp_path / "train.txt", "Archery/v_1.avi 1", "HandStandPushups/v_2.avi 2")
    expected = [Entry("Archery/v_1.avi", 0), Entry("HandStandPushups/v_2.avi", 1)]
    assert lists.ucf101(train) == expected
    assert lists.ucf101(train, classes) == expected
    test = write(tmp_path / "test.txt", "HandstandPushups/v_9.avi", "Archery/v_8.avi")
    assert [e.label for e in lists.ucf101(test, classes)] == [1, 0]
    assert lists.ucf101(test, classes, suffix=".mp4")[0].path == "HandstandPushups/v_9.mp4"
    with pytest.raises(ListError, match=r"test\.txt:1: .*classInd"):
        lists.ucf101(test)
    with pytest.raises(ListError, match=r"train\.txt:1: label 2, but Archery is class 1"):
        lists.ucf101(write(train, "Archery/v_1.avi 2"), classes)
    with pytest.raises(ListError, match="no class 'Juggling'"):
        lists.ucf101(write(train, "Juggling/v_1.avi 1"), classes)
    with pytest.raises(ListError, match="labels start at 1"):
        lists.ucf101(write(train, "Archery/v_1.avi 0"))


def test_hmdb51(tmp_path: Path) -> None:
    write(tmp_path / "wave_test_split1.txt", "w1.avi 1", "w2.avi 2", "w3.avi 0")
    write(tmp_path / "brush_hair_test_split1.txt", "b1.avi 2", "b2.avi 1")
    write(tmp_path / "wave_test_split2.txt", "w1.avi 2")
    assert lists.hmdb51(tmp_path) == [Entry("brush_hair/b2.avi", 0), Entry("wave/w1.avi", 1)]
    assert lists.hmdb51(tmp_path, 1, "test", suffix=".mp4") == [
        Entry("brush_hair/b1.mp4", 0), Entry("wave/w2.mp4", 1),
    ]  # fmt: skip
    with pytest.raises(ListError, match=r"_test_split3\.txt"):
        lists.hmdb51(tmp_path, 3)
    write(tmp_path / "wave_test_split1.txt", "w1.avi 7")
    with pytest.raises(ListError, match=r"wave_test_split1\.txt:1"):
        lists.hmdb51(tmp_path)


def test_kinetics(tmp_path: Path) -> None:
    head = "label,youtube_id,time_start,time_end,split"
    rows = ("zumba,abc,12,22,train", '"air, drumming",x-y,0,10,train')
    file = write(tmp_path / "k.csv", head, *rows)
    assert lists.kinetics(file) == [
        Entry("zumba/abc_000012_000022.mp4", 1), Entry("air, drumming/x-y_000000_000010.mp4", 0),
    ]  # fmt: skip
    assert lists.kinetics(file, classes=["zumba", "air, drumming"])[0].label == 0
    assert lists.kinetics(file, pattern="{split}/{id}.mkv")[0].path == "train/abc.mkv"
    with pytest.raises(ListError, match=r"k\.csv:3: class 'air, drumming'"):
        lists.kinetics(file, classes=["zumba"])
    test = write(tmp_path / "t.csv", "youtube_id,time_start,time_end,split", "q,1,11,test")
    assert lists.kinetics(test, pattern="{id}.mp4") == [Entry("q.mp4", -1)]
    # Without a label there is no folder, and no path from the root of the disk.
    assert lists.kinetics(test) == [Entry("q_000001_000011.mp4", -1)]
    # A spreadsheet's byte order mark is no part of the first column's name.
    file.write_text("\ufeff" + "\n".join([head, *rows]), encoding="utf-8")
    assert [entry.label for entry in lists.kinetics(file)] == [1, 0]
    with pytest.raises(ListError, match="no column 'youtube_id'"):
        lists.kinetics(write(file, "label,id", "a,b"))
    with pytest.raises(ListError, match=r"k\.csv:2: 2 fields"):
        lists.kinetics(write(file, head, "a,b"))
    with pytest.raises(ListError, match=r"k\.csv:2: time_start"):
        lists.kinetics(write(file, head, "a,b,x,2,train"))


def test_mmaction2(tmp_path: Path) -> None:
    file = write(tmp_path / "m.txt", "some/path.mp4 3", "other.mp4 0")
    assert lists.mmaction2(file) == [Entry("some/path.mp4", 3), Entry("other.mp4", 0)]
    several = write(tmp_path / "n.txt", "with space.mp4,1,4", "b.mp4,0")
    assert lists.mmaction2(several, multi_label=True, delimiter=",") == [
        Entry("with space.mp4", (1, 4)), Entry("b.mp4", (0,)),
    ]  # fmt: skip
    with pytest.raises(ListError, match=r"n\.txt:1: a path and one label"):
        lists.mmaction2(several, delimiter=",")


def test_something_something(tmp_path: Path) -> None:
    labels = write(tmp_path / "labels.json", '{"Pushing something": "1", "Holding something": "0"}')
    file = write(
        tmp_path / "train.json",
        '[{"id": "7", "label": "pushing cup", "template": "Pushing [something]"}, {"id": "9"}]',
    )
    assert lists.something_something(file, labels) == [Entry("7.webm", 1), Entry("9.webm", -1)]
    file.write_text("\ufeff" + file.read_text(), encoding="utf-8")
    assert len(lists.something_something(file, labels)) == 2
    write(file, '[{"id": "7", "template": "Eating [something]"}]')
    with pytest.raises(ListError, match=r"entry 0.*Eating something"):
        lists.something_something(file, labels)
    with pytest.raises(ListError, match="no JSON"):
        lists.something_something(write(file, "["), labels)
    with pytest.raises(ListError, match="a list is wanted"):
        lists.something_something(labels, labels)


def test_folder_per_class(tmp_path: Path) -> None:
    for name in ("b/2.mp4", "a/x/1.MKV", "b/notes.txt", "empty/readme.md"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"")
    assert lists.folder_per_class(tmp_path) == [Entry("a/x/1.MKV", 0), Entry("b/2.mp4", 1)]
    assert lists.folder_per_class(tmp_path / "b") == [Entry("2.mp4", -1)]
    with pytest.raises(ListError, match="no video"):
        lists.folder_per_class(tmp_path / "empty")
