"""cvdecode.enhance: networks layer by layer, motion and warping, streaming."""

from __future__ import annotations

import io
import subprocess
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import cvdecode
from cvdecode import enhance
from cvdecode.study import motion


@pytest.fixture(autouse=True)
def seed() -> None:
    torch.manual_seed(0)


def sizes(module: nn.Module) -> list[int]:
    """Parameters of each convolution or linear layer, in order, biases included."""
    return [
        sum(p.numel() for p in m.parameters())
        for m in module.modules()
        if isinstance(m, (nn.Conv2d, nn.Linear))
    ]


# --- sizes, worked by hand: in * out * 9 + out ---------------------------------------------------

FNET = [
    *(608, 9_248, 18_496, 36_928, 73_856, 147_584),  # 2-32-32, 32-64-64, 64-128-128
    *(295_168, 590_080),  # 128-256-256
    *(442_496, 147_584),  # 256 + 128 skipped = 384-128-128
    *(110_656, 36_928),  # 128 + 64 = 192-64-64
    *(27_680, 578),  # 64 + 32 = 96-32, 32-2
]
BLOCK = [36_928, 36_928]  # 64-64


def test_sizes_of_the_papers_networks() -> None:
    with torch.device("meta"):
        recurrent = enhance.FrameRecurrent()
        single = enhance.FrameByFrame()
        window = enhance.MultiFrame()
        vectors = enhance.FrameRecurrent(flow_width=None)
    assert sizes(recurrent.fnet) == FNET  # type: ignore[arg-type]
    assert sizes(recurrent.enet) == [1_216, *BLOCK * 10, 577]
    assert sizes(window) == [*FNET, 1_792, *BLOCK * 10, 577]
    assert sizes(single) == [640, *BLOCK * 36, 577]
    assert sizes(vectors) == [1_216, *BLOCK * 10, 577]
    whole = {name: sum(sizes(net)) for name, net in
             (("recurrent", recurrent), ("single", single), ("window", window))}  # fmt: skip
    assert whole == {"recurrent": 2_678_243, "single": 2_660_033, "window": 2_678_819}
    # No parameters elsewhere.
    assert sum(p.numel() for p in recurrent.parameters()) == whole["recurrent"]


def test_sizes_of_the_small_networks() -> None:
    count = {
        kind: sum(p.numel() for p in enhance.small_enhancer(kind).parameters())
        for kind in ("frame", "window", "recurrent", "vectors")
    }
    # ENet: 2 * 16 * 9 + 16 = 304; blocks 2 (16 * 16 * 9 + 16) = 4,640; last 145. FNet: 121,594.
    assert count["vectors"] == 304 + 4 * 4_640 + 145
    assert count["recurrent"] == count["vectors"] + 121_594
    assert count["window"] == count["recurrent"] + 16 * 9
    assert count["frame"] == 160 + 30 * 4_640 + 145
    with pytest.raises(ValueError, match="frame, window, recurrent or vectors"):
        enhance.small_enhancer("b")  # type: ignore[arg-type]


@pytest.mark.parametrize(("size", "linear"), [(128, 819_300), (96, 460_900)])
def test_sizes_of_the_discriminator(size: int, linear: int) -> None:
    with torch.device("meta"):
        judge = enhance.Discriminator(size)
    # 3x3 of stride 1 (9 in out) and 4x4 of stride 2 (16 out out); only the first has a bias.
    assert sizes(judge) == [
        *(640, 65_536, 73_728, 262_144, 294_912, 1_048_576),
        *(1_179_648, 4_194_304, 2_359_296, 4_194_304, linear, 101),
    ]
    norms = [m.num_features for m in judge.modules() if isinstance(m, nn.BatchNorm2d)]
    assert norms == [64, 128, 128, 256, 256, 512, 512, 512, 512]
    narrow = enhance.Discriminator(size, 2)
    assert narrow(torch.rand(2, 1, size, size)).shape == (2, 1)
    with pytest.raises(ValueError, match="not 64 x 32"):
        narrow(torch.rand(2, 1, 32, 64))
    with pytest.raises(ValueError, match="multiple of 32"):
        enhance.Discriminator(100)


