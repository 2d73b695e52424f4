"""What the libav backend says of frames that it cannot vouch for, and its pixels."""

from __future__ import annotations

import itertools
import re
from pathlib import Path

import av
import numpy as np
import pytest
from numpy.typing import NDArray

import libav_probe as lp
from cvdecode import _core

NAMES = ("mv", "ref", "mb_type", "qp")
SOURCE = ["-f", "lavfi", "-i", "testsrc2=size=112x96:rate=25,noise=alls=12:all_seed=3"]


def _is_lost(row: dict[str, NDArray[np.int64]]) -> bool:
    """Every plane of the row holds its "none" values, and the row is marked."""
    return (
        bool(row["lost"])
        and not row["mv"].any()
        and not row["ref"].any()
        and bool((row["mb_type"] == lp.LOST).all())
        and bool((row["qp"] == lp.QP_NONE).all())
    )


def _vops(packet: bytes) -> list[tuple[int, int]]:
    """(vop_coding_type, size) of each VOP of an MPEG-4 packet."""
    starts = [m.start() for m in re.finditer(rb"\x00\x00\x01\xb6", packet)] + [len(packet)]
    return [
        (packet[a + 4] >> 6, b - a) for a, b in itertools.pairwise(starts)
    ]  # fmt: skip


def _check_packed(path: Path) -> None:
    clip = lp.Clip(path)
    with av.open(str(path)) as container:
        vops = [v for p in container.demux(video=0) for v in _vops(bytes(p))]
    coded = [kind for kind, size in vops if size > 8]
    assert [p["type"] for p in clip.pictures] == ["IPBP"[kind] for kind in coded]
    frames = lp.pyav_frames(path)
    rows = clip.read(list(range(len(clip.pictures))), *NAMES)
    withheld = clip.withheld()
    assert len(clip.pictures) == len(frames) + len(withheld)
    assert all(_is_lost(rows[i]) for i in withheld)
    order = [i for i in clip.output_order if i not in withheld]
    for i, frame in zip(order, frames, strict=True):
        assert clip.pictures[i]["type"] == frame.kind
        if frame.qp is None:
            assert _is_lost(rows[i])
        else:
            np.testing.assert_array_equal(rows[i]["qp"], frame.qp_plane(rows[i]["qp"].shape) // 2)


def test_packed_b_vops_of_a_real_file(data_dir: Path) -> None:
    """165 VOPs; the last B-VOP is packed and nothing closes it, so libavcodec gives 164 frames."""
    path = data_dir / "mpeg4/test.avi"
    _check_packed(path)
    clip = lp.Clip(path)
    assert len(clip.pictures) == 165
    rows = clip.read([162, 163, 164], *NAMES)
    assert clip.withheld() == {164}
    assert clip.pictures[164]["type"] == "B"
    assert not rows[162]["lost"]


def test_packed_b_vops_with_one_b(tmp_path: Path) -> None:
    """I and P packed with the B that follows, an empty VOP for each: made from a plain stream."""
    plain = tmp_path / "plain.avi"
    options = ["-c:v", "mpeg4", "-bf", "1", "-b_strategy", "0", "-g", "12", "-q:v", "4"]
    lp.ffmpeg(*SOURCE, "-frames:v", "15", *options, str(plain))
    clip = lp.Clip(plain)
    packets = [_core._Demuxer(str(plain))]
    packets[0].scan()
    data = [packets[0].read_packet(n)["data"] for n in range(len(packets[0]))]
    user_data = b"\0\0\1\xb2DivX503b1393p\0"  # how libavcodec knows that VOPs are packed
    out, pictures, n = [], [], 0
    while n < len(data):
        pair = n + 1 < len(data) and clip.pictures[n + 1]["type"] == "B"
        for k in (n, n + 1) if pair else (n,):
            pictures.append({**clip.pictures[k], "first_packet": len(out)})
        where = data[n].find(b"\0\0\1\xb6")
        out.append(data[n][:where] + user_data + data[n][where:] + (data[n + 1] if pair else b""))
        if pair:
            # vop_coding_type P, no modulo, marker, 5 bits of time, marker, vop_coded 0
            out.append(b"\0\0\1\xb6\x50\x7f")
        n += 2 if pair else 1
    for p in pictures:
        p.update(last_packet=p["first_packet"], type="?IPB".index(p["type"]))
    geometry = {"coded_width": 112, "coded_height": 96}
    info = {"codec": "mpeg4", "codec_id": 12, "width": 112, "height": 96}
    probe = _core.LibavProbe(info, out, pictures, geometry)
    rows = probe.read(list(range(len(pictures))), lp.mask("qp", "rgb"))
    expected = clip.read(list(range(len(pictures))), "rgb")
    given = [
        i for i in range(len(pictures)) if "picture lost" not in probe.stats()["damage"].get(i, "")
    ]
    assert len(given) >= len(pictures) - 1
    for i in given:
        np.testing.assert_array_equal(rows["rgb"][i], expected[i]["rgb"])


@pytest.mark.parametrize(
    ("name", "codec"), [("a.mp4", "mpeg4"), ("b.mpg", "mpeg2video"), ("c.mpg", "mpeg1video")]
)
def test_the_frame_at_flush_is_lost_not_still(name: str, codec: str, tmp_path: Path) -> None:
    path = tmp_path / name
    lp.ffmpeg(*SOURCE, "-frames:v", "13", "-c:v", codec, "-bf", "2", "-g", "12", str(path))
    clip = lp.Clip(path)
    rows = clip.read(list(range(len(clip.pictures))), *NAMES, "rgb")
    last = clip.output_order[-1]
    assert [i for i, r in rows.items() if r["lost"]] == [last]
    assert _is_lost(rows[last])
    frames = lp.pyav_frames(path, rgb=True)
    np.testing.assert_array_equal(rows[last]["rgb"].transpose(1, 2, 0), frames[-1].rgb)
    assert "at the end" in clip.probe.stats()["damage"][last]
    # Its pixels are whole: asked for alone, nothing is lost.
    assert not clip.read([last], "rgb")[last]["lost"]


def test_a_frame_without_inter_macroblocks_is_not_lost(tmp_path: Path) -> None:
    """P-VOPs in which every macroblock is intra have no vectors, and are known all the same."""
    frames = np.full((6, 96 * 112 * 3 // 2), 90, np.uint8)
    noise = np.random.default_rng(0).integers(16, 236, frames[::2].shape, np.uint8)
    frames[::2] = noise  # nothing in a flat frame is like the noise before it
    raw = frames.tobytes()
    path = tmp_path / "noise.avi"
    source = ["-f", "rawvideo", "-pix_fmt", "yuv420p", "-s", "112x96", "-r", "25", "-i", "-"]
    options = ["-c:v", "mpeg4", "-q:v", "2", "-g", "100", "-sc_threshold", "1000000000"]
    lp.ffmpeg(*source, *options, str(path), data=raw)
    clip = lp.Clip(path)
    given = lp.pyav_frames(path)
    rows = clip.read(list(range(6)), *NAMES)
    silent = [i for i in range(6) if given[i].kind == "P" and given[i].vectors is None]
    assert silent
    for i in silent:
        assert not rows[i]["lost"]
        assert not rows[i]["ref"].any()
        assert (rows[i]["mb_type"] == lp.INTRA).all()
        assert (rows[i]["qp"] > 0).all()


def _slices(path: Path) -> list[bytes]:
    starts = [m.start() for m in re.finditer(b"\0\0\1", path.read_bytes())]
    data = path.read_bytes()
    return [data[a:b] for a, b in zip(starts, [*starts[1:], len(data)], strict=True)]


def test_a_lost_slice_loses_the_row(tmp_path: Path) -> None:
    """libavcodec conceals what is missing and exports vectors that no encoder wrote."""
    whole, cut = tmp_path / "whole.264", tmp_path / "cut.264"
    params = "slices=4:keyint=8:bframes=0"
    options = ["-c:v", "libx264", "-x264-params", params, "-pix_fmt", "yuv420p"]
    lp.ffmpeg(*SOURCE, "-frames:v", "12", *options, str(whole))
    units = _slices(whole)
    coded = [k for k, u in enumerate(units) if u[3] & 31 in (1, 5)]
    del units[coded[5 * 4 + 2]]  # the third slice of the sixth picture
    cut.write_bytes(b"".join(b"\0" + u for u in units))
    clip = lp.Clip(cut)
    assert len(clip.pictures) == 12
    rows = clip.read(list(range(12)), *NAMES, "rgb")
    assert _is_lost(rows[5])
    assert rows[5]["rgb"].any()  # the pixels are given
    assert "decode_error_flags" in clip.probe.stats()["damage"][5]
    reference = lp.Clip(whole).read(list(range(12)), *NAMES)
    for i in (0, 1, 2, 3, 4, 8, 9, 10, 11):
        assert not rows[i]["lost"]
        for name in NAMES:
            np.testing.assert_array_equal(rows[i][name], reference[i][name])


def _h264_packets() -> tuple[dict[str, object], list[bytes], list[dict[str, int]]]:
    stream = lp.ffmpeg(
        *SOURCE, "-frames:v", "10", "-c:v", "libx264", "-bf", "0", "-g", "5", "-pix_fmt", "yuv420p",
        "-x264-params", "aud=1:scenecut=0", "-f", "h264", "-",
    )  # fmt: skip
    packets = [b"\0\0\0\1\x09" + p for p in stream.split(b"\0\0\0\1\x09")[1:]]
    assert len(packets) == 10
    info = {"codec": "h264", "codec_id": 27, "width": 112, "height": 96}
    pictures = [
        {
            "first_packet": n, "order": n, "presentation": n, "decode_start": n // 5 * 5,
            "type": 1 if n % 5 == 0 else 2, "all_intra": n % 5 == 0, "is_reference": 1,
        }
        for n in range(10)
    ]  # fmt: skip
    return info, packets, pictures


def test_packets_that_are_no_pictures() -> None:
    """Nonsense, an empty packet, half a packet: rows are lost, the others are what they are."""
    info, packets, pictures = _h264_packets()
    geometry = {"coded_width": 112, "coded_height": 96}
    everything = list(range(10))
    good = _core.LibavProbe(info, packets, pictures, geometry).read(everything, lp.mask(*NAMES))
    assert not good["lost"].any()
    broken = list(packets)
    broken[3] = b""
    broken[7] = bytes(range(256)) * 8
    broken[9] = packets[9][: len(packets[9]) // 2]
    probe = _core.LibavProbe(info, broken, pictures, geometry)
    out = probe.read(everything, lp.mask(*NAMES))
    damage = probe.stats()["damage"]
    for i in (3, 7):
        assert _is_lost({n: p[i] for n, p in out.items()})
        assert "picture lost" in damage[i]
    assert out["lost"][9]
    # The next frame that comes out says that the picture before it never will.
    alone = _core.LibavProbe(info, broken, pictures, geometry)
    assert alone.read([3], lp.mask("mv"))["lost"].all()
    assert alone.stats()["packets_read"] <= 5
    assert not out["lost"][[0, 1, 2, 5]].any()
    for name in NAMES:
        np.testing.assert_array_equal(out[name][[0, 1, 2, 5]], good[name][[0, 1, 2, 5]])


def test_an_index_that_disagrees_with_the_stream() -> None:
    """Rows are the clip's size: a frame of another size gives no pixels, and blocks are clipped."""
    info, packets, pictures = _h264_packets()
    for width, height in ((64, 48), (320, 240)):
        geometry = {"coded_width": width, "coded_height": height}
        probe = _core.LibavProbe(info, packets, pictures, geometry)
        out = probe.read(list(range(10)), lp.mask(*NAMES, "rgb"))
        assert out["lost"].all()
        assert not out["rgb"].any()
        assert all("112x96" in why for why in probe.stats()["damage"].values())
        out = probe.read([0, 1], lp.mask("mv", "qp"))
        assert out["mv"].shape == (2, 2, 2, height // 4, width // 4)


def test_planes_that_libav_lacks(tmp_path: Path) -> None:
    """Asking raises PlaneUnavailable, and the reason says who has the plane."""
    path = tmp_path / "clip.mp4"
    lp.ffmpeg(
        *SOURCE, "-frames:v", "3", "-c:v", "libx265", "-x265-params", "log-level=none", str(path)
    )
    clip = lp.Clip(path)
    for name in ("mv", "ref", "mb_type", "qp", "ref_picture"):
        assert "hevc" in clip.probe.why_not(lp.PLANES[name])
        with pytest.raises(_core.PlaneUnavailable, match="libavcodec exports no"):
            clip.probe.read([0], lp.mask(name))
    assert clip.available("rgb") == ("rgb",)
    h264 = {"codec": "h264", "codec_id": 27}
    geometry = {"coded_width": 16, "coded_height": 16}
    probe = _core.LibavProbe(h264, [], [], geometry)
    for bits_or_residual in (4, 5, 6):
        assert "native" in probe.why_not(bits_or_residual)
    assert "native" in probe.why_not(lp.PLANES["ref_picture"])
    h263 = _core.LibavProbe({"codec": "h263", "codec_id": 4}, [], [], geometry)
    assert not h263.why_not(lp.PLANES["mv"])
    assert not h263.why_not(lp.PLANES["qp"])
    assert "h263" in h263.why_not(lp.PLANES["ref"])
    nothing = _core.LibavProbe({"codec": "mystery", "codec_id": 999999}, [], [], geometry)
    assert "without a decoder" in nothing.why_not(lp.PLANES["rgb"])


def test_absurd_sizes_are_refused(tmp_path: Path) -> None:
    """Headers that promise 65000x65000 cost no memory: libavcodec is given a limit."""
    packet = lp.ffmpeg(
        "-f", "lavfi", "-i", "testsrc2=size=64x64:rate=25", "-frames:v", "1", "-c:v", "mjpeg",
        "-f", "image2pipe", "-",
    )  # fmt: skip
    at = packet.index(b"\xff\xc0")
    packet = packet[: at + 5] + (65000).to_bytes(2, "big") * 2 + packet[at + 9 :]
    info = {"codec": "mjpeg", "codec_id": 7, "width": 64, "height": 64}
    probe = _core.LibavProbe(
        info, [packet], [{"first_packet": 0}], {"coded_width": 64, "coded_height": 64}
    )
    out = probe.read([0], lp.mask("rgb"))
    assert out["lost"].all()
    assert probe.stats()["pictures_decoded"] == 0


PIXELS = {
    "plain.mp4": ["-c:v", "libx264", "-pix_fmt", "yuv420p"],
    "odd_width.mp4": ["-c:v", "libx264", "-pix_fmt", "yuv420p", "-vf", "crop=98:90"],
    "narrow.mp4": ["-c:v", "libx264", "-pix_fmt", "yuv420p", "-vf", "crop=34:34"],
    "full.mp4": ["-c:v", "libx264", "-pix_fmt", "yuvj420p"],
    "bt709.mp4": ["-c:v", "libx264", "-pix_fmt", "yuv420p", "-colorspace", "bt709"],
    "444.mp4": ["-c:v", "libx264", "-pix_fmt", "yuv444p"],
    "422.mp4": ["-c:v", "libx264", "-pix_fmt", "yuv422p", "-vf", "crop=102:90"],
    "grey.mp4": ["-c:v", "libx264", "-pix_fmt", "gray"],
    "10bit.mp4": ["-c:v", "libx264", "-pix_fmt", "yuv420p10le"],
    "mpeg2.mpg": ["-c:v", "mpeg2video", "-vf", "crop=106:90"],
    "rgb.mkv": ["-c:v", "libx264rgb", "-pix_fmt", "rgb24"],
}


@pytest.mark.parametrize("name", PIXELS)
def test_pixels_are_those_of_the_ffmpeg_program(name: str, tmp_path: Path) -> None:
    """The same libswscale, bilinear, through another program: equal to the last bit."""
    path = tmp_path / name
    lp.ffmpeg(*SOURCE, "-frames:v", "4", *PIXELS[name], str(path))
    clip = lp.Clip(path)
    rows = clip.read(clip.index["presentation"], "rgb")
    shape = next(iter(rows.values()))["rgb"].shape
    how = ["-vf", "scale=flags=bilinear", "-pix_fmt", "rgb24", "-f", "rawvideo", "-"]
    raw = lp.ffmpeg("-i", str(path), *how)
    expected = np.frombuffer(raw, np.uint8).reshape(-1, shape[1], shape[2], 3)
    assert len(expected) == len(rows) == 4
    for i, frame in zip(clip.index["presentation"], expected, strict=True):
        np.testing.assert_array_equal(rows[i]["rgb"].transpose(1, 2, 0), frame)


def test_pixels_are_torchcodecs(data_dir: Path) -> None:
    decoders = pytest.importorskip("torchcodec.decoders", reason="torchcodec is not installed")
    for name in (
        "h264/demo.mp4",
        "h264/carphone_pristine.mp4",
        "mpeg4/MPEG4.mp4",
        "h264/again.mkv",
    ):
        path = data_dir / name
        other = decoders.VideoDecoder(str(path), seek_mode="exact")
        clip = lp.Clip(path)
        some = [0, 7, 20]
        presented = [clip.index["presentation"][k] for k in some]
        rows = clip.read(presented, "rgb")
        for k, picture in zip(some, presented, strict=True):
            np.testing.assert_array_equal(rows[picture]["rgb"], other[k].numpy())


def test_crop_follows_the_headers(data_dir: Path) -> None:
    """A stream coded 352x288 that shows 300x168 from an offset that is no multiple of 16."""
    path = data_dir / "h264-conformance/CVFC1_Sony_C.jsv"
    clip = lp.Clip(path)
    rows = clip.read([0, 1], "rgb", "mv")
    assert rows[0]["rgb"].shape == (3, 168, 300)
    assert rows[0]["mv"].shape[-2:] == (288 // 4, 352 // 4)
    frames = lp.pyav_frames(path, 3, rgb=True)
    for i in (0, 1):
        np.testing.assert_array_equal(rows[i]["rgb"].transpose(1, 2, 0), frames[i].rgb)
