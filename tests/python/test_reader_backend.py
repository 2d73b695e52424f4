"""Which backend reads what, how it is said, and that neither does needless work."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest

import cvdecode
import handmade
from conftest import Encode

H264 = ("-c:v", "libx264", "-pix_fmt", "yuv420p")
ALL = ("mv", "ref", "mb_type", "qp", "bits", "residual_y", "residual_uv")


@pytest.fixture(scope="module")
def path(encode: Encode) -> Path:
    return encode("backend.mp4", *H264, "-g", "24", "-bf", "3", frames=72)


def test_auto_prefers_native(path: Path) -> None:
    with cvdecode.VideoReader(path, (*ALL, "rgb")) as video:
        assert video.backend == {**dict.fromkeys(ALL, "native"), "rgb": "libav"}
        assert video.backend_reason == ""
    with cvdecode.VideoReader(path, backend="libav") as video:
        assert set(video.backend.values()) == {"libav"}
        assert video.backend_reason == ""
    with cvdecode.VideoReader(path, ("mv",), rgb="key", backend="native") as video:
        assert video.backend == {"mv": "native", "rgb": "libav"}


def test_auto_falls_back_and_says_why(encode: Encode) -> None:
    mbaff = encode("mbaff.mp4", *H264, "-flags", "+ilme+ildct", "-x264-params", "interlaced=1")
    with cvdecode.VideoReader(mbaff) as video:
        assert set(video.backend.values()) == {"libav"}
        assert "mb_adaptive_frame_field_flag = 1" in video.backend_reason
        assert str(mbaff) not in video.backend_reason
        video[3]
        assert set(video.backend.values()) == {"libav"}
    with pytest.raises(cvdecode.UnsupportedStream, match=r"mb_adaptive.*or .auto."):
        cvdecode.VideoReader(mbaff, backend="native")
    with pytest.raises(NotImplementedError):
        cvdecode.VideoReader(mbaff, backend="native")
    with pytest.raises(cvdecode.PlaneUnavailable, match=r"'bits'.*mb_adaptive_frame_field_flag"):
        cvdecode.VideoReader(mbaff, ("bits",))
    mpeg4 = encode("plain.avi", "-c:v", "mpeg4")
    with cvdecode.VideoReader(mpeg4) as video:
        assert "H.264 only" in video.backend_reason
    with pytest.raises(cvdecode.UnsupportedStream, match=r"H\.264 only"):
        cvdecode.VideoReader(mpeg4, backend="native")


def test_a_missing_plane_names_the_backend_that_has_it(path: Path) -> None:
    with pytest.raises(cvdecode.PlaneUnavailable, match=r"backend=.libav.*native: has it"):
        cvdecode.VideoReader(path, ("bits",), backend="libav")
    with pytest.raises(LookupError):
        cvdecode.VideoReader(path, ("bits",), backend="libav")


def test_a_refusal_advises_what_helps(encode: Encode) -> None:
    """backend="libav" is advised where it has the plane, and nowhere else."""
    mpeg4 = encode("advice.avi", "-c:v", "mpeg4")
    with pytest.raises(cvdecode.UnsupportedStream, match='use backend="libav" or "auto"'):
        cvdecode.VideoReader(mpeg4, ("mv",), backend="native")
    with pytest.raises(cvdecode.UnsupportedStream, match="transcode") as caught:
        cvdecode.VideoReader(mpeg4, ("bits",), backend="native")
    assert "use backend" not in str(caught.value)
    with pytest.raises(cvdecode.PlaneUnavailable, match="transcode") as other:
        cvdecode.VideoReader(mpeg4, ("bits",))
    assert "use backend" not in str(other.value)
    with cvdecode.VideoReader(mpeg4) as video:
        assert "use backend" not in video.backend_reason


def test_4_0_0_has_no_chroma_residual(encode: Encode) -> None:
    grey = encode("grey.mp4", "-c:v", "libx264", "-pix_fmt", "gray", frames=10)
    with pytest.raises(cvdecode.PlaneUnavailable, match="residual_uv"):
        cvdecode.VideoReader(grey, ("residual_uv",))
    assert cvdecode.read(grey, ("residual_y",)).residual_y.shape == (10, 96, 160)


def test_4_0_0_has_no_chroma_bit_depth(encode: Encode, tmp_path: Path) -> None:
    """7.4.2.1.1: bit_depth_chroma_minus8 is not used without chroma, so the same slices say the
    same. libavcodec refuses such a stream."""
    grey = encode("grey.264", *H264[:2], "-pix_fmt", "gray", "-g", "12", frames=20)
    data = grey.read_bytes()
    start = data.index(b"\0\0\0\1\x67")
    end = data.index(b"\0\0\0\1\x68")
    raw = data[start + 5 : end].replace(b"\0\0\3", b"\0\0")
    bits = "".join(f"{byte:08b}" for byte in raw).rstrip("0")[:-1]  # less rbsp_trailing_bits
    assert bits[24:28] == "1111"  # id 0, 4:0:0, 8 bits of luma and of chroma, each as ue(v)
    sps = handmade.Bits()
    sps.bits = [int(bit) for bit in bits[:27] + "011" + bits[28:]]  # 10 bits of chroma
    path = tmp_path / "grey10.264"
    path.write_bytes(data.replace(data[start:end], sps.nal(3, 7)))
    planes = ("mv", "ref", "mb_type", "qp", "bits", "residual_y")
    want, got = cvdecode.read(grey, planes), cvdecode.read(path, planes)
    assert not got.lost.any()
    assert want.mv.any()
    for plane in planes:
        np.testing.assert_array_equal(getattr(got, plane), getattr(want, plane))
    with cvdecode.VideoReader(path) as video:
        traced = cvdecode.accumulate(video, range(12))
        np.testing.assert_array_equal(
            traced.displacement, cvdecode.accumulate(want, range(12)).displacement
        )
        assert video.backend["mv"] == "native"


def test_native_parses_what_is_asked_for(path: Path) -> None:
    types = cvdecode.probe(path).frame_types
    predicted = [i for i, letter in enumerate(types) if letter == "P"]
    with cvdecode.VideoReader(path) as video:
        assert video.stats.pictures_parsed == 0
        video.get_frames_at([predicted[3], predicted[8], predicted[3]])
        assert video.stats.pictures_parsed == 2  # a P picture needs nothing but itself
        video.get_frames_at([types.index("B")])
        assert video.stats.pictures_parsed <= 2 + 4  # a B picture needs its co-located chain
        assert video.stats.pictures_decoded == 0  # and nobody needs pixels


def test_key_pixels_decode_key_frames_alone(path: Path) -> None:
    with cvdecode.VideoReader(path, ("mv",), rgb="key") as video:
        assert video[:].rgb_index.tolist() == [0, 24, 48]
        # Three key frames; what a decoder must be given to let go of each may come out too.
        assert video.stats.pictures_decoded <= 3 * 6


def digest(clip: cvdecode.Clip) -> str:
    total = hashlib.sha256()
    for name in clip.planes:
        total.update(np.ascontiguousarray(getattr(clip, name)))
    return total.hexdigest()


@pytest.mark.parametrize("backend", ["native", "libav"])
def test_threads_and_runs_do_not_matter(backend: str, path: Path) -> None:
    planes = ALL if backend == "native" else ("mv", "ref", "mb_type", "qp", "rgb")
    digests = {
        digest(cvdecode.read(path, planes, backend=backend, num_threads=threads))
        for threads in (1, 2, 4, 1, 2, 4)
    }
    assert len(digests) == 1


def test_both_backends_agree_on_the_frames(path: Path) -> None:
    native = cvdecode.read(path, ("qp",), backend="native")
    libav = cvdecode.read(path, ("qp",), backend="libav")
    for name in ("index", "pts", "frame_type", "is_key", "qp"):
        assert np.array_equal(getattr(native, name), getattr(libav, name)), name


def test_residuals_are_cropped_views(encode: Encode) -> None:
    odd = encode("odd.mp4", *H264, source="testsrc2=size=90x46:rate=25", frames=4)
    clip = cvdecode.read(odd, ("residual_y", "residual_uv"))
    assert clip.crop == (0, 0, 6, 2)
    assert clip.residual_y.shape == (4, 46, 90)
    assert clip.residual_uv.shape == (4, 2, 23, 45)
    assert clip.residual_y.strides == (96 * 48 * 2, 96 * 2, 2)
    assert clip.residual_y.base is not None
    assert clip.residual_y.flags.writeable
    torch = pytest.importorskip("torch")
    tensor = clip.torch().residual_y
    assert tensor.data_ptr() == clip.residual_y.ctypes.data
    assert torch.equal(tensor, torch.from_numpy(clip.residual_y.copy()))


@pytest.mark.parametrize(
    ("codec", "options", "qp", "scale"),
    [
        ("mpeg2video", ["-qmin", "20", "-qmax", "20"], 20, "quantiser_scale_code (1 to 31)"),
        ("mpeg4", ["-qmin", "7", "-qmax", "7"], 7, "quantiser_scale of MPEG-4 part 2 (1 to 31)"),
        # libx264 counts -qp on QP'_Y, too: trace_headers shows a QP_Y of 8 here.
        ("libx264", ["-qp", "20", "-pix_fmt", "yuv420p10le"], 20, "QP'_Y = QP_Y + 12 (0 to 63)"),
    ],
)
def test_the_scale_of_qp_is_named(
    encode: Encode, codec: str, options: list[str], qp: int, scale: str
) -> None:
    path = encode(f"scale-{codec}.mkv", "-c:v", codec, *options, "-bf", "0", frames=4)
    with cvdecode.VideoReader(path, ("qp",)) as video:
        assert video.metadata.qp_scale == scale
        assert (video[1].qp == qp).all()