def test_vgg_is_the_published_one_up_to_conv5_4() -> None:
    with torch.device("meta"):
        phi = enhance.VGG19Features()
    names = [name for name, _ in phi.named_parameters() if name.endswith("weight")]
    # Places of the convolutions in torchvision's vgg19().features.
    places = [0, 2, 5, 7, 10, 12, 14, 16, 19, 21, 23, 25, 28, 30, 32, 34]
    assert names == [f"features.{i}.weight" for i in places]
    # All of VGG-19, 143,667,240, less its linear layers.
    linear = 25_088 * 4_096 + 4_096 + 4_096 * 4_096 + 4_096 + 4_096 * 1_000 + 1_000
    assert sum(p.numel() for p in phi.parameters()) == 143_667_240 - linear
    assert isinstance(phi.features[-1], nn.Conv2d), "before activation"
    assert sum(isinstance(m, nn.MaxPool2d) for m in phi.features) == 4
    assert not phi.training
    assert not any(p.requires_grad for p in phi.parameters())


def test_vgg_takes_torchvisions_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(enhance.VGG19Features, "WIDTHS", ((4,), (5,)))
    phi = enhance.VGG19Features()
    weights = {
        "features.0.weight": torch.randn(4, 3, 3, 3), "features.0.bias": torch.randn(4),
        "features.3.weight": torch.randn(5, 4, 3, 3), "features.3.bias": torch.randn(5),
        "classifier.0.weight": torch.randn(2, 2),
    }  # fmt: skip
    phi.load(weights)
    luma = torch.rand(2, 1, 8, 8)
    mean = torch.tensor([0.485, 0.456, 0.406])[:, None, None]
    x = (luma.expand(-1, 3, -1, -1) - mean) / torch.tensor([0.229, 0.224, 0.225])[:, None, None]
    x = F.relu(F.conv2d(x, weights["features.0.weight"], weights["features.0.bias"], padding=1))
    x = F.max_pool2d(x, 2)
    x = F.conv2d(x, weights["features.3.weight"], weights["features.3.bias"], padding=1)
    torch.testing.assert_close(phi(luma), x)
    del weights["features.3.bias"]
    with pytest.raises(RuntimeError, match=r"features\.3\.bias"):
        phi.load(weights)


# --- layers, against literal versions ------------------------------------------------------------


def convolve(layer: Any, x: Tensor) -> Tensor:
    return F.conv2d(x, layer.weight, layer.bias, padding=1)


def test_fnet_is_a_u_net() -> None:
    net = enhance.FNet(4, patch=24)
    now, before = torch.rand(2, 2, 1, 16, 24).unbind()
    c = [m for m in net.modules() if isinstance(m, nn.Conv2d)]

    def twice(i: int, x: Tensor) -> Tensor:
        return F.leaky_relu(convolve(c[i + 1], F.leaky_relu(convolve(c[i], x), 0.2)), 0.2)

    def up(x: Tensor) -> Tensor:
        return F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False)

    one = twice(0, torch.cat([now, before], 1))
    two = twice(2, F.max_pool2d(one, 2))
    three = twice(4, F.max_pool2d(two, 2))
    x = torch.cat([up(twice(6, F.max_pool2d(three, 2))), three], 1)
    x = torch.cat([up(twice(8, x)), two], 1)
    x = torch.cat([up(twice(10, x)), one], 1)
    x = torch.tanh(convolve(c[13], F.leaky_relu(convolve(c[12], x), 0.2)))
    found = net(now, before)
    torch.testing.assert_close(found[:, 0], x[:, 0])  # 24 wide, patches of 24
    torch.testing.assert_close(found[:, 1], x[:, 1] * 24 / 16)


@pytest.mark.parametrize(("height", "width"), [(48, 48), (30, 70)])
def test_tanh_of_one_is_half_a_patch_at_every_size(height: int, width: int) -> None:
    net = enhance.FNet(2, patch=48)
    nn.init.zeros_(net.flow[2].weight)  # type: ignore[arg-type]
    net.flow[2].bias.data[:] = torch.tensor([0.5, -0.25]).atanh()  # type: ignore[union-attr,operator]
    frame = torch.rand(1, 1, height, width)
    samples = enhance.flow_in_samples(net(frame, frame))
    expected = torch.tensor([12.0, -6.0]).view(1, 2, 1, 1).expand(1, 2, height, width)
    torch.testing.assert_close(samples, expected)


def test_enet_adds_to_the_compressed_frame() -> None:
    net = enhance.ENet(2, 5, 2)
    frame, other = torch.rand(2, 1, 1, 9, 7).unbind()
    x = F.relu(convolve(net.first, torch.cat([frame, other], 1)))
    for block in net.blocks:
        x = x + convolve(block[2], F.relu(convolve(block[0], x)))  # type: ignore[index]
    torch.testing.assert_close(net(frame, other), frame + convolve(net.last, x))


