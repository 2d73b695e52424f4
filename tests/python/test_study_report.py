"""A study's page: every figure its records allow, every number in it, nothing from elsewhere."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest

from cvdecode.cli import main
from cvdecode.study import pictures
from cvdecode.study.errors import StudyError
from cvdecode.study.records import dump

pytest.importorskip("matplotlib")
from cvdecode.report import study_figures as figures
from cvdecode.report.study import write_study_page

CLASSES = 40


def cell(setting: str, top1: float, **more: Any) -> dict[str, Any]:
    return {
        "key": f"cell|{setting}",
        "kind": "cell",
        "setting": setting,
        "clips": 80,
        "failed": 0,
        "top1": top1,
        "top1_interval": [top1 - 0.05, top1 + 0.05],
        "top5": min(1.0, top1 + 0.1),
        "log_loss": 1 - top1,
        "bytes": 1000,
        "kbps": 100.0,
        "class_top1": {str(c): top1 - c / 200 for c in range(CLASSES)},
        **more,
    }


def coded(crf: int, gop: int, top1: float) -> dict[str, Any]:
    return cell(
        f"h264-crf{crf}-g{gop}-medium",
        top1,
        codec="h264",
        rate="crf",
        value=crf,
        gop=gop,
        preset="medium",
        bframes=None,
        mean_qp=crf + 1.5,
        class_mean_qp={str(c): crf for c in range(CLASSES)},
        class_bits_per_frame={str(c): 1234 + c for c in range(CLASSES)},
    )


@pytest.fixture
def records() -> list[dict[str, Any]]:
    grid = [coded(20, 1, 0.80), coded(20, 12, 0.81), coded(50, 1, 0.20), coded(50, 12, 0.41)]
    # top-1 = 81 - 200 (0.98 - SSIM) points: a slope of 2 points for 0.01 SSIM
    seen = [
        {
            "key": f"m{n}",
            "kind": "measures",
            "setting": c["setting"],
            "source": "a",
            "ssim": 0.98 - (0.81 - c["top1"]) / 2,
        }
        for n, c in enumerate(grid)
    ]
    cross = [
        {"key": f"x{a}{b}{s}", "kind": "cross", "trained_on": a, "tested_on": b, "seed": s,
         "top1": 0.5 + 0.1 * s + (a == b) * 0.25}
        for a in ("raw", "50") for b in ("raw", "50") for s in (0, 1)
    ]  # fmt: skip
    stills = [
        {"kind": "still", "variant": f"q{q}_f{f}", "qp": q, "frame": f, "psnr": 60 - q, "ssim": 0.9}
        for q in (10, 50)
        for f in (0, 2)
    ]
    head = {
        "key": "study",
        "kind": "study",
        "model": "net",
        "classes": [f"<b>{c}</b></script>" for c in range(CLASSES)],
        "command": "cvdecode study evaluate net",
        "seed": 3,
        "versions": {"cvdecode": "1.2.3"},
    }
    note = {"kind": "note", "text": "synthetic data"}
    shown = pictures.picture("Filters", pictures.filters(np.ones((4, 3, 5, 5))), "first layer")
    return [head, cell("original", 0.82), *grid, *seen, *cross, *stills, note, shown]


def write(path: Path, records: list[dict[str, Any]]) -> Path:
    path.write_text("".join(dump(r) + "\n" for r in records))
    return path


def test_page_shows_everything_and_is_self_contained(
    records: list[dict[str, Any]], tmp_path: Path
) -> None:
    source = write(tmp_path / "r.jsonl", records)
    timing = [{"clips": [[records[2]["setting"], "a"]] * 2, "seconds": 0.5}]
    write(tmp_path / "r.timing.jsonl", timing)
    assert main(["study", "report", str(tmp_path / "p.html"), str(source)]) == 0
    page = (tmp_path / "p.html").read_text()
    for title in (
        "Accuracy against CRF",
        "Accuracy against bitrate",
        "Log loss against bitrate",
        "Storage against CRF",
        "Loading time against CRF",
        "Accuracy against SSIM",
        "Class by class: h264-crf50-g1-medium",
        "Classes relative to the originals",
        "Classes that lose most",
        "Classes that lose least",
        "Trained on one, tested on another",
        "PSNR against QP",
        "Filters",
        "synthetic data",
        "cvdecode 1.2.3; seed 3",
    ):
        assert title in page, title
    assert "fitted slope: +2.00 points per 0.01 SSIM" in page
    for value in ("80.0", "55.0"):  # the matrix: mean over seeds of 0.75, 0.85 and 0.5, 0.6
        assert f">{value}<" in page
    assert not re.search(r"""(src|href)=["'](?!#|data:)""", page), "nothing is fetched"
    assert "<b>" not in page.split('id="records"')[0]
    inside = page.split('id="records">')[1].split("</script>")[0]
    again = [json.loads(line) for line in inside.strip().splitlines()]
    cells = [r | {"model": "net"} for r in records if r["kind"] == "cell"]
    assert [r for r in again if r["kind"] == "cell"] == cells
    assert {r["kind"] for r in again} >= {"cell", "measures", "cross", "still", "loading"}


