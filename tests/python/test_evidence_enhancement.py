"""The experiment on enhancement: what its rows are made of, and a short run from end to end."""

from __future__ import annotations

import dataclasses
import itertools
import math
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

pytest.importorskip("torch")
import torch
from evidence import enhancement, enhancers, otani, record

from cvdecode.study.models import Model, torch_call

KINDS = ("recurrent", "window", "frame", "frame, 30 blocks", "vectors", "unaligned")


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CVDECODE_EVIDENCE_CACHE", str(tmp_path / "cache"))


def test_every_expected_order_names_rows_that_exist() -> None:
    streams = {stream for stream, *_ in enhancement.ROWS}
    rows = {f"{stream} {name}" for stream, name, *_ in enhancement.ROWS + enhancement.LATER}
    rows |= {f"{stream} compressed" for stream in streams}
    known = {section: rows | {"original"} for section in enhancement.SECTIONS}
    known["psnr"] |= {f"{stream} gain" for stream in streams}
    known["lost"] = {
        f"{kind}: {what}"
        for kind in ("spatial", "temporal")
        for what in ("original to x265 CRF 45", "x265 CRF 45 to recurrent")
    }
    declared = record.expected("enhancement")
    assert set(declared) == set(enhancement.SECTIONS)
    for section, orders in declared.items():
        for better, worse, why in orders["orders"]:
            assert {better, worse} <= known[section], section
            assert better != worse
            assert why
        for one, other, margin, why in orders.get("equivalent", []):
            assert {one, other} <= known[section], section
            assert f"a margin of {margin} dB" in why  # the table does not print it elsewhere


def data(count: int = 2, frames: int = 5, size: int = 40) -> enhancers.Clips:
    original = torch.rand(count, frames, 1, size, size)
    flow = torch.rand(count, frames, 2, size, size) / 8
    return enhancers.Clips(original, torch.rand_like(original), flow, 0.0)


@pytest.mark.parametrize("kind", KINDS)
def test_networks_start_as_the_identity(kind: str) -> None:
    given = data()
    model = enhancers.network(kind, enhancement.QUICK)
    assert torch.equal(model(*enhancers.seen(kind, given)), given.compressed)


def test_networks_are_equal_in_what_the_table_says() -> None:
    given = data(1, 3, 32)
    parameters, work = {}, {}
    for kind in KINDS:
        model = enhancers.network(kind, enhancement.FULL)
        parameters[kind] = sum(p.numel() for p in model.parameters())
        counted: list[int] = []
        for layer in model.modules():
            if isinstance(layer, torch.nn.Conv2d):
                layer.register_forward_hook(
                    lambda conv, _, out, counted=counted: counted.append(
                        conv.weight[0].numel() * out.numel()
                    )
                )
        with torch.no_grad():
            model(*enhancers.seen(kind, given))
        work[kind] = sum(counted) / (3 * 32 * 32)
    equal = [parameters[k] for k in ("recurrent", "window", "frame, 30 blocks")]
    assert all(139e3 < n < 142e3 for n in equal)
    assert round(parameters["frame"], -3) == 28_000
    assert round(parameters["vectors"], -3) == round(parameters["unaligned"], -3) == 19_000
    # The recurrent network estimates no flow for its first frame, so 2 of 3 here.
    fnet = 3 / 2 * (work["recurrent"] - work["vectors"])
    assert round(work["vectors"] + fnet, -2) == 28_700
    assert work["frame"] == pytest.approx(work["vectors"] + fnet, rel=0.04)
    assert round(work["window"], -2) == 38_600


def test_every_network_sees_the_same_draws() -> None:
    settings = {**enhancement.QUICK, "frames": 5, "batch": 3}
    given = data()
    drawn = {k: list(enhancers.patches(k, given, settings, 0, 5, 4)) for k in KINDS}
    for kind, found in drawn.items():
        for (original, compressed, *flow), wanted in zip(found, drawn["frame"], strict=True):
            assert original.shape == (3, 4, 1, 32, 32)
            assert torch.equal(original, wanted[0])
            assert torch.equal(compressed, wanted[1])
            assert len(flow) == (kind in ("vectors", "unaligned"))
            if flow:
                assert bool(flow[0].any()) == (kind == "vectors")
    firsts = {float(step[0][0, 0, 0, 0, 0]) for step in drawn["frame"]}
    assert len(firsts) == 4  # another window each step
    other = next(enhancers.patches("frame", given, settings, 1, 5, 1))
    assert not torch.equal(other[0], drawn["frame"][0][0])


