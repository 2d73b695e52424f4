"""Transcoding grids: what is made is what was asked for, whatever happens on the way."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import cvdecode
from cvdecode.cli import main
from cvdecode.study import together
from cvdecode.study.errors import DiskFull, EncodeFailed, StudyError
from cvdecode.study.grid import Setting, grid, input_filters, target_size
from cvdecode.study.records import Journal, read_lines
from cvdecode.study.sources import load_sources
from cvdecode.study.transcode import Estimate, Summary, _Run, transcode

Inputs = list[tuple[str, str]]


def make_clip(path: Path, *, size: str = "96x64", frames: int = 8, seed: int = 1) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    subprocess.run(
        ["ffmpeg", "-v", "error", "-y", "-f", "lavfi", "-i",
         f"testsrc2=size={size}:rate=25,noise=alls=12:allf=t:all_seed={seed}", "-frames:v",
         str(frames), "-c:v", "libx264", "-threads", "1", "-crf", "10", "-bf", "0", str(path)],
        check=True,
    )  # fmt: skip
    return path


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Inputs:
    root = tmp_path_factory.mktemp("sources")
    return [
        (str(make_clip(root / f"c{n}.mp4", seed=n, frames=8 + 3 * n)), f"deep/c{n}")
        for n in range(3)
    ]


def tree(folder: Path) -> dict[str, str]:
    """Digest of every file below the folder."""
    return {
        str(p.relative_to(folder)): hashlib.sha256(p.read_bytes()).hexdigest()
        for p in sorted(folder.rglob("*"))
        if p.is_file()
    }


# The grid itself


def test_names_and_wrong_settings() -> None:
    assert [s.name for s in grid("h264", "crf", [20, 30], [1, 12])] == [
        "h264-crf20-g1-medium",
        "h264-crf20-g12-medium",
        "h264-crf30-g1-medium",
        "h264-crf30-g12-medium",
    ]
    several = grid("hevc", "bitrate", [90], [5], presets=["fast", "slow"], bframes=[0, 3])
    assert [s.name for s in several] == [
        "hevc-bitrate90-g5-fast-b0",
        "hevc-bitrate90-g5-fast-b3",
        "hevc-bitrate90-g5-slow-b0",
        "hevc-bitrate90-g5-slow-b3",
    ]
    assert [s.name for s in grid("jpeg", "quality", [9], [1, 5], presets=["fast", "slow"])] == [
        "jpeg-quality9"
    ]
    assert Setting("jpeg", "strength", 70).name == "jpeg-strength70"
    assert [Setting("jpeg", "strength", s).quality for s in (0, 30, 99, 100)] == [100, 70, 1, 1]
    for wrong in (("jpeg", "crf", 3), ("h264", "crf", 52), ("h264", "strength", 3)):
        with pytest.raises(ValueError, match=r"choose|outside"):
            Setting(*wrong)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("size", "to"),
    [
        ((340, 256), (340, 256)),  # shorter than 360: left alone
        ((480, 360), (480, 360)),  # the rule says longer, not as long
        ((1280, 720), (640, 360)),
        ((720, 1280), (360, 640)),
        ((854, 480), (640, 360)),  # 640.5 -> the nearest even number
        ((641, 361), (640, 360)),  # 639.2
        ((341, 255), (340, 254)),
    ],
)
def test_resize_rule(size: tuple[int, int], to: tuple[int, int]) -> None:
    assert target_size(*size, 360) == to
    assert ("scale" in input_filters(*size, 360)) == (min(size) > 360)


def test_address_depends_on_content_setting_and_ffmpeg() -> None:
    base = Setting("h264", "crf", 20)
    keys = {
        base.key("a", "5.1"),
        base.key("b", "5.1"),
        base.key("a", "6.0"),
        Setting("h264", "crf", 21).key("a", "5.1"),
        Setting("h264", "crf", 20, 5).key("a", "5.1"),
        Setting("h264", "crf", 20, bframes=0).key("a", "5.1"),
    }
    assert len(keys) == 6
    assert base.key("a", "5.1") in keys


# Making outputs


def test_every_codec_is_verified(inputs: Inputs, tmp_path: Path) -> None:
    settings = [
        *grid("h264", "crf", [50], [1, 5]),
        *grid("h264", "bitrate", [100]),
        *grid("hevc", "crf", [40]),
        *grid("hevc", "qp", [33], presets=["ultrafast"]),
        *grid("jpeg", "strength", [90]),
    ]
    told: list[Estimate] = []
    summary = transcode(inputs, settings, tmp_path, jobs=2, on_estimate=told.append)
    assert not summary.failed
    assert len(summary.records) == 18
    assert len(told) == 1
    by = {(r["setting"], r["source"]): r for r in summary.records}
    assert set(by["h264-crf50-g1-medium", "deep/c1"]["frame_types"]) == {"I"}
    assert by["h264-crf50-g5-medium", "deep/c2"]["frame_types"].count("I") == 3  # 14 frames
    for record in summary.records:
        path = tmp_path / record["path"]
        assert record["bytes"] == path.stat().st_size
        assert record["video_bytes"] <= record["bytes"]
        probed = subprocess.run(
            ["ffprobe", "-v", "error", "-count_frames", "-show_entries",
             "stream=width,height,nb_read_frames:packet=size", "-of", "json", str(path)],
            check=True, capture_output=True,
        )  # fmt: skip
        said = json.loads(probed.stdout)
        assert int(said["streams"][0]["nb_read_frames"]) == record["frames"]
        assert said["streams"][0]["width"] == record["width"] == 96
        assert record["video_bytes"] == sum(int(p["size"]) for p in said["packets"])


def test_constant_qp_is_the_coded_qp(inputs: Inputs, tmp_path: Path) -> None:
    summary = transcode(inputs, grid("h264", "qp", [17, 44], [6], bframes=[2]), tmp_path)
    assert not summary.failed
    for record in summary.records:
        assert record["mean_qp"] == record["value"]
        assert set(record["mean_qp_by_type"].values()) == {record["value"]}
        assert set(record["frame_types"]) == set("IPB")


def test_another_qp_fails_verification(
    inputs: Inputs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    right = Setting.encoder
    monkeypatch.setattr(
        Setting, "encoder", lambda self: [o.replace("ipratio=1:", "") for o in right(self)]
    )
    summary = transcode(inputs[:1], grid("h264", "qp", [30]), tmp_path)
    assert not summary.records
    assert "QP 30 was asked for, the stream has QP 27 to 30" in summary.failed[0]["error"]


def test_scaled_and_odd_sources(tmp_path: Path) -> None:
    wide = make_clip(tmp_path / "in" / "wide.mp4", size="200x112", frames=3)
    odd = tmp_path / "in" / "odd.mkv"
    subprocess.run(
        ["ffmpeg", "-v", "error", "-y", "-f", "lavfi", "-i", "testsrc2=size=75x53:rate=25",
         "-frames:v", "3", "-c:v", "ffv1", "-pix_fmt", "yuv444p", str(odd)],
        check=True,
    )  # fmt: skip
    both = [(str(wide), "wide"), (str(odd), "odd")]
    summary = transcode(both, grid("h264", "crf", [30], short_side=64), tmp_path / "out")
    assert [(r["width"], r["height"]) for r in summary.records] == [(74, 52), (114, 64)]


def test_odd_names(inputs: Inputs, tmp_path: Path) -> None:
    clips = []
    for n, name in enumerate(("a:b", "it's %03d", "-c [x]")):
        path = tmp_path / "s" / f"{name}.mp4"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(Path(inputs[n][0]).read_bytes())
        clips.append((str(path), f"d:e/{name}"))
    for settings in (grid("h264", "crf", [40]), grid("h264", "qp", [40])):
        summary = transcode(clips, settings, tmp_path / "out")
        assert not summary.failed
        assert len(summary.records) == 3
    assert summary.records[0]["path"].endswith(".264"), "made together"


def test_a_bad_clip_is_reported_and_the_study_goes_on(inputs: Inputs, tmp_path: Path) -> None:
    text = tmp_path / "text.mp4"
    text.write_text("no video")
    cut = tmp_path / "cut.mp4"
    make_clip(tmp_path / "whole.mkv", frames=20)
    cut.write_bytes((tmp_path / "whole.mkv").read_bytes()[:9000])  # its last frame is broken
    both = [*inputs, (str(text), "text"), (str(cut), "cut")]
    out = tmp_path / "out"
    for settings in (grid("h264", "crf", [40]), grid("h264", "qp", [40])):
        summary = transcode(both, settings, out)
        good = {r["source"] for r in summary.records}
        assert good >= {source for _, source in inputs}
        assert {"text", "cut"} - good == {f["source"] for f in summary.failed}
        assert {f["source"]: f["setting"] for f in summary.failed}["text"] is None
        written = [json.loads(line) for line in (out / "failed.jsonl").read_text().splitlines()]
        assert written == summary.failed
    assert main(["study", "transcode", str(tmp_path), str(tmp_path / "o2"), "--crf", "40"]) == 1


# Many clips through one process


def no_single(self: Any, item: Any) -> None:
    raise AssertionError(f"{item.path} was made by a process of its own")


@pytest.mark.parametrize("bframes", [0, None])
def test_joint_encoding_equals_separate_encoding(
    inputs: Inputs, tmp_path: Path, bframes: int | None
) -> None:
    sources, _ = load_sources(inputs)
    assert all(map(together.is_small, sources))
    settings = grid("h264", "qp", [35], [6], bframes=[bframes])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_Run, "make_one", no_single)
        joint = transcode(inputs, settings, tmp_path / "joint")
    assert all(r["path"].endswith(".264") for r in joint.records)
    for record, pair in zip(joint.records, inputs, strict=True):
        alone = transcode([pair], settings, tmp_path / "alone").records[0]
        assert alone["path"].endswith(".mp4")
        assert record["frame_types"] == alone["frame_types"]
        assert record["macroblock_bits"] == alone["macroblock_bits"]
        a = cvdecode.read(tmp_path / "joint" / record["path"], planes=("mv", "residual_y", "rgb"))
        b = cvdecode.read(tmp_path / "alone" / alone["path"], planes=("mv", "residual_y", "rgb"))
        assert np.array_equal(a.mv, b.mv)
        assert np.array_equal(a.residual_y, b.residual_y)
        assert np.array_equal(a.rgb, b.rgb)


def test_a_joint_stream_cut_short_is_made_again_alike(inputs: Inputs, tmp_path: Path) -> None:
    settings = grid("h264", "qp", [40])
    transcode(inputs, settings, tmp_path)
    before = tree(tmp_path)
    manifest = tmp_path / "manifest.jsonl"
    lines = manifest.read_bytes().splitlines(keepends=True)
    manifest.write_bytes(lines[0] + lines[2][:30])  # killed while the third was entered
    assert transcode(inputs, settings, tmp_path).done_before == 0, "all of a stream or none"
    assert tree(tmp_path) == before


def test_joining_with_crf_is_asked_for(inputs: Inputs, tmp_path: Path) -> None:
    settings = grid("h264", "crf", [30])
    assert transcode(inputs, settings, tmp_path / "a").records[0]["path"].endswith(".mp4")
    joint = transcode(inputs, settings, tmp_path / "b", join=True)
    assert [r["path"][-4:] for r in joint.records] == [".264"] * 3
    assert [r["frame_types"][0] for r in joint.records] == ["I"] * 3


def test_split_notices_a_missing_key_frame() -> None:
    idr, p = b"\0\0\0\1\x65\x88\x80", b"\0\0\1\x41\x9a\x02"
    sps = b"\0\0\0\1\x67\x42"
    stream = sps + idr + p + sps + idr + p + p
    assert together.split_h264(stream, [2, 3]) == [sps + idr + p, sps + idr + p + p]
    with pytest.raises(EncodeFailed, match="IDR"):
        together.split_h264(stream, [3, 2])
    for wrong in ([2, 4], [2], [5, 1]):
        with pytest.raises(EncodeFailed):
            together.split_h264(stream, wrong)


def test_key_frame_times_hit_the_frame() -> None:
    from fractions import Fraction

    times = together.key_frame_times([0, 7, 1000], Fraction(30000, 1001))
    first = [next(n for n in range(2000) if n * 1001 / 30000 >= float(t)) for t in times.split(",")]
    assert first == [0, 7, 1000]


# Interrupted


def study(inputs: Path, out: Path) -> list[str]:
    return [
        *[sys.executable, "-m", "cvdecode.cli", "study", "transcode", str(inputs), str(out)],
        *["--crf", "20,40", "--gop", "4", "--jobs", "2"],
    ]


def child_environment() -> dict[str, str]:
    return os.environ | {"PYTHONPATH": str(Path(cvdecode.__file__).parents[1])}


def test_killed_and_resumed_gives_the_same_bytes(inputs: Inputs, tmp_path: Path) -> None:
    listing = tmp_path / "clips.txt"
    listing.write_text("".join(f"{path}\n" for path, _ in inputs))
    environment = child_environment()
    out, calm = tmp_path / "a" / "out", tmp_path / "b" / "out"
    for folder in (out, calm):
        folder.parent.mkdir()
    kills = 0
    seed = np.random.default_rng().integers(1 << 30)  # "at a random moment"
    rng = np.random.default_rng(seed)
    for _ in range(2):
        run = subprocess.Popen(
            study(listing, Path("out")),
            env=environment,
            cwd=out.parent,
            stderr=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
        )
        manifest = out / "manifest.jsonl"
        lines = len(manifest.read_bytes().splitlines()) if manifest.exists() else 0
        goal = lines + int(rng.integers(0, 3))
        while run.poll() is None and (
            not manifest.exists() or len(manifest.read_bytes().splitlines()) < goal
        ):
            time.sleep(0.005)
        time.sleep(float(rng.uniform(0, 0.05)))
        if run.poll() is None:
            run.send_signal(signal.SIGKILL)
            kills += 1
        run.wait()
    assert kills, f"seed {seed}: it was never killed in time"
    for folder in (out, calm):
        done = subprocess.run(
            study(listing, Path("out")), env=environment, cwd=folder.parent, capture_output=True
        )
        assert done.returncode == 0, done.stderr
    assert tree(out) == tree(calm), f"seed {seed}"
    assert len((out / "manifest.jsonl").read_text().splitlines()) == 6


def test_finished_outputs_are_not_made_again(inputs: Inputs, tmp_path: Path) -> None:
    settings = grid("h264", "crf", [30, 40])
    first = transcode(inputs, settings, tmp_path)
    stamps = {r["path"]: (tmp_path / r["path"]).stat().st_mtime_ns for r in first.records}
    (tmp_path / first.records[2]["path"]).unlink()
    again = transcode(inputs, settings, tmp_path)
    assert again.done_before == 5
    assert again.records == first.records
    kept = {p for p, stamp in stamps.items() if (tmp_path / p).stat().st_mtime_ns == stamp}
    assert kept == set(stamps) - {first.records[2]["path"]}


def test_another_grid_in_the_same_folder_is_added(inputs: Inputs, tmp_path: Path) -> None:
    first = transcode(inputs[:2], grid("jpeg", "quality", [20]), tmp_path).records
    second = transcode(inputs[:1], grid("jpeg", "quality", [60]), tmp_path)
    assert [r["setting"] for r in second.records] == ["jpeg-quality60"]
    lines = read_lines(tmp_path / "manifest.jsonl")
    assert lines == [*first, *second.records]
    # A changed clip takes the place of its former output.
    Path(tmp_path / "x.mp4").write_bytes(Path(inputs[2][0]).read_bytes())
    changed = [(str(tmp_path / "x.mp4"), inputs[0][1])]
    third = transcode(changed, grid("jpeg", "quality", [60]), tmp_path).records
    assert third[0]["key"] != second.records[0]["key"]
    assert read_lines(tmp_path / "manifest.jsonl") == [*first, *third]


def test_a_torn_line_costs_one_record(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "j.jsonl")
    journal.add({"key": "a", "n": 1})
    with open(tmp_path / "j.jsonl", "a") as file:
        file.write('{"key": "b", "n"')
    journal = Journal(tmp_path / "j.jsonl")
    journal.add({"key": "c", "n": 3})
    assert sorted(Journal(tmp_path / "j.jsonl").records) == ["a", "c"]


def test_two_runs_in_one_folder(inputs: Inputs, tmp_path: Path) -> None:
    def second(_: Estimate) -> None:
        with pytest.raises(StudyError, match="another run"):
            transcode(inputs, grid("h264", "crf", [30]), tmp_path)

    transcode(inputs[:1], grid("h264", "crf", [30]), tmp_path, on_estimate=second)


# A full disk


def test_too_little_room_is_told_beforehand(
    inputs: Inputs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from cvdecode.study import transcode as module
    from cvdecode.study import units

    monkeypatch.setattr(units, "PROBES", 1)
    used = module.shutil.disk_usage(tmp_path)
    monkeypatch.setattr(module.shutil, "disk_usage", lambda path: used._replace(free=5000))
    monkeypatch.setattr(module, "NO_ROOM", 0)
    with pytest.raises(DiskFull, match="are needed"):
        transcode(inputs, grid("h264", "crf", [0]), tmp_path)
    assert len(Journal(tmp_path / "manifest.jsonl").records) == 1


def test_a_full_disk_keeps_what_is_finished(inputs: Inputs, tmp_path: Path) -> None:
    """A file system of 192 KiB, mounted for one process and gone with it."""
    script = tmp_path / "run.sh"
    disk, kept = tmp_path / "disk", tmp_path / "kept"
    disk.mkdir()
    listing = tmp_path / "clips.txt"
    listing.write_text("".join(f"{path}\n" for path, _ in inputs))
    command = [
        *[sys.executable, "-m", "cvdecode.cli", "study", "transcode", str(listing), str(disk)],
        *["--crf", "0,50", "--gop", "1", "--jobs", "1"],
    ]
    script.write_text(
        f"mount -t tmpfs -o size=192k none {disk} || exit 77\n"
        + " ".join(f"'{c}'" for c in command)
        + f"; code=$?; cp -r {disk} {kept}; exit $code\n"
    )
    done = subprocess.run(
        ["unshare", "-rm", "sh", str(script)],
        env=child_environment(),
        capture_output=True,
        text=True,
    )
    if done.returncode == 77 or "unshare" in done.stderr:
        pytest.skip(f"no small file system can be mounted here: {done.stderr}")
    assert done.returncode == 1
    assert "free space" in done.stderr
    assert "is full" in done.stderr
    records = Journal(kept / "manifest.jsonl").records
    assert 0 < len(records) < 6
    for record in records.values():
        content = (kept / record["path"]).read_bytes()
        assert hashlib.sha256(content).hexdigest() == record["sha256"]
    assert not list(kept.rglob(".*.part*"))
    # With room, the rest is made and the finished ones stay.
    summary: Summary = transcode(
        [(path, Path(path).stem) for path, _ in inputs], grid("h264", "crf", [0, 50], [1]), kept
    )
    assert summary.done_before == len(records)
    assert len(summary.records) == 6


def test_command_line(inputs: Inputs, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["study", "transcode", inputs[0][0], str(tmp_path), "--codec", "jpeg", "--json"]
    assert main([*arguments, "--quality", "50,90"]) == 0
    captured = capsys.readouterr()
    said: dict[str, Any] = json.loads(captured.out)
    assert [c["setting"] for c in said["cells"]] == ["jpeg-quality50", "jpeg-quality90"]
    assert said["cells"][0]["bytes"] < said["cells"][1]["bytes"]
    assert "free" in captured.err
    several = ["--crf", "45", "--gop", "4", "--preset", "ultrafast,fast", "--bframes", "0,2"]
    typed = ["study", "transcode", inputs[0][0], str(tmp_path / "several"), "--json", *several]
    assert main(typed) == 0
    cells = json.loads(capsys.readouterr().out)["cells"]
    assert [c["setting"].split("-", 3)[3] for c in cells] == [
        *("fast-b0", "fast-b2", "ultrafast-b0", "ultrafast-b2")
    ]
    types = {
        r["setting"]: r["frame_types"] for r in read_lines(tmp_path / "several/manifest.jsonl")
    }
    assert ["B" in t for t in types.values()] == [False, True, False, True]
    assert main([*arguments, "--crf", "3"]) == 1
    assert "does not go with" in capsys.readouterr().err
