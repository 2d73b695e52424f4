"""accumulate() on real files: against the literal version, and against the decoded pictures."""

from __future__ import annotations

import copy
import pickle
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

import cvdecode
from cvdecode import VideoReader, accumulate
from literal_accumulate import MISSING, UNUSED, Literal, Picture, Settings

X264 = ["-c:v", "libx264", "-preset", "medium", "-pix_fmt", "yuv420p"]


def long_clip(encode: Any) -> Path:
    """The same whichever test asks for it first."""
    result: Path = encode("acc_long.mp4", *X264, "-bf", "0", "-g", "30", frames=20)
    return result


def decode_order(path: Path) -> list[int]:
    """Presentation indices in decode order, by PyAV: packets sorted by their timestamps."""
    with av.open(str(path)) as container:
        packets = [p for p in container.demux(video=0) if p.size]
    if any(p.pts is None for p in packets):
        return list(range(len(packets)))
    shown = sorted(p.pts for p in packets)
    return [shown.index(p.pts) for p in packets]


def as_pictures(path: Path, count: int, coded: bool = False) -> list[Picture]:
    """The first `count` pictures in decode order, as the public planes tell them."""
    order = decode_order(path)[:count]
    planes = ["mv", "ref", "mb_type", "rgb", *(["residual_y", "residual_uv"] if coded else [])]
    with VideoReader(path, planes=planes) as video:
        clip = video.get_frames_at(order)
        named = {
            frame + int(value)
            for n, frame in enumerate(order)
            for value in np.unique(clip.ref[n])
            if value != 0
        }
    number = {frame: n for n, frame in enumerate(order)}
    width, height = clip.segment.coded_size
    pictures = []
    for n, frame in enumerate(order):
        refpic = np.full(clip.ref[n].shape, UNUSED, np.int32)
        for value in np.unique(clip.ref[n]):
            if value != 0:
                target = number.get(frame + int(value), MISSING) if value > -32700 else MISSING
                refpic[clip.ref[n] == value] = target
        res_y = np.zeros((height, width), np.int16)
        res_uv = np.zeros((2, height // 2, width // 2), np.int16)
        if coded:  # the base of the cropped views
            res_y = whole(clip.residual_y, n)
            res_uv = whole(clip.residual_uv, n)
        pictures.append(
            Picture(
                presentation=frame,
                order=frame,
                kind=str(clip.frame_type[n]),
                is_reference=bool(clip.frame_type[n] != "B") or frame in named,
                mv=clip.mv[n],
                refpic=refpic,
                mb_lost=clip.mb_type[n] == 255,
                res_y=res_y,
                res_uv=res_uv,
                rgb=clip.rgb[n],
            )
        )
    return pictures


def whole(plane: np.ndarray, row: int) -> np.ndarray:
    assert isinstance(plane.base, np.ndarray)
    return plane.base[row]


def compare(path: Path, count: int, frames: list[int], coded: bool = False, **options: Any) -> None:
    """Video, clip and literal version agree on some frames of the first `count` pictures."""
    pictures = as_pictures(path, count, coded)
    planes = ("mv", "ref", "mb_type", "rgb", *(("residual_y", "residual_uv") if coded else ()))
    with VideoReader(path, planes=planes) as video:
        crop = video.segments[0].crop
        kinds = ["coded", "recon_diff"] if coded else ["recon_diff"]
        got = [accumulate(video, frames, return_hops=True, residual=k, **options) for k in kinds]
        clip = video.get_frames_at([p.presentation for p in reversed(pictures)])
        of_clip = [accumulate(clip, frames, return_hops=True, residual=k, **options) for k in kinds]
    anchors = options.get("anchors")
    literal = Literal(pictures, tuple(crop), Settings(
        anchors=anchors, select=options.get("select", "nearest"),
        cross=options.get("cross", "follow"), intra=options.get("intra", "stop")))  # fmt: skip
    for row, frame in enumerate(frames):
        want = literal.frame(frame)
        for acc in (*got, *of_clip):
            for name, array in acc._arrays.items():
                np.testing.assert_array_equal(array[row], want[name], f"{name} of frame {frame}")
    assert got[0].mask.shape[1:] == (crop_height(clip), clip.segment.width)


def crop_height(clip: Any) -> int:
    return int(clip.segment.height)


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("acc_p.avi", ["-c:v", "mpeg4", "-g", "6", "-flags", "+mv4+qpel"]),
        ("acc_m2.mpg", ["-c:v", "mpeg2video", "-bf", "2", "-g", "7", "-q:v", "4"]),
        ("acc_m1.mpg", ["-c:v", "mpeg1video", "-bf", "1", "-g", "5", "-q:v", "4"]),
    ],
)
def test_libav_streams(encode: Any, name: str, options: list[str]) -> None:
    path = encode(name, *options, source="mandelbrot=size=70x50:rate=25", frames=12)
    compare(path, 11, [3, 9, 5, 1], cross="mask")
    compare(path, 11, [8, 2], anchors=[1, 4], select="list0")


