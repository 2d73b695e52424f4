"""Views and encodings: worked by hand, and against OpenCV-like arithmetic written out here."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from conftest import Encode
from cvdecode.data import (
    NORMALISERS,
    CompressedVideoDataset,
    Crops,
    Draw,
    FullFrame,
    MultiScaleCrop,
    RandomCrop,
    Window,
    encode_mv,
    encode_residual,
    normalise,
)
from cvdecode.data._resample import bilinear, cut, nearest


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def literal_bilinear(plane: np.ndarray, height: int, width: int) -> np.ndarray:
    """Sample centres at half samples, edges repeated: one pixel at a time, float64."""
    h, w = plane.shape
    out = np.zeros((height, width))
    for j in range(height):
        for i in range(width):
            y = min(max((j + 0.5) * h / height - 0.5, 0), h - 1)
            x = min(max((i + 0.5) * w / width - 0.5, 0), w - 1)
            y0, x0 = int(y), int(x)
            y1, x1 = min(y0 + 1, h - 1), min(x0 + 1, w - 1)
            fy, fx = y - y0, x - x0
            top = plane[y0, x0] * (1 - fx) + plane[y0, x1] * fx
            low = plane[y1, x0] * (1 - fx) + plane[y1, x1] * fx
            out[j, i] = top * (1 - fy) + low * fy
    return out


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.float32])
@pytest.mark.parametrize("channels", [2, 3])
def test_bilinear_is_the_formula(dtype: Any, channels: int) -> None:
    planes = rng().integers(0, 255, (2, channels, 20, 31)).astype(dtype)
    window = Window((3, 2, 24, 16), (12, 30), (10, 20), ((5, 1, False), (2, 0, True)))
    crops = bilinear(cut(planes, window), window)
    for n in range(2):
        for c in range(channels):
            whole = literal_bilinear(planes[n, c, 2:18, 3:27].astype(np.float64), 12, 30)
            # torch rounds bytes after each of its two passes.
            tolerance = {np.uint8: 1.01, np.int16: 0.501, np.float32: 1e-3}[dtype]
            first, second = crops[0][n, c].numpy(), crops[1][n, c].numpy()
            assert np.abs(first - whole[1:11, 5:25]).max() <= tolerance
            assert np.abs(second - whole[0:10, 2:22][:, ::-1]).max() <= tolerance
    assert crops[0].dtype == torch.from_numpy(planes).dtype


def test_nearest_takes_the_cell_under_the_centre() -> None:
    # 3 x 4 cells of 16 samples of a picture of 60 x 44, cropped by (4, 2) at the left and top.
    cells = np.arange(12).reshape(3, 4)
    whole = Window((0, 0, 60, 44), (44, 60), (44, 60), ((0, 0, False),))
    # Cell centres at 8, 24, 40, 54 plus 4, in source cells 0, 1, 2, 3; 8, 24, 38 plus 2: 0, 1, 2.
    assert np.array_equal(nearest(cells, 16, (4, 2), whole)[0], cells)
    # The box (16, 0) of 32 x 32 twice as large: 64 x 64 in 4 x 4 cells, centres at 8, 24, 40, 56
    # of it, that is at 4, 12, 20, 28 of the box: x at 20 to 44, plus 4: cells 1, 2, 2, 3.
    window = Window((16, 0, 32, 32), (64, 64), (64, 64), ((0, 0, False), (0, 0, True)))
    rows = [0, 0, 1, 1]  # y at 4, 12, 20, 28, plus 2: 6, 14, 22, 30
    expected = cells[rows][:, [1, 2, 2, 3]]
    found = nearest(cells, 16, (4, 2), window)
    assert np.array_equal(found[0], expected)
    assert np.array_equal(found[1], expected[:, ::-1])


def test_multi_scale_crop() -> None:
    view = MultiScaleCrop(224)
    sizes, offsets, flips = set(), set(), 0
    generator = rng(1)
    for _ in range(2000):
        window = view(340, 256, generator)
        x, y, w, h = window.box
        sizes.add((w, h))
        offsets.add((w, h, x == 0, x == 340 - w))
        assert 0 <= x <= 340 - w
        assert 0 <= y <= 256 - h
        assert window.resized == window.size == (224, 224)
        flips += window.crops[0][2]
    # 256 x (1, .875, .75) = 256, 224, 192; pairs at most one step apart.
    sides = [256, 224, 192]
    assert sizes == {
        (a, b) for i, a in enumerate(sides) for j, b in enumerate(sides) if abs(i - j) <= 1
    }
    assert {edges[2:] for edges in offsets} >= {(True, False), (False, True)}
    assert 850 < flips < 1150
    # A side less than 3 from the output becomes it: 258 * 0.875 = 225.75 -> 225 -> 224.
    boxes = {MultiScaleCrop(224, (0.875,))(300, 258, generator).box[2:] for _ in range(5)}
    assert boxes == {(224, 224)}
    assert MultiScaleCrop(224, (1.0, 0.875, 0.75, 0.66), flip=1.0)(340, 256, generator).crops[0][2]


def test_test_crops() -> None:
    ten = Crops(10, 224, (256, 256))(340, 256, rng())
    assert ten.box == (0, 0, 340, 256)
    assert ten.resized == (256, 256)
    # (256 - 224) // 4 = 8
    five = [(0, 0), (32, 0), (0, 32), (32, 32), (16, 16)]
    assert ten.crops == (*((x, y, False) for x, y in five), *((x, y, True) for x, y in five))
    assert Crops(5, 224, (256, 256))(340, 256, rng()).crops == ten.crops[:5]
    assert Crops(1)(340, 256, rng()).crops == ((16, 16, False),)
    # The shorter side to 256: 340 x 256 stays, crops of 256 at 0, 42 and 84.
    three = Crops(3, 256, 256)(340, 256, rng())
    assert three.resized == (256, 340)
    assert three.crops == ((0, 0, False), (42, 0, False), (84, 0, False))
    tall = Crops(3, 128, 128)(180, 320, rng())
    assert tall.resized == (228, 128)  # 320 * 128 / 180 = 227.6
    assert tall.crops == ((0, 0, False), (0, 50, False), (0, 100, False))
    with pytest.raises(ValueError, match="do not fit"):
        Crops(5, 224, 200)
    with pytest.raises(ValueError, match="1, 3, 5 and 10"):
        Crops(4)


def test_random_crop() -> None:
    view, generator = RandomCrop(4, (6, 5), flip=0.25), np.random.default_rng(2)
    windows = [view(340, 256, generator) for _ in range(400)]
    assert {w.box for w in windows} == {(0, 0, 340, 256)}  # squashed, not cut
    assert {w.resized for w in windows} == {(6, 5)}
    # 6 rows leave 0 to 2 above, 5 columns 0 or 1 at the left.
    assert {w.crops[0][:2] for w in windows} == {(x, y) for x in (0, 1) for y in (0, 1, 2)}
    assert 65 < sum(w.crops[0][2] for w in windows) < 135
    assert RandomCrop(128, 128)(180, 320, generator).resized == (228, 128)
    with pytest.raises(ValueError, match="do not fit"):
        RandomCrop(224, 200)


def test_mv_encodings_by_hand() -> None:
    # Quarter samples of x and y: 0, 1 px, -1 px, 20 px, -20 px, 21 px, -40 px, 0.25 px, -0.25 px
    q = np.array([0, 4, -4, 80, -80, 84, -160, 1, -1], np.int16)
    vectors = np.stack([q, q])[:, None]
    # trunc(d * 6.375) + 128
    coviar = [128, 134, 122, 255, 1, 255, 0, 129, 127]
    assert encode_mv(vectors, "coviar_u8")[0, 0].tolist() == coviar
    assert encode_mv(vectors.astype(np.float32), "coviar_u8")[1, 0].tolist() == coviar
    # floor(d * 6.375 + 128)
    assert encode_mv(vectors, "dmc_u8")[0, 0].tolist() == [128, 134, 121, 255, 0, 255, 0, 129, 126]
    assert np.array_equal(encode_mv(vectors, "float_px")[0, 0], q / 4)
    wh = encode_mv(vectors, "norm_wh", size=(320, 240))
    assert np.allclose(wh[0, 0], q / 4 / 320 / 0.0993703 / 10)
    assert np.allclose(wh[1, 0], q / 4 / 240 / 0.1130276 / 10)
    assert encode_mv(vectors, "int16") is vectors
    twice = encode_mv(vectors, "int16", scale=(2.0, 0.5))
    assert twice[0, 0].tolist() == (q * 2).tolist()
    assert twice[1, 0].tolist() == np.rint(q / 2).tolist()
    with pytest.raises(ValueError, match="coviar_u8"):
        encode_mv(vectors, "jpeg")


def test_coviar_encoding_is_the_published_formula_for_every_value() -> None:
    q = np.arange(65536, dtype=np.uint16).view(np.int16).reshape(1, 1, 256, 256).repeat(2, 1)
    whole = (q[0, 0] / 4 * (127.5 / 20)).astype(np.int32) + 128
    expected = np.minimum(np.maximum(whole, 0), 255).astype(np.uint8)
    assert np.array_equal(encode_mv(q, "coviar_u8")[0, 0], expected)
    residual = q[0, 0].astype(np.int32) + 128
    expected = np.minimum(np.maximum(residual, 0), 255).astype(np.uint8)
    assert np.array_equal(encode_residual(q, "coviar_u8")[0, 0], expected)
    assert encode_residual(q, "float32").dtype == np.float32
    with pytest.raises(ValueError, match="int16"):
        encode_residual(q, "dmc_u8")


def test_normalisers_by_hand() -> None:
    x = torch.tensor([0, 128, 255], dtype=torch.uint8).reshape(1, 3, 1, 1)
    found = normalise(x, "imagenet").flatten().tolist()
    expected = [-0.485 / 0.229, (128 / 255 - 0.456) / 0.224, (1 - 0.406) / 0.225]
    assert found == pytest.approx(expected, abs=1e-6)
    found = normalise(x, "mfnet").flatten().tolist()
    expected = [-124 * 0.0167, (128 - 117) * 0.0167, (255 - 104) * 0.0167]
    assert found == pytest.approx(expected, abs=1e-5)
    found = normalise(x[:, :2], "centre").flatten().tolist()
    assert found == pytest.approx([-0.5, 128 / 255 - 0.5], abs=1e-6)
    assert normalise(x[:, :2], "dmc")[0, 0, 0, 0].item() == pytest.approx(-0.5 / 0.226)
    assert set(NORMALISERS) == {"imagenet", "clip", "mfnet", "centre", "coviar_residual", "dmc"}
    with pytest.raises(ValueError, match="imagenet"):
        normalise(x, "zscore")


def moving(encode: Encode) -> Any:
    """IBBPBBP...: frame 10 is a B-frame."""
    return encode(
        "data_flip.mp4", "-c:v", "libx264", "-g", "24", "-bf", "2",
        "-x264-params", "b-adapt=0", "-pix_fmt", "yuv420p",
        source="mandelbrot=size=160x96:rate=25:start_scale=0.5:end_scale=0.01:end_pts=60",
        frames=24,
    )  # fmt: skip


class Whole:
    """One frame, a fixed window."""

    def __init__(self, window: Window) -> None:
        self.window = window
        self.num_crops = len(window.crops)
        self.size = window.size

    def __call__(self, width: int, height: int, generator: object) -> Window:
        return self.window


def draw(gops: object, generator: object) -> Draw:
    return Draw(np.array([10], np.int64), np.array([0], np.int64))


def test_mirroring_negates_x_in_every_list_and_no_y(encode: Encode) -> None:
    path = moving(encode)
    box = (0, 0, 160, 96)
    both = Whole(Window(box, (96, 160), (96, 160), ((0, 0, False), (0, 0, True))))

    def read(**options: Any) -> dict[str, Any]:
        return CompressedVideoDataset([path], draw, ("mv",), both, **options)[0]

    sign = torch.tensor([-1, 1]).reshape(2, 1, 1)
    coded = read(motion="coded")
    plain, mirrored = coded["mv"]
    assert (plain[:, 0].any(), plain[:, 1].any()) == (True, True)  # both lists are in use
    assert torch.equal(mirrored, plain.flip(-1) * sign)
    assert torch.equal(coded["ref"][1], coded["ref"][0].flip(-1))
    for options in ({"encoding": "int16"}, {"encoding": "float_px"}, {"mv_grid": 4}):
        found = read(**{"encoding": "int16", **options})["mv"]
        assert found[0].any()
        assert torch.equal(found[1], found[0].flip(-1) * sign)


def test_all_modalities_show_the_same_part(encode: Encode) -> None:
    path = moving(encode)
    names = ("rgb", "mv", "residual", "mask", "qp")
    whole = CompressedVideoDataset([path], draw, names, encoding="int16")[0]
    window = Window((32, 16, 64, 64), (64, 64), (64, 64), ((0, 0, True),))
    part = CompressedVideoDataset([path], draw, names, Whole(window), "int16")[0]
    for name in ("rgb", "residual", "mask"):
        expected = whole[name][..., 16:80, 32:96].flip(-1)
        assert torch.equal(part[name], expected), name
    assert torch.equal(part["mv"][:, 1], whole["mv"][:, 1, 16:80, 32:96].flip(-1))
    assert torch.equal(part["qp"], whole["qp"][:, 1:5, 2:6].flip(-1))


def test_vectors_keep_their_values_unless_told_otherwise(encode: Encode) -> None:
    path = moving(encode)
    view = FullFrame((48, 320))  # half as high, twice as wide
    options: dict[str, Any] = {"encoding": "float_px"}
    kept = CompressedVideoDataset([path], draw, ("mv",), view, **options)[0]["mv"]
    scaled = CompressedVideoDataset([path], draw, ("mv",), view, scale_values=True, **options)[0]
    assert kept.shape == (1, 2, 48, 320)
    assert kept.any()
    assert torch.allclose(scaled["mv"][:, 0], kept[:, 0] * 2)
    assert torch.allclose(scaled["mv"][:, 1], kept[:, 1] / 2)