def test_scores_by_hand() -> None:
    original = torch.full((2, 9, 1, 112, 112), 0.5)
    shown = original.clone()
    shown[1] += 0.1
    assert enhancement.psnr(shown, original) == pytest.approx([99, 20], abs=1e-3)

    @dataclasses.dataclass
    class Net:
        seen: Any = None

        def scores(self, batch: Any) -> Any:
            self.seen = batch
            return np.log(np.array([[1, 3, 4], [6, 1, 1]], np.float32)) + 5

    net = Net()
    # Levels of 8-bit luma: 16 is black, 235 white.
    shown = torch.tensor([16.0, 235.0]).view(2, 1, 1, 1, 1).expand(2, 9, 1, 112, 112) / 255
    right, logs = enhancement.log_p(net, "spatial", shown, np.array([1, 0]))
    assert right.tolist() == [0, 1]
    assert logs == pytest.approx([math.log(3 / 8), math.log(6 / 8)])
    assert net.seen.shape == (2, 3, 3, 112, 112)
    for clip, value in zip(net.seen, (0, 1), strict=True):
        np.testing.assert_allclose(clip, (value - 0.46) / 0.12, rtol=1e-5)


def test_true_motion_explains_the_clips() -> None:
    """Noise of 3 levels in both pictures leaves 35.6 dB; against the wrong way there is less."""
    settings = {**enhancement.QUICK, "frames": 4}
    pictures = enhancers.drawn("test", enhancers.key(settings), 3)
    clips = torch.from_numpy(pictures[:, :, None]).float() / 255
    along = enhancement.consistency(clips, settings, 3)
    against = enhancement.consistency(clips.flip(1), settings, 3)
    assert along.shape == (8,)
    assert (along > against + 1).all()
    assert 32 < along.mean() < 35.7  # edges of 4x4 blocks at the disk's rim take their part


def test_enhancement_in_short(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Broken off after any row, a run goes on to the same rows."""
    wanted = [enhancement.ROWS[k] for k in (1, 2, 9)]
    assert [row[1] for row in wanted] == ["perceptual", "GAN", "vectors"]
    monkeypatch.setattr(enhancement, "ROWS", tuple(wanted))
    monkeypatch.setattr(enhancement, "LATER", ())
    # Trained ones are the matter of the experiment that they are from.
    torch.manual_seed(0)
    nets = {k: Model(k, otani.SPECS[k], torch_call(otani.Grey(k))) for k in otani.SPECS}
    monkeypatch.setattr(otani, "recogniser", lambda kind, *_: nets[kind])
    settings = enhancement.QUICK
    path = tmp_path / "e.jsonl"
    book = record.Book(path, "enhancement", settings)
    told: list[str] = []

    def run() -> None:
        enhancement.run(book, settings, progress=lambda text, **_: told.append(text))

    run()
    names = {
        "original", "x265 CRF 45 compressed", "x265 CRF 45 perceptual", "x265 CRF 45 GAN",
        "x264 CRF 35 compressed", "x264 CRF 35 vectors",
    }  # fmt: skip
    scores = enhancement.all_scores(book)
    assert all(set(scores[s]) == names for s in enhancement.SECTIONS if s != "lost")
    assert len(told) == len(names)
    assert (scores["psnr"]["original"] == 99).all()
    # Steps were made.
    found = [scores["psnr"][f"x265 CRF 45 {r}"] for r in ("compressed", "perceptual")]
    assert not np.array_equal(*found)

    text = enhancement.report(book)
    assert "| x265 CRF 45 perceptual | " in text
    assert "x265 CRF 45 perceptual > x265 CRF 45 recurrent |  |  | **not run**" in text
    assert "x265 CRF 45 perceptual > x265 CRF 45 GAN | +0.0" in text
    table_lines = [line for line in text.splitlines() if line.startswith("| x26")]
    assert len(table_lines) > 40
    assert all(line.endswith(f"| {enhancement.DATA} |") for line in table_lines)

    enhancement.draw_figure(book, tmp_path / "e.png")
    assert not (tmp_path / "e_crops.png").exists()  # rows are missing
    for crf, row in itertools.product((35, 45), enhancement.CROPS):
        picture = enhancement.pictures(0) / f"x265 CRF {crf} {row}.npy"
        if not picture.exists():
            np.save(picture, np.zeros((8, 112, 112), np.uint8))
    enhancement.draw_crops(book, tmp_path / "e_crops.png")
    assert (tmp_path / "e.png").stat().st_size > 10_000
    assert (tmp_path / "e_crops.png").stat().st_size > 10_000

    before = {(r["row"], r["seed"]): r["scores"] for r in book.rows}
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join(lines[:-9]))  # in the middle of a row
    book = record.Book(path, "enhancement", settings)
    assert len(book.rows) == len(before) - 9
    run()
    again = {(r["row"], r["seed"]): r["scores"] for r in book.rows}
    assert again == before
    assert len(book.rows) == len(before)
    told.clear()
    run()
    assert not told