def test_warp_shifts_by_samples() -> None:
    image = torch.arange(12.0).view(1, 1, 3, 4)
    flow = torch.zeros(1, 2, 3, 4)
    flow[:, 0] = 2 / 4  # one sample to the right: each takes its right neighbour
    torch.testing.assert_close(
        enhance.warp(image, flow)[0, 0],
        torch.tensor([[1.0, 2, 3, 3], [5, 6, 7, 7], [9, 10, 11, 11]]),
    )


def test_warp_is_the_studys() -> None:
    rng = np.random.default_rng(0)
    image = rng.random((2, 3, 13, 18))
    samples = rng.normal(0, 6, (2, 2, 13, 18))  # often outside
    scale = np.array([2 / 18, 2 / 13])[:, None, None]
    found = enhance.warp(torch.from_numpy(image), torch.from_numpy(samples * scale))
    for k in range(2):
        np.testing.assert_allclose(found[k].numpy(), motion.warp(image[k], samples[k]), atol=1e-12)
    back = enhance.flow_in_samples(torch.from_numpy(samples * scale))
    np.testing.assert_allclose(back.numpy(), samples)


# --- recurrence, window, streaming ---------------------------------------------------------------


def test_recurrence_is_equation_one() -> None:
    net = enhance.FrameRecurrent(4, 1, 2, patch=16)
    x = torch.rand(2, 4, 1, 16, 16)
    enhanced = [net.enet(x[:, 0], x[:, 0])]
    for t in range(1, 4):
        flow = net.fnet(x[:, t], x[:, t - 1])  # type: ignore[misc]
        enhanced.append(net.enet(x[:, t], enhance.warp(enhanced[-1], flow)))
    torch.testing.assert_close(net(x), torch.stack(enhanced, 1))


def test_gradients_reach_through_ten_steps() -> None:
    net = enhance.FrameRecurrent(4, 1, None)
    x = torch.rand(1, 10, 1, 8, 8, requires_grad=True)
    net(x, torch.zeros(1, 10, 2, 8, 8))[:, 9].sum().backward()
    assert x.grad is not None
    assert all(float(x.grad[0, t].abs().sum()) > 0 for t in range(10))


def test_given_flow_moves_the_last_enhanced_frame() -> None:
    net = enhance.FrameRecurrent(4, 1, None)
    x = torch.rand(1, 2, 1, 8, 8)
    flow = torch.full((1, 2, 2, 8, 8), 0.25)  # one sample each way
    first = net.enet(x[:, 0], x[:, 0])
    moved = first[..., [*range(1, 8), 7], :][..., [*range(1, 8), 7]]
    torch.testing.assert_close(net(x, flow)[:, 1], net.enet(x[:, 1], moved))
    with pytest.raises(ValueError, match="has no FNet"):
        net(x)
    with pytest.raises(ValueError, match="estimates its flow itself"):
        enhance.FrameRecurrent(4, 1, 2)(x, flow)


def test_window_repeats_the_ends() -> None:
    net = enhance.MultiFrame(2, 4, 1, 2, patch=16)
    x = torch.rand(1, 3, 1, 16, 16)
    expected = []
    for t in range(3):
        middle = x[:, t]
        others = [x[:, min(max(t + k, 0), 2)] for k in (-2, -1, 1, 2)]
        aligned = [enhance.warp(other, net.fnet(middle, other)) for other in others]
        expected.append(net.enet(middle, *aligned))
    torch.testing.assert_close(net(x), torch.stack(expected, 1))


@pytest.mark.parametrize("kind", ["frame", "window", "recurrent", "vectors"])
@pytest.mark.parametrize("count", [0, 1, 2, 5])
def test_streaming_is_the_forward_pass(kind: Any, count: int) -> None:
    model = enhance.small_enhancer(kind, 16)
    x = torch.rand(1, count, 1, 16, 16)
    flow = torch.rand(1, count, 2, 16, 16) / 4
    inputs = (x, flow) if kind == "vectors" else (x,)
    found = list(model.stream(*(part.unbind(1) for part in inputs)))
    assert len(found) == count
    assert not any(frame.requires_grad for frame in found)
    if count:
        torch.testing.assert_close(torch.stack(found, 1), model(*inputs))


def test_window_wider_than_the_clip() -> None:
    model = enhance.MultiFrame(3, 2, 1, 1, patch=8)
    x = torch.rand(1, 2, 1, 8, 8)
    torch.testing.assert_close(torch.stack(list(model.stream(x.unbind(1))), 1), model(x))