def test_same_records_same_bytes(records: list[dict[str, Any]], tmp_path: Path) -> None:
    few = [r for r in records if r["kind"] in ("cross", "still")]
    source = write(tmp_path / "r.jsonl", few)
    first = write_study_page([source], tmp_path / "a.html").read_bytes()
    assert write_study_page([source], tmp_path / "b.html").read_bytes() == first


def test_lines_of_a_figure_are_the_records(records: list[dict[str, Any]]) -> None:
    lines = figures.series(figures.cells_of(records))
    assert {n: [c["value"] for c in cs] for n, cs in lines.items()} == {
        "GOP 1": [20, 50],
        "GOP 12": [20, 50],
    }
    text = figures.curves(
        figures.cells_of(records), lambda c: c["value"], lambda c: 100 * c["top1"], ("x", "y")
    )
    assert text is not None
    drawn = ElementTree.fromstring(text)
    words = {node.text for node in drawn.iter("{http://www.w3.org/2000/svg}text")}
    assert {"GOP 1", "GOP 12", "x", "y"} <= words


def test_two_models_on_one_page(records: list[dict[str, Any]], tmp_path: Path) -> None:
    """Neither their lines, nor their matrices, nor their classes are mixed."""
    other = [r | {"top1": 0.5 * r["top1"]} if "top1" in r else r for r in records]
    other = [r | {"model": "half"} if r["kind"] == "study" else r for r in other]
    for r in other:
        if r["kind"] == "cell":
            r["class_top1"] = {c: v / 2 for c, v in r["class_top1"].items()}
    files = [write(tmp_path / "a.jsonl", records), write(tmp_path / "b.jsonl", other)]
    page = write_study_page(files, tmp_path / "p.html").read_text()
    assert "Compression and recognition: net, half" in page
    for line in ("net, GOP 1", "net, GOP 12", "half, GOP 1", "half, GOP 12"):
        assert f">{line}<" in page, line
    # Half the points over the same SSIM; four measures of a and of b are of the same clips.
    assert "fitted slope: net +2.00, half +1.00 points per 0.01 SSIM" in page
    assert "net: top-1, %, mean over seeds" in page
    for value in ("80.0", "55.0", "40.0", "27.5"):  # two matrices, not one of their means
        assert f">{value}<" in page, value
    assert "Classes: net" in page
    assert "<td>half</td><td>h264-crf20-g1-medium</td>" in page
    table = page.split("Every cell")[1]
    assert 'class="texts"' in table, "two columns of words"
    places = [table.index(f"h264-crf{c}-g{g}-") for c, g in ((20, 1), (20, 12), (50, 1), (50, 12))]
    assert places == sorted(places), "2 before 12"

    seen = [r for r in records if r["kind"] == "measures"]
    seen += [seen[0] | {"source": "b", "ssim": seen[0]["ssim"] - 0.5}]
    alone = write_study_page([write(tmp_path / "m.jsonl", seen)], tmp_path / "m.html").read_text()
    assert "<td>h264-crf20-g1-medium</td><td>2</td><td>0.7250</td>" in alone, "0.975 and 0.475"

    same = write_study_page([files[0], write(tmp_path / "c.jsonl", records)], tmp_path / "s.html")
    name = f"net ({tmp_path.name}/c)"
    assert f">{name}, GOP 1<" in same.read_text(), "two runs of one model"


