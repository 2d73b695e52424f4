"""token_mask() against a literal NumPy version of the published recipe."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import cvdecode
from cvdecode import VideoReader, accumulate, token_mask


def scores_of(
    mv: np.ndarray,
    residual: np.ndarray,
    size: int,
    patch: int,
    fuse: str,
    source: str,
    offset: tuple[int, int] = (0, 0),
    weights: tuple[float, float] = (1.0, 1.0),
    lost: np.ndarray | None = None,
    unknown: float = 1.0,
) -> tuple[np.ndarray, np.ndarray]:
    """Scores (T, P, P) and which patches lie on the picture.

    mv: (T, 2, h4, w4) quarter samples, residual: (T, H, W), whose first sample lies ``offset`` (x,
    y) samples inside the first block. lost: (T, h16, w16) macroblocks of which nothing is known.
    """
    frames, height, width = residual.shape
    scale = size / max(height, width)
    new_h, new_w = max(1, round(height * scale)), max(1, round(width * scale))
    top, left = (size - new_h) // 2, (size - new_w) // 2
    scores = []
    for t in range(frames):
        # mv / 4 samples, minus the frame's median, length over its 95th percentile, clipped
        v = mv[t] / 4.0
        there = np.ones(v.shape[1:], bool)
        if lost is not None:
            there = ~lost[t].repeat(4, 0).repeat(4, 1)[: v.shape[1], : v.shape[2]]
        v = v - np.median(v[:, there], axis=1)[:, None, None]
        length = np.hypot(v[0], v[1])
        motion = np.clip(length / max(np.percentile(length[there], 95), 1e-6), 0, 1)
        motion[~there] = unknown
        motion = motion.repeat(4, 0).repeat(4, 1)[offset[1] :, offset[0] :][:height, :width]
        # |residual Y| over its 95th percentile
        r = np.abs(residual[t].astype(float))
        there = np.ones(r.shape, bool)
        if lost is not None:
            there = ~lost[t].repeat(16, 0).repeat(16, 1)[:height, :width]
        energy = np.clip(r / max(np.percentile(r[there], 95), 1.0), 0, 1)
        energy[~there] = unknown
        fused = {
            "weighted": (weights[0] * motion + weights[1] * energy) / sum(weights),
            "max": np.maximum(motion, energy),
            "sum": np.clip(motion + energy, 0, 1),
            "geomean": np.sqrt(motion * energy),
        }[fuse]
        fused = {"both": fused, "mv": motion, "residual": energy}[source]
        # longer side to size by bilinear interpolation, the rest padded with 0
        square = np.zeros((size, size))
        x = (np.arange(new_w) + 0.5) * width / new_w - 0.5
        x0 = np.clip(np.floor(x).astype(int), 0, width - 1)
        x1, fx = np.minimum(x0 + 1, width - 1), np.clip(x - x0, 0, 1)
        for j in range(new_h):
            y = (j + 0.5) * height / new_h - 0.5
            y0 = int(np.clip(np.floor(y), 0, height - 1))
            y1, fy = min(y0 + 1, height - 1), np.clip(y - y0, 0, 1)
            row = (1 - fy) * fused[y0] + fy * fused[y1]
            square[top + j, left : left + new_w] = (1 - fx) * row[x0] + fx * row[x1]
        n = size // patch
        scores.append(square.reshape(n, patch, n, patch).sum((1, 3)))
    content = np.zeros((size, size), bool)
    content[top : top + new_h, left : left + new_w] = True
    valid = content.reshape(n, patch, n, patch).all((1, 3))
    return np.stack(scores), valid


def literal(clip: Any, size: int, patch: int, fuse: str, source: str, budget: int) -> Any:
    mv = np.where(clip.ref[:, 0, None] != 0, clip.mv[:, 0], clip.mv[:, 1])
    height, width = clip.residual_y.shape[1:]
    mv = mv[:, :, : -(-height // 4), : -(-width // 4)]
    scores, valid = scores_of(mv, clip.residual_y, size, patch, fuse, source)
    scores = np.round(scores / patch**2, 6)
    flat = np.where(valid[None], scores, -1).ravel()
    keep = np.zeros(flat.shape, bool)
    keep[np.argsort(-flat, kind="stable")[:budget]] = True
    return keep.reshape(scores.shape), scores, valid


@pytest.fixture(scope="module")
def path(encode: Any) -> Path:
    result: Path = encode(
        "tokens.mp4", "-c:v", "libx264", "-pix_fmt", "yuv420p", "-g", "30", "-bf", "2",
        source="mandelbrot=size=74x54:rate=25", frames=6)  # fmt: skip
    return result


@pytest.fixture(scope="module")
def clip(path: Path) -> Any:
    return cvdecode.read(path, ("mv", "ref", "residual_y"))


@pytest.mark.parametrize("fuse", ["weighted", "max", "sum", "geomean"])
def test_recipe(clip: Any, fuse: Any) -> None:
    want, scores, valid = literal(clip, 96, 16, fuse, "both", 40)
    keep, got = token_mask(clip, 16, size=96, fuse=fuse, budget=40, return_scores=True)
    assert (np.isnan(got) == ~valid[None]).all()
    np.testing.assert_allclose(got[:, valid], scores[:, valid], atol=2e-6)
    np.testing.assert_array_equal(keep, want)
    assert keep.sum() == 40


def test_crop_and_weights(clip: Any) -> None:
    """Display sample (x, y) lies in block ((x + left) // 4, (y + top) // 4)."""
    left, top = 6, 10
    segment = clip.segment._replace(crop=clip.segment.crop._replace(left=left, top=top))
    arrays = {k: clip.numpy()[k] for k in ("mv", "ref", "index", "frame_type")}
    residual = clip.residual_y[..., top:, left:]
    cropped = cvdecode.Clip({**arrays, "residual_y": residual}, clip.metadata, segment)
    mv = np.where(clip.ref[:, 0, None] != 0, clip.mv[:, 0], clip.mv[:, 1])
    mv = mv[:, :, top // 4 : 14, left // 4 : 19]  # 54 samples are 13.5 blocks, 74 are 18.5
    want, valid = scores_of(
        mv, residual, 96, 16, "weighted", "both", (left % 4, top % 4), (1.0, 3.0)
    )
    _, got = token_mask(cropped, 16, size=96, weights=(1, 3), return_scores=True)
    assert (np.isnan(got) == ~valid[None]).all()
    np.testing.assert_allclose(got[:, valid], want[:, valid] / 16**2, atol=2e-6)


@pytest.mark.parametrize("source", ["mv", "residual", "both"])
@pytest.mark.parametrize("unknown", [1.0, 0.25])
def test_what_damage_took_is_not_still(clip: Any, source: Any, unknown: float) -> None:
    rng = np.random.default_rng(7)
    gone = rng.random((6, 4, 5)) < 0.2
    gone[0] = False
    arrays = {k: clip.numpy()[k].copy() for k in ("mv", "ref", "residual_y", "index", "frame_type")}
    # Lost blocks hold the "none" values.
    cells = gone.repeat(4, 1).repeat(4, 2)
    arrays["mv"].transpose(0, 3, 4, 1, 2)[cells] = 0
    arrays["ref"].transpose(0, 2, 3, 1)[cells] = 0
    arrays["residual_y"][gone.repeat(16, 1).repeat(16, 2)[:, :54, :74]] = 0
    types = np.where(gone, 255, 8).astype(np.uint8)
    lost = gone.any((1, 2))
    assert lost.sum() == 5
    damaged = cvdecode.Clip({**arrays, "mb_type": types, "lost": lost}, clip.metadata, clip.segment)
    mv = np.where(arrays["ref"][:, 0, None] != 0, arrays["mv"][:, 0], arrays["mv"][:, 1])
    want, valid = scores_of(
        mv[:, :, :14, :19], arrays["residual_y"], 96, 16, "weighted", source, lost=gone,
        unknown=unknown,
    )  # fmt: skip
    _, got = token_mask(damaged, 16, size=96, source=source, unknown=unknown, return_scores=True)
    np.testing.assert_allclose(got[:, valid], want[:, valid] / 16**2, atol=2e-6)

    # Without the types, nothing is known of a frame of which a part is lost.
    blind = cvdecode.Clip({**arrays, "lost": lost}, clip.metadata, clip.segment)
    _, scores = token_mask(blind, 16, size=96, source=source, unknown=unknown, return_scores=True)
    assert (scores[1:, valid] == unknown).all()
    np.testing.assert_allclose(scores[0, valid], want[0, valid] / 16**2, atol=2e-6)


def test_a_residual_out_of_range_is_not_known(clip: Any) -> None:
    """Such a frame counts as lost, and the types do not say where: its motion is whole."""
    arrays = {k: clip.numpy()[k] for k in ("mv", "ref", "residual_y", "index", "frame_type")}
    types = np.full((6, 4, 5), 8, np.uint8)
    lost = np.arange(6) == 3
    odd = cvdecode.Clip({**arrays, "mb_type": types, "lost": lost}, clip.metadata, clip.segment)
    for source in ("mv", "residual"):
        _, got = token_mask(odd, 16, size=96, source=source, return_scores=True)  # type: ignore[arg-type]
        _, want = token_mask(clip, 16, size=96, source=source, return_scores=True)  # type: ignore[arg-type]
        valid = ~np.isnan(want[0])
        np.testing.assert_array_equal(got[~lost], want[~lost])
        if source == "mv":
            np.testing.assert_array_equal(got, want)
        else:
            assert (got[lost][:, valid] == 1).all()


@pytest.mark.parametrize("source", ["mv", "residual"])
def test_one_source(clip: Any, source: Any) -> None:
    want, _, _ = literal(clip, 56, 14, "weighted", source, 17)
    np.testing.assert_array_equal(token_mask(clip, size=56, source=source, budget=17), want)


def test_real_clip(data_dir: Path) -> None:
    clip = cvdecode.read(data_dir / "h264" / "demo.mp4", ("mv", "ref", "residual_y"), stop=4)
    want, _, valid = literal(clip, 576, 16, "weighted", "both", 1296)
    keep = token_mask(clip, 16, budget=1296)
    assert keep.shape == (4, 36, 36)
    np.testing.assert_array_equal(keep, want)
    assert not keep[:, ~valid].any()


def test_budgets(clip: Any) -> None:
    keep, scores = token_mask(clip, size=56, return_scores=True)
    valid = int((~np.isnan(scores)).sum())
    assert keep.sum() == round(valid / 8)
    assert token_mask(clip, size=56, budget=0.5).sum() == round(valid / 2)
    assert token_mask(clip, size=56, budget=10**6).sum() == valid
    assert token_mask(clip, size=56, budget=0).sum() == 0
    above = token_mask(clip, size=56, threshold=0.3)
    with np.errstate(invalid="ignore"):
        np.testing.assert_array_equal(above, scores >= 0.3)
    first = token_mask(clip, size=56, budget=20, keep_first=True)
    on_picture = ~np.isnan(scores[0])
    assert (first[0] == on_picture).all()
    assert first.sum() == 20
    rest = np.where(np.isnan(scores[1:]), -1, scores[1:])
    assert first[1:].sum() == 20 - on_picture.sum()
    assert rest[first[1:]].min() >= rest[~first[1:]].max()
    assert token_mask(clip, size=56, budget=3, keep_first=True).sum() == 3


def test_changed_since_an_anchor(path: Path) -> None:
    """Of an accumulation: what no trace connects with the anchor counts as changed."""
    with VideoReader(path) as video:
        acc = accumulate(video, [3, 5], anchors=[2], residual="coded")
        acc.mask[:, 20:44, 30:50] = [[[1]], [[2]]]
        diff = accumulate(video, [3, 5], anchors=[2], residual="recon_diff")
        plain = accumulate(video, [3, 5], anchors=[2], grid=4)
    keep, scores = token_mask(acc, 8, size=72, return_scores=True, budget=0.25)
    assert keep.shape == (2, 9, 9)
    unknown = ~np.isin(acc.mask, (0, 4))
    literal_scores = []
    for t in range(2):
        known = ~unknown[t]
        v = acc.displacement[t] / 4.0
        v = v - np.median(v[:, known], axis=1)[:, None, None]
        length = np.hypot(v[0], v[1])
        motion = np.clip(length / max(np.percentile(length[known], 95), 1e-6), 0, 1)
        r = np.abs(acc.residual_y[t].astype(float))
        energy = np.clip(r / max(np.percentile(r[known], 95), 1.0), 0, 1)
        energy[unknown[t]] = motion[unknown[t]] = 1
        fused = (motion + energy) / 2
        literal_scores.append(fused)
    # A patch well inside: 72 samples show 74, so patch (4, 4) is about samples 32 to 42.
    for t in range(2):
        inner = literal_scores[t][24:32, 33:41].mean()
        assert abs(scores[t, 4, 4] - inner) < 0.25
    assert unknown.any()
    assert (token_mask(acc, 8, size=72, unknown=0.0, budget=0.25) != keep).any()
    assert token_mask(diff, 8, size=72, source="residual").any()
    assert token_mask(plain, 8, size=72, source="mv").any()
    with pytest.raises(ValueError, match="residual"):
        token_mask(plain, 8, size=72, source="both")
    # Left out, the source is what the accumulation has.
    assert (token_mask(plain, 8, size=72) == token_mask(plain, 8, size=72, source="mv")).all()
    assert (token_mask(acc, 8, size=72) == token_mask(acc, 8, size=72, source="both")).all()


def test_an_intra_picture_since_the_anchor_is_new(encode: Any) -> None:
    """Its traces end in itself, without displacement: it is not what has not changed."""
    path = encode("still.mp4", "-c:v", "libx264", "-bf", "0", "-g", "6", frames=9)
    with VideoReader(path) as video:
        assert [i for i, kind in enumerate(video.frame_types) if kind == "I"] == [0, 6]
        since = accumulate(video, [4, 6, 8], anchors=[3], residual="coded")
        intra = accumulate(video, [6, 8], residual="coded")
    assert (since.mask[1] == 0).all()
    assert (since.anchor[1] == 6).all()
    keep, scores = token_mask(since, 8, size=72, threshold=0.9, return_scores=True)
    inside = ~np.isnan(scores[1])
    assert not keep[0][inside].all()
    assert keep[1][inside].all()
    assert keep[2][inside].all()
    assert not token_mask(since, 8, size=72, threshold=0.9, unknown=0.0)[1].any()
    assert not token_mask(intra, 8, size=72, threshold=0.9)[:, inside].all(1).any()
    assert pickle.loads(pickle.dumps(since)).anchors == [3]


def test_vectors_that_are_not_known_are_no_rest(encode: Any) -> None:
    path = encode("tokens.avi", "-c:v", "mpeg4", "-bf", "2", "-g", "12", frames=8)
    with VideoReader(path, ("mv", "ref")) as video:
        kinds = video.frame_types
        b = int(np.flatnonzero(kinds == "B")[0])
        with pytest.raises(cvdecode.PlaneUnavailable, match=f"frame {b} is a B-VOP"):
            token_mask(video[:], size=56)
        rest = video.get_frames_at(np.flatnonzero(kinds != "B"))
    assert token_mask(rest, size=56).any()


def test_refusals(clip: Any, path: Path) -> None:
    for wrong in (
        {"patch": 0}, {"source": "bits"}, {"fuse": "mean"}, {"size": 100},
        {"budget": 0.5, "threshold": 0.5}, {"budget": -1}, {"budget": 2.5},
        {"weights": (0, 0)}, {"resize": "fit", "size": 56}, {"budget": "3"},
        {"budget": float("nan")}, {"threshold": float("nan")}, {"threshold": [0.5]},
        {"unknown": "1"}, {"weights": 1}, {"weights": (1, 2, 3)}, {"weights": (float("nan"), 1)},
        {"size": (56,)}, {"patch": 14.0},
    ):  # fmt: skip
        with pytest.raises(ValueError, match=next(iter(wrong))):
            token_mask(clip, **wrong)
    with VideoReader(path) as video, pytest.raises(ValueError, match="ends=False"):
        token_mask(accumulate(video, [3], ends=False))
    with pytest.raises(TypeError, match="Clip or an Accumulation"):
        token_mask(clip.mv)  # type: ignore[arg-type]
    bare = cvdecode.Clip(
        {k: v for k, v in clip.numpy().items() if k != "residual_y"}, clip.metadata, clip.segment
    )
    with pytest.raises(cvdecode.PlaneNotRead, match="residual_y"):
        token_mask(bare, source="both")
    assert (token_mask(bare) == token_mask(clip, source="mv")).all()
