"""The page is opened in headless Chromium and must show what it promises."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

import cvdecode
from cvdecode.report import write_page

CHROMIUM = (
    shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
)


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("page") / "pan & <zoom>.mp4"
    subprocess.run(
        ["ffmpeg", "-v", "error", "-f", "lavfi", "-i",
         "testsrc2=size=208x112:rate=25,crop=192:112:8+8*sin(t*5):0", "-frames:v", "14",
         "-c:v", "libx264", "-bf", "2", "-g", "7", str(path)],
        check=True,
    )  # fmt: skip
    return path


def rendered(page: Path, profile: Path, anchor: str = "#0") -> str:
    """The page's DOM after its script ran."""
    assert CHROMIUM is not None
    return subprocess.run(
        [CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run",
         "--disable-background-networking", "--disable-component-update", "--disable-sync",
         "--disable-quic", f"--user-data-dir={profile}", "--virtual-time-budget=8000", "--dump-dom",
         page.as_uri() + anchor],
        check=True, capture_output=True, text=True, timeout=120,
    ).stdout  # fmt: skip


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine")
def test_page_shows_the_clip(clip: Path, tmp_path: Path) -> None:
    page = write_page(clip, tmp_path / "page.html", frames=10, rows=[["extra", "row", "", "here"]])
    dom = rendered(page, tmp_path / "profile")
    assert 'data-ready="yes"' in dom, "the script did not finish drawing"
    assert "<title>pan &amp; &lt;zoom&gt;.mp4</title>" in dom
    assert re.search(r'<output id="counter">1 / 10</output>', dom)
    facts = re.search(r'<dl id="facts">(.*?)</dl>', dom, re.S)
    assert facts is not None
    assert "<dt>type</dt><dd>I (key)</dd>" in facts.group(1)
    with cvdecode.VideoReader(clip, planes=("qp",)) as video:
        qp = video[0].qp
    mean = float(qp[qp != -128].mean())
    shown = re.search(r"<dt>mean QP</dt><dd>([\d.]+)</dd>", facts.group(1))
    assert shown is not None
    assert float(shown.group(1)) == pytest.approx(mean, abs=0.051)
    assert "<td>extra</td><td>row</td>" in dom


def test_page_needs_nothing_from_outside(clip: Path, tmp_path: Path) -> None:
    text = write_page(clip, tmp_path / "page.html", frames=3).read_text()
    assert not re.search(r"""(?:src|href)\s*=\s*["']?https?:""", text)
    assert not list(tmp_path.glob("*.part"))


def test_a_range_outside_the_clip_is_refused(clip: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="14 frames"):
        write_page(clip, tmp_path / "page.html", start=20)
    assert not (tmp_path / "page.html").exists()
