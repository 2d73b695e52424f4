"""accumulate() against a literal NumPy version of its definition, on random streams."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from cvdecode import _core
from literal_accumulate import MISSING, UNTRUSTED, Literal, Settings
from synthetic_motion import as_arrays, random_stream

CROPS = [(0, 0, 0, 0), (2, 4, 6, 8), (0, 0, 12, 8), (8, 6, 2, 0)]


def crop_of(out: dict[str, Any], grid: int = 1) -> dict[str, Any]:
    """The coded-size rows of the core, cropped as the public call crops them."""
    w, h, left, top, right, bottom, _ = out["size"]
    cropped = dict(out)
    luma = np.s_[..., top : h - bottom, left : w - right]
    if grid == 4:
        luma = np.s_[
            ..., top // 4 : (h - bottom - 1) // 4 + 1, left // 4 : (w - right - 1) // 4 + 1
        ]
    ch, cw = (h - top - bottom + 1) // 2, (w - left - right + 1) // 2
    chroma = np.s_[..., top // 2 : top // 2 + ch, left // 2 : left // 2 + cw]
    for key in ("displacement", "anchor", "mask", "hops", "residual_y"):
        if out[key] is not None:
            cropped[key] = out[key][luma]
    for key in ("residual_uv", "mask_uv"):
        if out[key] is not None:
            cropped[key] = out[key][chroma]
    return cropped


def run(pictures: Any, crop: Any, grid: int = 1, **options: Any) -> dict[str, Any]:
    size, planes = as_arrays(pictures, crop)
    out: dict[str, Any] = _core.accumulate_arrays(
        size, planes, {"count_hops": True, "grid": grid, "build": "scalar", **options}
    )
    return crop_of(out, grid)


def shown(pictures: Any) -> list[int]:
    return sorted(p.presentation for p in pictures if p.presentation is not None)


def compare(got: dict[str, Any], row: int, want: dict[str, np.ndarray], keys: Any) -> None:
    for key in keys:
        np.testing.assert_array_equal(got[key][row], want[key], err_msg=f"{key}, row {row}")


MAPS = ("displacement", "anchor", "mask", "hops")


@pytest.mark.parametrize("seed", range(16))
def test_random_streams(seed: int) -> None:
    """Every option drawn at random; frames in random order, one of them twice."""
    rng = np.random.default_rng(seed)
    crop = CROPS[seed % len(CROPS)]
    pictures = random_stream(rng, crop=crop, saturate=seed % 5 == 4)
    frames = shown(pictures)
    settings = Settings(
        select=str(rng.choice(["nearest", "list0"])),
        intra=str(rng.choice(["stop", "coviar"])),
        cross=str(rng.choice(["follow", "mask"])),
        anchors=None if seed % 2 else sorted(rng.choice(frames, 2, replace=False).tolist()),
    )
    literal = Literal(pictures, crop, settings)
    asked = [int(f) for f in rng.permutation(frames)] + [frames[-1]]
    options = {
        "frames": asked,
        "select": settings.select,
        "intra": settings.intra,
        "cross": settings.cross,
        "anchors": settings.anchors,
    }
    coded = run(pictures, crop, residual="coded", **options)
    recon = run(pictures, crop, residual="recon_diff", **options)
    for row, frame in enumerate(asked):
        want = literal.frame(frame)
        compare(coded, row, want, (*MAPS, "residual_y", "residual_uv", "mask_uv"))
        compare(recon, row, want, (*MAPS, "residual"))
    blocks = run(pictures, crop, grid=4, **options)
    for row, frame in enumerate(asked):
        compare(blocks, row, literal.frame(frame, grid=4), MAPS)


@pytest.mark.parametrize("seed", range(6))
def test_one_step(seed: int) -> None:
    rng = np.random.default_rng(100 + seed)
    crop = CROPS[seed % len(CROPS)]
    pictures = random_stream(rng, crop=crop)
    frames = shown(pictures)
    cross = ["follow", "mask"][seed % 2]
    for residual in ("coded", "recon_diff"):
        if residual == "recon_diff" and cross == "mask":
            continue
        settings = Settings(hops=1, recon=residual == "recon_diff", cross=cross)
        literal = Literal(pictures, crop, settings)
        got = run(pictures, crop, frames=frames, one_step=True, residual=residual, cross=cross)
        keys = (*MAPS, "residual" if settings.recon else "residual_y")
        for row, frame in enumerate(frames):
            compare(got, row, literal.frame(frame), keys)


@pytest.mark.parametrize("grid", [1, 4])
def test_per_frame(grid: int) -> None:
    rng = np.random.default_rng(7)
    pictures = random_stream(rng, crop=CROPS[2], hidden=False)
    frames = shown(pictures)
    whole = run(pictures, CROPS[2], grid, frames=frames, one_step=True)
    rate = run(pictures, CROPS[2], grid, frames=frames, one_step=True, per_frame=True)
    assert rate["displacement"].dtype == np.float32
    for row, frame in enumerate(frames):
        apart = frame - whole["anchor"][row].astype(np.float64)
        inter = (whole["mask"][row] == 0) & (apart != 0)
        want = np.zeros(whole["displacement"][row].shape)
        want[:, inter] = whole["displacement"][row][:, inter] / apart[inter]
        np.testing.assert_allclose(rate["displacement"][row], want, rtol=1e-6)


def test_saturation_is_counted() -> None:
    rng = np.random.default_rng(3)
    pictures = random_stream(rng, crop=CROPS[0], saturate=True, damage=False, hidden=False)
    literal = Literal(pictures, CROPS[0], Settings())
    got = run(pictures, CROPS[0], frames=shown(pictures), residual="coded")
    for frame in shown(pictures):
        literal.frame(frame)
    assert got["stats"]["saturated"] == literal.saturated
    assert literal.saturated > 1000


def test_only_the_chain_is_read() -> None:
    """The pictures whose motion is asked for are those that the trace meets, and no others."""
    rng = np.random.default_rng(11)
    pictures = random_stream(rng, count=14, crop=CROPS[0], damage=False, hidden=False)
    fewer = False
    for frame in shown(pictures):
        literal = Literal(pictures, CROPS[0], Settings())
        literal.frame(frame)
        got = run(pictures, CROPS[0], frames=[frame])
        # A block of the chain may point into a picture that no pixel of this frame reaches.
        needed = len(literal.touched)
        here = literal.decode_number(frame)
        assert here is not None
        before = sum(p.kind != "I" for p in pictures[: here + 1])
        assert needed <= got["stats"]["pictures_read"] <= before
        fewer |= got["stats"]["pictures_read"] < before
    assert fewer


def test_maps_are_dropped() -> None:
    """A chain of single references needs two maps at a time, however long it is."""
    rng = np.random.default_rng(5)
    pictures = random_stream(
        rng, count=30, b_pictures=False, hidden=False, second_intra=False, damage=False
    )
    for n, p in enumerate(pictures):
        p.refpic[0][p.refpic[0] >= 0] = n - 1
    got = run(pictures, CROPS[0], frames=[29])
    assert got["stats"]["pictures_traced"] == 29
    assert got["stats"]["peak_maps"] == 2


def test_residual_beyond_the_budget() -> None:
    rng = np.random.default_rng(6)
    pictures = random_stream(rng, count=12, crop=CROPS[1])
    frames = shown(pictures)
    want = run(pictures, CROPS[1], frames=frames, residual="coded")
    got = run(pictures, CROPS[1], frames=frames, residual="coded", residual_budget=20000)
    for key in ("residual_y", "residual_uv", "displacement"):
        np.testing.assert_array_equal(got[key], want[key])
    want = run(pictures, CROPS[1], frames=frames, residual="recon_diff")
    got = run(pictures, CROPS[1], frames=frames, residual="recon_diff", residual_budget=1)
    np.testing.assert_array_equal(got["residual"], want["residual"])


def test_motion_beyond_the_budget() -> None:
    """What is not held is read again: the same maps, whatever of the chain is asked for."""
    for seed in range(4):
        rng = np.random.default_rng(20 + seed)
        pictures = random_stream(rng, count=14, crop=CROPS[1])
        frames = shown(pictures)
        for asked in (frames, frames[-3:], frames[::-2]):
            for options in ({"residual": "coded"}, {"grid": 4}):
                want = run(pictures, CROPS[1], frames=asked, **options)
                for budget in (0, 3000):
                    got = run(
                        pictures, CROPS[1], frames=asked, motion_budget=budget,
                        residual_budget=budget, **options,
                    )  # fmt: skip
                    assert got["stats"]["pictures_read"] == want["stats"]["pictures_read"]
                    for key in MAPS:
                        np.testing.assert_array_equal(got[key], want[key], key)


@pytest.mark.parametrize("build", _core.trace_builds())
def test_words_of_old_maps_are_made_again(build: str) -> None:
    """grid=4 keeps the words of the last few maps only; a reference may be older than these."""
    rng = np.random.default_rng(12)
    pictures = random_stream(
        rng, count=45, size=(16, 32), b_pictures=False, hidden=False, damage=False,
        second_intra=False,
    )  # fmt: skip
    for n, p in enumerate(pictures[1:], 1):  # some blocks look far back, some at a B-like picture
        p.is_reference = n % 5 != 2
        p.refpic[0][p.refpic[0] >= 0] = rng.integers(0, n, (p.refpic[0] >= 0).sum())
    literal = Literal(pictures, CROPS[0], Settings())
    frames = shown(pictures)
    got = run(pictures, CROPS[0], 4, frames=frames, build=build)
    for row, frame in enumerate(frames):
        compare(got, row, literal.frame(frame, grid=4), MAPS)


def test_untrusted_reference_is_refused() -> None:
    rng = np.random.default_rng(8)
    pictures = random_stream(rng, count=6, b_pictures=False, hidden=False, second_intra=False)
    pictures[5].refpic[0, 0, 0] = UNTRUSTED
    run(pictures, CROPS[0], frames=[4])
    with pytest.raises(_core.PlaneUnavailable, match="frame 5"):
        run(pictures, CROPS[0], frames=[5])


def test_circles_and_wild_references_end() -> None:
    rng = np.random.default_rng(9)
    pictures = random_stream(rng, count=5, b_pictures=False, hidden=False, second_intra=False)
    for p in pictures[1:]:
        p.refpic[0][p.refpic[0] != MISSING] = 4
    pictures[2].refpic[0] = 1 << 30
    got = run(pictures, CROPS[0], frames=[2, 4])
    assert (got["mask"][0][~np.repeat(np.repeat(pictures[2].mb_lost, 16, 0), 16, 1)] == 2).all()
    assert (got["mask"][1] != 0).all()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"grid": 3}, "grid"),
        ({"grid": 4, "residual": "coded"}, "grid=4"),
        ({"one_step": True, "anchors": [0]}, "hops=1"),
        ({"per_frame": True}, "per_frame"),
        ({"coviar": True, "residual": "coded"}, "coviar"),
        ({"select": "best"}, "select"),
    ],
)
def test_refused_options(options: dict[str, Any], message: str) -> None:
    pictures = random_stream(np.random.default_rng(0), count=3, hidden=False)
    with pytest.raises(ValueError, match=message):
        run(pictures, CROPS[0], **{"frames": [0], **options})
    with pytest.raises(IndexError):
        run(pictures, CROPS[0], frames=[99])


@pytest.mark.parametrize("build", _core.trace_builds()[1:])
def test_every_simd_build_is_the_scalar_one(build: str) -> None:
    """Same bytes from every target, on pictures of odd widths, with all that can be carried."""
    for seed in range(24):
        rng = np.random.default_rng(1000 + seed)
        size = [(16, 16), (32, 48), (48, 80), (16, 112), (64, 144)][seed % 5]
        pictures = random_stream(
            rng,
            count=7,
            size=size,
            saturate=seed % 4 == 3,
            damage=seed % 3 > 0,
            speed=[3, 24, 200][seed % 3],
        )
        if seed % 2:  # longer runs: whole rows with one motion
            for p in pictures:
                p.mv[..., 4:, :] = p.mv[..., 4:, :1]
                p.refpic[..., 4:, :] = p.refpic[..., 4:, :1]
        frames = shown(pictures)
        for options in (
            {"residual": "coded"},
            {"residual": "recon_diff"},
            {"residual": "coded", "anchors": [2, 4], "cross": "mask"},
            {"grid": 4, "intra": "coviar"},
            {"one_step": True},
        ):
            want = run(pictures, CROPS[0], frames=frames, **options)
            got = run(pictures, CROPS[0], frames=frames, **{**options, "build": build})
            assert got["stats"]["saturated"] == want["stats"]["saturated"]
            for key, value in want.items():
                if key in ("stats", "memory"):
                    continue
                np.testing.assert_array_equal(got[key], value, f"{key}, seed {seed}, {options}")


def test_builds_are_named() -> None:
    builds = _core.trace_builds()
    assert builds[0] == "scalar"
    assert len(builds) > 1
    with pytest.raises(ValueError, match="no build"):
        run(random_stream(np.random.default_rng(0), count=2), CROPS[0], frames=[0], build="MMX")
