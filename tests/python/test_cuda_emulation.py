"""The bodies of the CUDA kernels, over a grid walked on the CPU, against the scalar build."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from cvdecode import _core
from emulated_device import run_on_emulated_device
from synthetic_motion import as_arrays, random_stream

NO_CROP = (0, 0, 0, 0)
SIZES = [(16, 16), (32, 48), (48, 80), (16, 272), (144, 64)]  # height, width
KINDS: list[dict[str, Any]] = [
    {"residual": "coded"},
    {"residual": "recon_diff"},
    {"residual": "coded", "anchors": [2, 4], "cross": "mask"},
    {"residual": "recon_diff", "anchors": [1, 5], "select": "list0"},
    {"grid": 4, "intra": "coviar"},
    {"grid": 4, "anchors": [3]},
    {"grid": 4, "anchors": [2, 4], "cross": "mask", "count_hops": False},
    {"one_step": True},
    {"one_step": True, "residual": "coded"},
    {"one_step": True, "grid": 4},
    {"count_hops": False},
    {"residual": "coded", "count_hops": False},
    {"residual": "recon_diff", "cross": "mask", "intra": "coviar"},
]


def streams(seed: int, count: int, size: tuple[int, int], crop: Any = NO_CROP) -> list[Any]:
    """Pyramids, leading pictures, lost blocks, broken references, sums that saturate."""
    rng = np.random.default_rng(seed)
    return [
        random_stream(
            rng,
            count=int(rng.integers(4, 9)),
            size=size,
            crop=crop,
            saturate=(seed + n) % 4 == 3,
            damage=(seed + n) % 3 > 0,
            speed=[3, 24, 200][(seed + n) % 3],
        )
        for n in range(count)
    ]


def shown(pictures: Any) -> list[int]:
    return sorted(p.presentation for p in pictures if p.presentation is not None)


def compare(
    clips: list[Any], crop: Any, frames: list[list[int]], chroma: int = 1, **options: Any
) -> list[dict[str, Any]]:
    """One batch of all clips against one scalar run for each, which is returned."""
    plans, wants = [], []
    for pictures, own in zip(clips, frames, strict=True):
        size, planes = as_arrays(pictures, crop, chroma)
        wanted = {"count_hops": True, **options, "frames": own}
        wants.append(_core.accumulate_arrays(size, planes, {**wanted, "build": "scalar"}))
        plans.append(_core.plan_arrays(size, planes, wanted))
    for backwards in (False, True):
        gots = run_on_emulated_device(plans, wants, backwards=backwards)
        for plan, got, want in zip(plans, gots, wants, strict=True):
            assert int(got["clipped"][0]) == want["stats"]["saturated"]
            assert plan.stats["pictures_read"] == want["stats"]["pictures_read"]
            assert plan.stats["pictures_traced"] == want["stats"]["pictures_traced"]
            for name in got.keys() - {"clipped"}:
                np.testing.assert_array_equal(got[name], want[name], f"{name}, {options}")
    return wants


@pytest.mark.parametrize("kind", range(len(KINDS)))
def test_every_size_and_corner(kind: int) -> None:
    options = KINDS[kind]
    masks: set[int] = set()
    ends: set[int] = set()
    for seed, size in enumerate(SIZES):
        clips = streams(100 * kind + seed, 3, size)
        for want in compare(clips, NO_CROP, [shown(p) for p in clips], **options):
            masks |= set(np.unique(want["mask"]).tolist())
            ends |= set(np.unique(want["anchor"]).tolist())
    stops, cuts = options.get("intra") != "coviar", options.get("cross") == "mask"
    passes = "anchors" in options and not cuts
    assert masks >= {0, 2} | ({1} if stops else set()) | ({3} if cuts else set())
    assert not passes or 4 in masks
    assert ends >= {-1, 0}
    assert not stops or -2 in ends  # an intra block of a picture that is not presented


@pytest.mark.parametrize("what", ["displacement", "blocks", "residual_y", "residual_uv"])
def test_sums_that_saturate_are_counted(what: str) -> None:
    """Nothing but one of the sums leaves 16 bits."""
    clips = streams(3, 4, (32, 48))
    rng = np.random.default_rng(5)
    for p in (p for clip in clips for p in clip):
        for name in ("mv", "res_y", "res_uv"):
            plane = getattr(p, name)
            big = name == {"residual_y": "res_y", "residual_uv": "res_uv"}.get(what, "mv")
            reach = 30000 if big else 300
            used = plane != 0 if name == "mv" else np.full(plane.shape, True)
            plane[used] = rng.integers(-reach, reach, plane.shape)[used]
    options: dict[str, Any] = {"grid": 4} if what == "blocks" else {"residual": "coded"}
    wants = compare(clips, NO_CROP, [shown(p) for p in clips], **options)
    assert all(want["stats"]["saturated"] > 0 for want in wants)


@pytest.mark.parametrize("crop", [NO_CROP, (3, 1, 5, 7)])
def test_without_chroma(crop: tuple[int, int, int, int]) -> None:
    clips = streams(9, 3, (48, 64), crop)
    for options in ({"residual": "coded"}, {"residual": "recon_diff"}, {"grid": 4}):
        wants = compare(clips, crop, [shown(p) for p in clips], chroma=0, **options)
        assert wants[0].get("residual_uv") is None


@pytest.mark.parametrize("crop", [(2, 4, 6, 8), (0, 0, 12, 8), (8, 6, 2, 0)])
def test_crops(crop: tuple[int, int, int, int]) -> None:
    clips = streams(7, 2, (48, 64), crop)
    for options in ({"residual": "recon_diff"}, {"residual": "coded"}, {"grid": 4}):
        compare(clips, crop, [shown(p) for p in clips], **options)


@pytest.mark.parametrize("residual", [None, "coded", "recon_diff"])
def test_some_frames_and_repeats(residual: str | None) -> None:
    """Maps that nobody asked for live in the scratch, and share it once they are done with."""
    clips = streams(21, 4, (32, 48))
    frames = [[f[-1], f[0], f[-1], f[len(f) // 2]] for f in map(shown, clips)]
    compare(clips, NO_CROP, frames, residual=residual)
    compare(clips, NO_CROP, [[f[-1]] for f in frames], residual=residual)
    if residual is None:
        compare(clips, NO_CROP, frames, grid=4)


def test_scratch_is_used_again() -> None:
    """A long chain of single references needs few maps at a time."""
    sizes = {}
    for count in (6, 24):
        rng = np.random.default_rng(3)
        pictures = random_stream(
            rng, count=count, b_pictures=False, hidden=False, second_intra=False, damage=False
        )
        for n, p in enumerate(pictures):
            p.refpic[0][p.refpic[0] >= 0] = n - 1
        size, planes = as_arrays(pictures, NO_CROP)
        plan = _core.plan_arrays(size, planes, {"frames": [count - 1]})
        sizes[count] = _core.DeviceBatch([plan]).scratch_bytes
        compare([pictures], NO_CROP, [[count - 1]])
    assert sizes[6] == sizes[24]


def test_empty_batches_and_clips() -> None:
    assert _core.DeviceBatch([]).pack(0, 0, 0, []) == []
    (clip,) = streams(1, 1, (16, 16))
    size, planes = as_arrays(clip, NO_CROP)
    empty = _core.plan_arrays(size, planes, {"frames": []})
    batch = _core.DeviceBatch([empty, empty])
    assert batch.pack(0, 0, 0, [[0] * 9] * 2) == []
    with pytest.raises(ValueError, match="one set of outputs"):
        batch.pack(0, 0, 0, [])


def test_a_row_without_a_map_is_an_error() -> None:
    """Row 1 repeats row 0, so no step makes it: the kernel would read from nowhere."""
    (clip,) = streams(1, 1, (16, 16))
    size, planes = as_arrays(clip, NO_CROP)
    last = shown(clip)[-1]
    plan = _core.plan_arrays(size, planes, {"frames": [last, last], "residual": "recon_diff"})
    assert plan.wanted == [(0, plan.wanted[0][1])]  # type: ignore[attr-defined]
    for row in (1, 2, -1):
        plan.wanted = [(row, 0)]  # type: ignore[attr-defined]
        batch = _core.DeviceBatch([plan])
        host = np.zeros(batch.upload_bytes + 256, np.uint8)
        with pytest.raises(_core.ReaderState, match=rf"clip 0 makes no map for row {row}\b"):
            batch.pack(host.ctypes.data, 0, 0, [[0] * 9])


@pytest.mark.parametrize("residual", [None, "coded", "recon_diff"])
def test_a_plan_is_refused_before_it_is_made(residual: str | None) -> None:
    """A chain of single references behind one frame; the first of 7 pictures is intra."""
    rng = np.random.default_rng(3)
    clip = random_stream(
        rng, count=7, size=(48, 64), b_pictures=False, hidden=False, second_intra=False,
        damage=False,
    )  # fmt: skip
    for n, p in enumerate(clip):
        p.refpic[0][p.refpic[0] >= 0] = n - 1
    size, planes = as_arrays(clip, NO_CROP)
    options = {"frames": [6], "residual": residual}
    total = _core.plan_arrays(size, planes, options).bytes
    # 6 pictures with 5 bytes for each of 192 blocks, 2 + 1 bytes a sample of residual; 3 of pixels.
    motion, samples = 6 * 192 * 5, 48 * 64 * 3
    if residual == "recon_diff":  # pixels of the frame, of the intra picture, of intra blocks
        pixels, rest = divmod(total - motion, samples)
        assert 2 <= pixels <= 7
        assert rest == 0
    else:
        assert total == motion + (6 * samples if residual == "coded" else 0)
    assert _core.plan_arrays(size, planes, options, total).bytes == total
    assert _core.plan_arrays(size, planes, options, total + 500, 500).bytes == total
    for most, held in ((total - 1, 0), (total + 500, 501)):
        with pytest.raises(MemoryError, match="max_bytes"):
            _core.plan_arrays(size, planes, options, most, held)


def test_what_a_device_does_not_do() -> None:
    (clip,) = streams(1, 1, (16, 16))
    size, planes = as_arrays(clip, NO_CROP)
    for options in (
        {"coviar": True},
        {"one_step": True, "per_frame": True},
        {"one_step": True, "residual": "recon_diff"},
    ):
        with pytest.raises(ValueError, match="CPU only"):
            _core.plan_arrays(size, planes, {"frames": [0], **options})
    other = streams(2, 1, (16, 32))[0]
    with pytest.raises(ValueError, match="one coded size"):
        _core.DeviceBatch([_core.plan_arrays(*as_arrays(c, NO_CROP), {}) for c in (clip, other)])
    for chroma in (0, 1):
        size, planes = as_arrays(clip, NO_CROP, chroma)
        one = _core.plan_arrays(size, planes, {})
        for options in (
            {"grid": 4}, {"count_hops": True}, {"residual": "coded"}, {"residual": "recon_diff"}
        ):  # fmt: skip
            with pytest.raises(ValueError, match="set of options"):
                _core.DeviceBatch([one, _core.plan_arrays(size, planes, options)])


def test_too_many_references_for_a_byte() -> None:
    rng = np.random.default_rng(4)
    pictures = random_stream(
        rng, count=260, size=(64, 64), b_pictures=False, hidden=False, second_intra=False
    )
    last = pictures[-1]
    last.mb_lost[:] = False
    last.refpic[0] = np.arange(256).reshape(16, 16)
    size, planes = as_arrays(pictures, NO_CROP)
    with pytest.raises(_core.UnsupportedStream, match="253"):
        _core.plan_arrays(size, planes, {"frames": [259]})