@pytest.mark.parametrize("seed", [0, 1])
def test_native_streams(encode: Any, seed: int) -> None:
    """Pyramids, several references, weights, open GOPs: every vector and residual is exact."""
    params = [
        "keyint=7:min-keyint=7:bframes=3:b-pyramid=normal:ref=3:open-gop=1:weightp=2:scenecut=0",
        "keyint=30:bframes=2:b-adapt=0:ref=4:partitions=all:subme=9:weightb=1:scenecut=0",
    ][seed]
    path = encode(f"acc_{seed}.mp4", *X264, "-x264-params", params,
                  source="mandelbrot=size=70x50:rate=25", frames=14)  # fmt: skip
    compare(path, 13, [4, 9, 2, 7], coded=True)
    compare(path, 13, [10, 5], coded=True, anchors=[3, 6], cross="mask")


@pytest.mark.parametrize(
    ("name", "count", "frame", "options"),
    [
        ("mpeg4/MPEG4.mp4", 3, 2, {}),
        ("h264-conformance/MR1_BT_A.h264", 8, 7, {}),  # several references, several slices
        ("h264-conformance/CVFC1_Sony_C.jsv", 4, 3, {}),  # cropped on all sides
        ("h264/demo.mp4", 6, 2, {"anchors": [1], "intra": "coviar"}),  # B pictures
    ],
)
def test_shared_clips(
    data_dir: Path, name: str, count: int, frame: int, options: dict[str, Any]
) -> None:
    compare(data_dir / name, count, [frame], coded=name.startswith("h264"), **options)


def test_clip_needs_its_chain(encode: Any) -> None:
    """What lies outside the clip is mask 2; what lies inside is as in the video."""
    path = long_clip(encode)
    with VideoReader(path, planes=("mv", "ref")) as video:
        clip = video[4:12]
        inside = accumulate(clip, [11], anchors=[6])
        whole_video = accumulate(video, [11], anchors=[6])
        outside = accumulate(clip, [11])
    np.testing.assert_array_equal(inside.displacement, whole_video.displacement)
    assert set(np.unique(outside.mask)) <= {1, 2}
    assert (outside.mask == 2).any()
    assert (outside.displacement.transpose(0, 2, 3, 1)[outside.mask == 2] == 0).all()
    assert (outside.anchor[outside.mask == 2] == -1).all()


def test_slices_of_clips_keep_the_coded_residual(encode: Any) -> None:
    path = encode("acc_slices.mp4", *X264, source="mandelbrot=size=70x50:rate=25", frames=14)
    with VideoReader(path, planes=("mv", "ref", "residual_y", "residual_uv")) as video:
        clip = video[0:12]
        want = accumulate(clip, [6], residual="coded")
        for part in (clip[0:9], clip[::-1], clip[:]):
            got = accumulate(part, [6], residual="coded")
            np.testing.assert_array_equal(got.residual_y, want.residual_y)
            np.testing.assert_array_equal(got.residual_uv, want.residual_uv)
    assert accumulate(clip[0:0], residual="coded").residual_uv.shape == (0, 2, 25, 35)

    with pytest.raises(ValueError, match="pickled or copied"):
        accumulate(pickle.loads(pickle.dumps(clip)), [6], residual="coded")


