"""The command line on real files, as a user types it."""

from __future__ import annotations

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
from safetensors import safe_open

import cvdecode
from cvdecode.cli import main
from cvdecode.cli._terminal import print_table


def encode(path: Path, *options: str, frames: int = 20, size: str = "160x96") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    subprocess.run(
        ["ffmpeg", "-v", "error", "-y", "-f", "lavfi", "-i", f"testsrc2=size={size}:rate=25",
         "-frames:v", str(frames), *options, str(path)],
        check=True,
    )  # fmt: skip
    return path


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("videos")
    encode(root / "a.mp4", "-c:v", "libx264", "-g", "10", "-bf", "2")
    encode(root / "deep" / "b.avi", "-c:v", "mpeg4", "-g", "8")
    (root / "broken.mp4").write_text("this is no video")
    return root


def entries(out: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (out / "manifest.jsonl").read_text().splitlines()]


def test_probe_json(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["probe", "--json", str(folder / "a.mp4")]) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["num_frames"] == 20
    assert said["codec"] == "h264"
    assert said["frame_types"].count("I") == 2


def test_probe_table(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["probe", str(folder / "deep" / "b.avi")]) == 0
    out = capsys.readouterr().out
    assert "mpeg4" in out
    assert "160x96" in out


def test_extract_folder(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    code = main(["extract", str(folder), "-o", str(out), "--planes", "mv,ref,qp,rgb"])
    captured = capsys.readouterr()
    assert code == 1, "broken.mp4 must set the exit code"
    assert "broken.mp4" in captured.out
    assert not list(out.rglob("*.part"))
    with cvdecode.VideoReader(folder / "a.mp4", planes=("mv", "ref", "qp"), rgb="all") as video:
        clip = video[:]
    with safe_open(out / "a.safetensors", framework="numpy") as file:
        for plane in ("mv", "ref", "qp", "rgb"):
            np.testing.assert_array_equal(file.get_tensor(plane), getattr(clip, plane))
        metadata = file.metadata()
    assert metadata["plane_version"] == str(cvdecode.PLANE_VERSION)
    assert set(json.loads(metadata["units"])) == {"mv", "ref", "qp", "rgb"}
    assert (out / "deep" / "b.safetensors").exists()
    assert {Path(e["source"]).name for e in entries(out)} == {"a.mp4", "b.avi"}


def test_second_run_does_nothing_until_a_source_changes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = encode(tmp_path / "v.mp4", "-c:v", "libx264")
    out = tmp_path / "out"
    arguments = ["extract", str(source), "-o", str(out), "--json"]
    assert main(arguments) == 0
    assert len(json.loads(capsys.readouterr().out)["written"]) == 1
    made = (out / "v.safetensors").stat().st_mtime_ns
    assert main(arguments) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["written"] == []
    assert said["done_before"] == 1
    assert (out / "v.safetensors").stat().st_mtime_ns == made
    encode(source, "-c:v", "libx264", frames=9)
    assert main(arguments) == 0
    assert json.loads(capsys.readouterr().out)["written"][0]["frames"] == 9


def test_killed_run_is_taken_up(tmp_path: Path) -> None:
    for i in range(6):
        encode(tmp_path / "in" / f"{i}.mp4", "-c:v", "libx264", frames=60, size="320x192")
    out = tmp_path / "out"
    extract = [sys.executable, "-m", "cvdecode.cli", "extract", str(tmp_path / "in")]
    command = [*extract, "-o", str(out), "--planes", "mv,ref,qp,rgb"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and process.poll() is None:
        if out.exists() and len(list(out.glob("*.safetensors"))) >= 2:
            process.send_signal(signal.SIGKILL)
            break
        time.sleep(0.002)
    process.wait()
    before = {p.name: p.stat().st_mtime_ns for p in out.glob("*.safetensors")}
    listed = {name for e in entries(out) for name in e["outputs"]}
    subprocess.run(command, check=True, capture_output=True)
    assert sorted(p.name for p in out.glob("*.safetensors")) == [
        f"{i}.safetensors" for i in range(6)
    ]
    assert not list(out.glob("*.part")), "a half-written file was left behind"
    for name in listed:
        assert (out / name).stat().st_mtime_ns == before[name], f"{name} was made again"
    for i in range(6):
        with safe_open(out / f"{i}.safetensors", framework="numpy") as file:
            assert file.get_tensor("mv").shape[0] == 60


@pytest.mark.parametrize("form", ["npy", "npz"])
def test_other_formats(folder: Path, tmp_path: Path, form: str) -> None:
    assert main(["extract", str(folder / "a.mp4"), "-o", str(tmp_path), "--format", form]) == 0
    with cvdecode.VideoReader(folder / "a.mp4", planes=("mv",)) as video:
        expected = video[:].mv
    if form == "npy":
        found = np.load(tmp_path / "a" / "mv.npy")
    else:
        with np.load(tmp_path / "a.npz") as file:
            found = file["mv"]
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("grid", [8, 16])
def test_grid_keeps_the_block_at_the_cells_centre(folder: Path, tmp_path: Path, grid: int) -> None:
    main(["extract", str(folder / "a.mp4"), "-o", str(tmp_path), "--grid", str(grid)])
    with cvdecode.VideoReader(folder / "a.mp4", planes=("mv", "ref")) as video:
        clip = video[:]
    with safe_open(tmp_path / "a.safetensors", framework="numpy") as file:
        mv, ref = file.get_tensor("mv"), file.get_tensor("ref")
    assert mv.shape[-2:] == (96 // grid, 160 // grid)
    for y in range(96 // grid):
        for x in range(160 // grid):
            row, col = (y * grid + grid // 2) // 4, (x * grid + grid // 2) // 4
            np.testing.assert_array_equal(mv[..., y, x], clip.mv[..., row, col])
            np.testing.assert_array_equal(ref[..., y, x], clip.ref[..., row, col])


def test_full_disk_is_told_before_any_work(
    folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    import shutil

    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=10))
    assert main(["extract", str(folder / "a.mp4"), "-o", str(tmp_path / "o")]) == 1
    assert "--grid 16" in capsys.readouterr().err
    assert not list((tmp_path / "o").glob("*.safetensors"))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["probe", "nowhere.mp4"], "nowhere.mp4"),
        (["extract", "nowhere.mp4"], "nowhere.mp4"),
        (["view", "nowhere.mp4"], "nowhere.mp4"),
        (["accumulate", "nowhere.mp4"], "nowhere.mp4"),
    ],
)
def test_missing_input(
    arguments: list[str],
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(arguments) == 1
    assert message in capsys.readouterr().err


def test_unknown_plane_names_the_choices(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code = main(["extract", str(folder / "a.mp4"), "-o", str(tmp_path), "--planes", "mv,depth"])
    assert code == 1
    assert "residual_y" in capsys.readouterr().out


def test_accumulate_writes_displacement(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "acc.safetensors"
    source = folder / "deep" / "b.avi"
    assert main(["accumulate", str(source), "-o", str(out), "--grid", "4"]) == 0
    with cvdecode.VideoReader(source, planes=("mv", "ref")) as video:
        expected = cvdecode.accumulate(video, list(range(len(video))), grid=4).displacement
    with safe_open(out, framework="numpy") as file:
        np.testing.assert_array_equal(file.get_tensor("displacement"), expected)
        assert file.get_tensor("frame").tolist() == list(range(len(expected)))


def test_view_png(folder: Path, tmp_path: Path) -> None:
    from PIL import Image

    out = tmp_path / "png"
    assert (
        main(["view", str(folder / "a.mp4"), "--png", str(out), "--frames", "2", "--start", "3"])
        == 0
    )
    assert sorted(p.name for p in out.iterdir()) == ["000003.png", "000004.png"]
    with Image.open(out / "000003.png") as image:
        assert image.width % 160 == 0
        assert len(image.getcolors(1 << 24) or []) > 50


def test_module_and_script_agree() -> None:
    environment = {**os.environ, "COLUMNS": "200"}
    module = subprocess.run(
        [sys.executable, "-m", "cvdecode.cli", "--help"],
        check=True, capture_output=True, text=True, env=environment,
    )  # fmt: skip
    for command in ("probe", "extract", "accumulate", "view", "bench"):
        assert command in module.stdout


@pytest.mark.parametrize(("typed", "library", "extra"), [
    (["enhance", "a.mp4", "b.mp4", "--checkpoint", "c.pt"], "torch", "study"),
    (["grad-cam", "net", "a.mp4", "-o", "a.png"], "torch", "study"),
    (["predict", "a.mp4", "--checkpoint", "c.pt"], "torch", "train"),
])  # fmt: skip
def test_a_missing_library_is_named(typed: list[str], library: str, extra: str) -> None:
    code = f"import sys; sys.modules[{library!r}] = None; from cvdecode.cli import main"
    code += f"; sys.exit(main({typed!r}))"
    root = str(Path(cvdecode.__file__).parents[1])
    done = subprocess.run(
        [sys.executable, "-c", code], env={**os.environ, "PYTHONPATH": root}, capture_output=True,
        text=True,
    )  # fmt: skip
    assert done.returncode == 1
    assert (
        done.stderr == f"cvdecode {typed[0]}: it needs {library}: pip install 'cvdecode[{extra}]'\n"
    )


def test_tables_lose_nothing_in_a_narrow_terminal(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    print_table("", ("name", "value"), [("x" * 60, "y"), ("z" * 60, "y")])
    said = capsys.readouterr().out
    assert (said.count("x"), said.count("z")) == (60, 60)