def test_long_names_stand_below_and_rates_are_whole() -> None:
    """Three models named by their files, as `study evaluate FILE` does."""

    def places(stem: str) -> dict[str, float]:
        cells = [
            {**coded(crf, 12, 0.5), "model": f"{stem}{n}"} for n in range(3) for crf in (25, 35, 45)
        ]
        drawn = figures.curves(cells, lambda c: c["value"], lambda c: c["top1"], ("CRF", "top-1"))
        assert drawn is not None
        found = {}
        for text in ElementTree.fromstring(drawn).iter("{http://www.w3.org/2000/svg}text"):
            place = re.search(
                r"(?:translate\(\S+ |rotate\(\S+ \S+ )([\d.]+)", text.get("transform", "")
            )
            assert place is not None
            found[str(text.text)] = float(place[1])
        return found

    short, long = places("net"), places("runs/small_frames/networks/original_s")
    assert all(y < short["CRF"] for name, y in short.items() if "GOP" in name)
    assert all(y > long["CRF"] for name, y in long.items() if "GOP" in name)
    ticks = [name for name, y in long.items() if y == long["25"]]
    assert len(ticks) > 2
    assert all(name.isdigit() for name in ticks), ticks


def test_matrix_without_a_model_beside_one_with(
    records: list[dict[str, Any]], tmp_path: Path
) -> None:
    grid = [r for r in records if r["kind"] in ("study", "cross")]
    stills = [r for r in records if r["kind"] in ("cross", "still")]
    stills += [{"kind": "still", "variant": "b90_f0", "kbps": 90, "frame": 0, "psnr": 31.0}]
    files = [write(tmp_path / "g.jsonl", grid), write(tmp_path / "s.jsonl", stills)]
    page = write_study_page(files, tmp_path / "p.html").read_text()
    assert "<small>net: top-1, %, mean over seeds 0, 1<" in page
    assert "<small>top-1, %, mean over seeds 0, 1<" in page
    assert page.count("Trained on one, tested on another") == 2
    assert "PSNR against bitrate" in page
    assert "SSIM against bitrate" not in page, "it was not measured"


def test_settings_of_other_kinds_have_figures_of_their_own(
    records: list[dict[str, Any]], tmp_path: Path
) -> None:
    more = {"codec": "jpeg", "rate": "strength", "gop": None, "preset": None}
    jpeg = [coded(v, 1, 0.6) | {"setting": f"jpeg-strength{v}", **more} for v in (50, 90)]
    source = write(tmp_path / "r.jsonl", [*records, *jpeg])
    page = write_study_page([source], tmp_path / "p.html").read_text()
    assert "Accuracy against CRF<" in page
    assert "Accuracy against JPEG strength<" in page
    crf, strength = (page.split(f"Accuracy against {n}<")[1].split("</figure>")[0]
                     for n in ("CRF", "JPEG strength"))  # fmt: skip
    assert ">GOP 12<" in crf
    assert "jpeg" not in crf
    assert "GOP" not in strength


def test_what_is_not_there_is_left_out(records: list[dict[str, Any]], tmp_path: Path) -> None:
    only = [r for r in records if r["kind"] == "cross"]
    page = write_study_page([write(tmp_path / "c.jsonl", only)], tmp_path / "c.html").read_text()
    assert "Trained on one" in page
    assert "Accuracy against" not in page
    with pytest.raises(StudyError, match="no results"):
        write_study_page([write(tmp_path / "e.jsonl", records[:1])], tmp_path / "e.html")


def test_pictures_by_hand() -> None:
    weights = np.zeros((2, 1, 1, 1))
    weights[0], weights[1] = -0.5, 0.25
    assert pictures.filters(weights, scale=1).tolist() == [[0, 255, 255]]  # white between
    two = pictures.beside([np.zeros((1, 1), np.uint8), np.ones((1, 1, 3), np.uint8)], gap=1)
    assert two[0, :, 0].tolist() == [0, 255, 1]