def test_results_travel(encode: Any) -> None:
    """Between the processes of a loader; the copy shares no memory with what it was made from."""
    with VideoReader(long_clip(encode)) as video:
        acc = accumulate(video, [5, 2], residual="coded", return_hops=True)
        batch = cvdecode.accumulate_batch([video, video], [[5, 2], [7]])
        for one, other in (
            (acc, pickle.loads(pickle.dumps(acc))),
            (acc, copy.deepcopy(acc)),
            (batch, pickle.loads(pickle.dumps(batch))),
        ):
            assert other.planes == one.planes
            assert (other.grid, other.mode, other.segment) == (one.grid, one.mode, one.segment)
            assert other.stats == one.stats
            for name, array in one.numpy().items():
                np.testing.assert_array_equal(other.numpy()[name], array)
                assert not np.shares_memory(other.numpy()[name], array)
        again = accumulate(video, [4], out=copy.deepcopy(acc))
        np.testing.assert_array_equal(again.mask, accumulate(video, [4]).mask)


def yuv(path: Path, *options: str) -> list[Any]:
    with av.open(str(path)) as container:
        return [f.to_ndarray(format="yuv420p") for f in container.decode(video=0)]


def test_anchor_plus_residual_is_the_picture(encode: Any) -> None:
    """Whole-sample vectors, one list, no weights, no deblocking, no clipping: exactly."""
    path = encode(
        "acc_fullpel.mp4", *X264, "-bf", "0", "-g", "40", "-qp", "20", "-x264-params",
        "subme=0:no-deblock=1:weightp=0:ref=2:scenecut=0:me=dia:me_range=16:8x8dct=1",
        source="testsrc2=size=96x80:rate=25,lutyuv=y=70+val/3:u=96+val/4:v=96+val/4,"
               "noise=alls=8:allf=t", frames=14)  # fmt: skip
    pictures = yuv(path)
    height, width = 80, 96
    with VideoReader(path, planes=("mv", "ref")) as video:
        acc = accumulate(video, residual="coded")
        clip = video[0:14]
    assert (clip.mv % 4 == 0).all()
    assert clip.crop == (0, 0, 0, 0)

    def planes(n: int) -> tuple[Any, Any]:
        y = pictures[n][:height]
        uv = pictures[n][height:].reshape(2, height // 2, width // 2)
        return y.astype(int), uv.astype(int)

    # Where each sample comes from; for chroma also whether no hop split a sample.
    ys, xs = np.mgrid[:height, :width]
    at = {0: (ys, xs)}
    cys, cxs = np.mgrid[: height // 2, : width // 2]
    at_uv = {0: (cys, cxs, np.ones(cys.shape, bool))}
    checked = checked_uv = 0
    for n in range(1, 14):
        y, x, cy, cx = ys.copy(), xs.copy(), cys.copy(), cxs.copy()
        aligned = np.zeros(cys.shape, bool)
        for ref in np.unique(clip.ref[n, 0]):
            if ref == 0:
                continue
            mv = clip.mv[n, 0].astype(int) // 4
            for (gy, gx), size, div, old, new in (
                ((ys, xs), 4, 1, at[n + ref], (y, x)),
                ((cys, cxs), 2, 2, at_uv[n + ref], (cy, cx, aligned)),
            ):
                use = clip.ref[n, 0][gy // size, gx // size] == ref
                vx, vy = mv[:, gy // size, gx // size]
                h, w = gy.shape
                fy = np.clip(gy + vy // div, 0, h - 1)
                fx = np.clip(gx + vx // div, 0, w - 1)
                for mine, theirs in zip(new, old, strict=True):
                    mine[use] = theirs[fy, fx][use]
                if div == 2:
                    aligned &= ~use | ((vx % 2 == 0) & (vy % 2 == 0))
        at[n], at_uv[n] = (y, x), (cy, cx, aligned)
        luma, chroma = planes(n)
        luma0, chroma0 = planes(0)
        known = acc.mask[n] == 0
        assert (luma0[y, x] + acc.residual_y[n] == luma)[known].all(), n
        checked += int(known.sum())
        known = (acc.mask_uv[n] == 0) & aligned
        assert (chroma0[:, cy, cx] + acc.residual_uv[n] == chroma)[:, known].all(), n
        checked_uv += int(known.sum())
    assert checked > 40000
    assert checked_uv > 4000


def test_only_the_chain_is_parsed(encode: Any) -> None:
    path = encode("acc_chain.mp4", *X264, "-x264-params",
                  "keyint=60:bframes=3:b-adapt=0:b-pyramid=none:ref=1:scenecut=0",
                  frames=45)  # fmt: skip
    with VideoReader(path, planes=("mv",)) as video:
        types = "".join(video.frame_types.tolist())
        frame = 30
        assert types[30] == "B"
        acc = accumulate(video, [frame])
        # P pictures before and at the next one after it, and itself: no other B picture.
        assert acc.stats.pictures_read == types[: frame + 2].count("P") + 1 + (types[31] == "B")
        parsed = video.stats.pictures_parsed
        assert parsed <= acc.stats.pictures_read + 1  # the intra picture at the most
        accumulate(video, [frame], anchors=[frame - 2])
        assert video.stats.pictures_parsed - parsed <= 4


def test_b_vops_are_refused(encode: Any) -> None:
    path = encode("acc_bvop.avi", "-c:v", "mpeg4", "-bf", "2", "-g", "12")
    with VideoReader(path, planes=("mv",)) as video:
        kinds = video.frame_types
        b = int(np.flatnonzero(kinds == "B")[0])
        p = int(np.flatnonzero(kinds == "P")[1])
        with pytest.raises(cvdecode.PlaneUnavailable, match=f"frame {b} .a B picture"):
            accumulate(video, [b])
        assert (accumulate(video, [p]).mask <= 1).all()
        assert (accumulate(video, [b], anchors=[b]).mask == 0).all()


def test_h264_by_libavcodec_is_refused(encode: Any) -> None:
    path = long_clip(encode)
    with VideoReader(path, planes=("mv",), backend="libav") as video:
        with pytest.raises(cvdecode.PlaneUnavailable, match="native"):
            accumulate(video, [5])
        # The map of pytorch-coviar never asks which picture a vector refers to.
        assert (accumulate(video, [5], mode="coviar").mask == 0).all()


@pytest.mark.parametrize("backend", ["auto", "libav", "native"])
def test_what_cannot_be_traced_says_what_helps(encode: Any, backend: Any) -> None:
    """Planes of the core have no name outside, and advice that cannot help is none."""
    wide = encode("acc_422.mp4", "-c:v", "libx264", "-pix_fmt", "yuv422p", frames=5)
    h263 = encode("acc_h263.avi", "-c:v", "h263", source="testsrc2=size=176x144", frames=5)
    refused = (cvdecode.PlaneUnavailable, cvdecode.UnsupportedStream)
    for path, reason in ((wide, "chroma_format_idc"), (h263, "H.264 only, this stream is h263")):
        for residual in (None, "coded"):
            with (
                VideoReader(path, (), backend=backend) as video,
                pytest.raises(refused) as caught,
            ):
                accumulate(video, [3], residual=residual)
            text = str(caught.value)
            assert text.startswith(f"{path}: accumulate() ")
            assert "ref_picture" not in text
            assert reason in text
            assert "transcode" in text
            if path == h263 or backend == "libav":
                assert "use backend=" not in text
    with (
        VideoReader(long_clip(encode), (), backend="libav") as video,
        pytest.raises(cvdecode.PlaneUnavailable, match='use backend="native" or "auto"') as caught,
    ):
        accumulate(video, [3])
    assert "transcode" not in str(caught.value)


def test_two_segments(encode: Any, tmp_path: Path) -> None:
    a = encode("acc_a.264", *X264, "-bf", "0", source="testsrc2=size=160x96", frames=5)
    b = encode("acc_b.264", *X264, "-bf", "0", source="testsrc2=size=96x80", frames=5)
    path = tmp_path / "two.264"
    path.write_bytes(a.read_bytes() + b.read_bytes())
    with VideoReader(path, planes=("mv",)) as video:
        assert accumulate(video, [1, 3]).displacement.shape == (2, 2, 96, 160)
        assert accumulate(video, [7, -1]).displacement.shape == (2, 2, 80, 96)
        for frames in ([3, 6], None):
            with pytest.raises(ValueError, match="at frame 5"):
                accumulate(video, frames)


def test_arguments(encode: Any) -> None:
    path = long_clip(encode)
    with VideoReader(path, planes=("mv", "ref")) as video:
        whole_video = accumulate(video)
        assert len(whole_video) == 20
        some = accumulate(video, np.array([-1, 3, 3]))
        np.testing.assert_array_equal(some.displacement, whole_video.displacement[[19, 3, 3]])
        assert some.frames.tolist() == [19, 3, 3]
        assert accumulate(video, []).displacement.shape == (0, 2, 96, 160)
        every = accumulate(video, virtual_gop=6)
        assert set(np.unique(every.anchor[np.array(every.mask) == 0])) <= {0, 6, 12, 18}
        assert not every.displacement[::6].any()
        listed = accumulate(video, anchors=range(0, 20, 6))
        np.testing.assert_array_equal(every.displacement, listed.displacement)
        np.testing.assert_array_equal(
            accumulate(video, [19], anchors=[-3]).anchor,
            accumulate(video, [19], anchors=[17]).anchor,
        )
        with pytest.raises(IndexError):
            accumulate(video, [20])
        with pytest.raises(IndexError):
            accumulate(video, [3], anchors=[20])
        for wrong in (
            {"hops": 2}, {"mode": "fast"}, {"grid": 8}, {"grid": "4"}, {"virtual_gop": 0},
            {"virtual_gop": 3, "anchors": [1]}, {"intra": "go"}, {"residual": "both"},
        ):  # fmt: skip
            with pytest.raises(ValueError, match=next(iter(wrong))):
                accumulate(video, [3], **wrong)  # type: ignore[arg-type]
        for gop in (2.5, "x", [3], float("nan")):
            with pytest.raises(TypeError, match="virtual_gop is an integer"):
                accumulate(video, [3], virtual_gop=gop)  # type: ignore[arg-type]
        with pytest.raises(AttributeError, match="residual"):
            _ = some.residual
        with pytest.raises(cvdecode.PlaneUnavailable, match="residual_y"):
            accumulate(video[0:3], residual="coded")
        clip = video[2:5]
        with pytest.raises(IndexError):
            accumulate(clip, [1])
        with pytest.raises(TypeError, match="VideoReader or a Clip"):
            accumulate(str(path))  # type: ignore[arg-type]
    with pytest.raises(cvdecode.ReaderState):
        accumulate(video, [3])


def test_memory_is_refused_before_it_is_taken(encode: Any) -> None:
    path = long_clip(encode)
    with VideoReader(path, planes=("mv",), max_bytes=1_000_000) as video:
        with pytest.raises(MemoryError, match="max_bytes"):
            accumulate(video, list(range(20)))
        one = accumulate(video, [1])
        with pytest.raises(MemoryError, match="max_bytes"):
            accumulate(video, list(range(20)), out=one)


def test_results_own_their_memory(encode: Any) -> None:
    torch = pytest.importorskip("torch")
    path = long_clip(encode)
    before = cvdecode.live_buffers()
    with VideoReader(path, planes=("mv",)) as video:
        acc = accumulate(video, [3, 4], residual="recon_diff")
    tensors = acc.torch()
    assert tensors.displacement.data_ptr() == acc.displacement.ctypes.data
    kept = acc.mask
    acc.displacement[:] = 5
    assert (tensors.displacement == 5).all()
    del acc, tensors
    assert cvdecode.live_buffers() == before + 1
    assert kept.max() <= 1
    del kept
    assert cvdecode.live_buffers() == before
    del torch


def test_memory_is_used_again(encode: Any) -> None:
    """out= gives the same values in the same place, and grows where it must."""
    path = long_clip(encode)
    with VideoReader(path, planes=("mv", "ref")) as video:
        for options in ({}, {"grid": 4}, {"residual": "recon_diff"}, {"return_hops": True}):
            want = accumulate(video, [4, 7, 3], **options)
            first = accumulate(video, [9, 8, 2], **options)
            place = first.displacement.ctypes.data
            again = accumulate(video, [4, 7, 3], out=first, **options)
            assert again.displacement.ctypes.data == place
            fewer = accumulate(video, [7], out=again, **options)
            assert fewer.displacement.ctypes.data == place
            more = accumulate(video, [4, 7, 3], out=fewer, **options)
            for name in want.planes:
                np.testing.assert_array_equal(more._arrays[name], want._arrays[name])
            larger = accumulate(video, range(19), out=more, **options)
            np.testing.assert_array_equal(larger.displacement[4], want.displacement[0])
        clip = video[0:9]
        place = larger.displacement.ctypes.data
        of_clip = accumulate(clip, out=larger, return_hops=True)
        assert of_clip.displacement.ctypes.data == place
        np.testing.assert_array_equal(of_clip.displacement[4], want.displacement[0])
        with pytest.raises(TypeError, match="out"):
            accumulate(video, [1], out=clip)  # type: ignore[arg-type]


@pytest.mark.parametrize("grid", ["pixel", 4])
def test_planes_that_were_written_to(encode: Any, grid: Any) -> None:
    """A clip is traced by what its planes say now, a video by what it is."""
    path = encode("acc_1.mp4", *X264, "-x264-params",
                  "keyint=30:bframes=2:b-adapt=0:ref=4:partitions=all:subme=9:weightb=1:scenecut=0",
                  source="mandelbrot=size=70x50:rate=25", frames=14)  # fmt: skip
    with VideoReader(path, planes=("mv", "ref", "mb_type"), backend="native") as video:
        want = accumulate(video, range(13), grid=grid)
        clip = video[0:13]
        of_clip = accumulate(clip, grid=grid)
        still = np.zeros_like(want.displacement)
        assert (of_clip.displacement != still).any()
        np.testing.assert_array_equal(of_clip.displacement, want.displacement)
        clip.mv[:, :, 0] += 4  # one sample to the left, one block after another
        clip.mv[:, :, :, 1::2, 1::2] -= 8
        scribbled = accumulate(clip, grid=grid)
        fresh = cvdecode.accumulate(video, range(13), grid=grid)
        np.testing.assert_array_equal(fresh.displacement, want.displacement)
        assert (scribbled.displacement != want.displacement).any()
        one = accumulate(clip, hops=1, grid=4)
        height, width = one.mask.shape[1:]
        mv, used = clip.mv[..., :height, :width], clip.ref[..., :height, :width] != 0
        for k in range(2):
            alone = used[:, k] & ~used[:, 1 - k] & (one.mask == 0)
            assert alone.any()
            for axis in range(2):
                got = one.displacement[:, axis]
                np.testing.assert_array_equal(got[alone], -mv[:, k, axis][alone])


def test_damaged_videos_are_traced_like_their_clips(encode: Any, tmp_path: Path) -> None:
    """What is lost breaks the same traces, whether the parser says so or the planes do."""
    made = encode("acc_cut.264", *X264, "-x264-params",
                  "keyint=30:bframes=2:b-adapt=0:ref=3:slices=4:scenecut=0",
                  source="mandelbrot=size=96x80:rate=25", frames=14)  # fmt: skip
    path = tmp_path / "cut.264"
    flip = lambda i, b: b ^ 0x2A if i % 1501 == 1400 else b  # noqa: E731
    path.write_bytes(bytes(flip(i, b) for i, b in enumerate(made.read_bytes())))
    with VideoReader(path, planes=("mv", "ref", "mb_type", "rgb")) as video:
        clip = video[:]
        part = clip.lost & (clip.mb_type != 255).any((1, 2)) & (clip.mb_type == 255).any((1, 2))
        assert part.any()
        for options in (
            {},
            {"grid": 4},
            {"hops": 1, "residual": "recon_diff"},
            {"intra": "coviar"},
        ):
            want = accumulate(clip, **options)
            got = accumulate(video, range(len(clip)), **options)
            assert (want.mask == 2).any()
            for name in want.planes:
                np.testing.assert_array_equal(got._arrays[name], want._arrays[name], f"{options}")