@pytest.mark.parametrize("kind", ["frame", "window", "recurrent"])
def test_streaming_keeps_few_frames(kind: Any) -> None:
    alive: list[weakref.ref[Tensor]] = []

    def frames() -> Iterator[Tensor]:
        for _ in range(12):
            frame = torch.rand(1, 1, 8, 8)
            alive.append(weakref.ref(frame))
            yield frame

    most = 0
    for _ in enhance.small_enhancer(kind, 8).stream(frames()):
        most = max(most, sum(ref() is not None for ref in alive))
    assert most <= 4


def test_flows_and_frames_must_match() -> None:
    model = enhance.small_enhancer("vectors")
    frames = torch.rand(3, 1, 1, 8, 8)
    flows = torch.zeros(4, 1, 2, 8, 8)
    with pytest.raises(ValueError, match="fewer flows"):
        list(model.stream(frames, flows[:2]))  # type: ignore[call-arg]
    with pytest.raises(ValueError, match="more flows"):
        list(model.stream(frames, flows))  # type: ignore[call-arg]


def test_checkpoints(tmp_path: Path) -> None:
    model = enhance.MultiFrame(2, 4, 1, 2, patch=16)
    file = io.BytesIO()
    torch.save(enhance.checkpoint(model), file)
    file.seek(0)
    again = enhance.from_checkpoint(torch.load(file, weights_only=True))
    x = torch.rand(1, 2, 1, 16, 16)
    torch.testing.assert_close(again(x), model(x))
    assert not again.training
    with pytest.raises(ValueError, match="this is no"):
        enhance.from_checkpoint({"state": {}})


# --- motion of the stream ------------------------------------------------------------------------


def test_stream_flow_by_hand() -> None:
    """Frame 10, 16 x 8; displacement (8, -4) quarters = (2, -1) samples, here - source."""
    displacement = torch.tensor([8, -4], dtype=torch.int16).view(1, 2, 1, 1).repeat(1, 1, 8, 16)
    anchor = torch.full((1, 8, 16), 9, dtype=torch.int32)
    anchor[0, 0, :5] = torch.tensor([8, 12, 10, -1, -2])
    flow, known = enhance.stream_flow(displacement, anchor, torch.tensor([10]))
    # The source is 2 to the left and 1 below; 2 / 16 and 2 / 8 a sample.
    assert flow[0, :, 5, 5].tolist() == [-2 * 2 / 16, 1 * 2 / 8]
    # Two frames back: half of it; two frames ahead: it comes from the other side.
    assert flow[0, :, 0, 0].tolist() == [-1 * 2 / 16, 0.5 * 2 / 8]
    assert flow[0, :, 0, 1].tolist() == [1 * 2 / 16, -0.5 * 2 / 8]
    # Intra here, broken, not presented: nothing is known.
    assert flow[0, :, 0, 2:5].abs().sum() == 0
    assert known[0, 0, :6].tolist() == [True, True, False, False, False, True]


@pytest.mark.parametrize("bframes", [0, 3])
def test_stream_flow_is_the_motion_of_a_pan(bframes: int, tmp_path: Path) -> None:
    """A texture that moves by (+2, -1) samples a frame: each sample came from (-2, +1)."""
    rng = np.random.default_rng(0)
    texture = np.kron(rng.integers(30, 220, (40, 60)), np.ones((4, 4))).astype(np.uint8)
    count = 9
    raw = b"".join(
        texture[20 + t : 84 + t, 60 - 2 * t : 156 - 2 * t].tobytes() + bytes([128]) * (96 * 64 // 2)
        for t in range(count)
    )
    path = tmp_path / "pan.mp4"
    subprocess.run(
        [
            *["ffmpeg", "-v", "error", "-f", "rawvideo", "-pix_fmt", "yuv420p", "-s", "96x64"],
            *["-i", "-", "-c:v", "libx264", "-qp", "16", "-bf", str(bframes)],
            *["-x264-params", "b-adapt=0:scenecut=0:threads=1", str(path)],
        ],
        input=raw,
        check=True,
    )
    with cvdecode.VideoReader(path, planes=("mv", "ref")) as video:
        kinds = set(video.get_frames_in_range(0, count).frame_type.tolist())
        assert kinds == ({"I", "P", "B"} if bframes else {"I", "P"})
        for t in range(1, count):
            acc = cvdecode.accumulate(video, [t], anchors=[t - 1])
            arrays = (torch.from_numpy(a) for a in (acc.displacement, acc.anchor))
            flow, known = enhance.stream_flow(*arrays, torch.tensor([t]))
            samples = enhance.flow_in_samples(flow)[0, :, 16:-16, 16:-16]
            right = (samples - torch.tensor([-2.0, 1.0]).view(2, 1, 1)).abs().amax(0) < 0.3
            assert known.float().mean() > 0.7
            assert right.float().mean() > 0.9, f"frame {t}"
