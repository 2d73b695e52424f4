"""cvdecode.heads: layers, pooling, losses against literal versions and figures worked by hand."""

from __future__ import annotations

import io
import itertools
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from cvdecode import heads
from heads_literal import mfnet, mfnet_state, resnet, torchvision_resnet

CLASSES = 5


@pytest.fixture(autouse=True)
def seed() -> None:
    torch.manual_seed(0)


def parameters(module: nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())


# --- backbones --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("make", "whole", "channels"),
    [
        # Parameters of torchvision's models, 1000 classes, as its documentation gives them.
        (heads.resnet18, 11_689_512, 512),
        (heads.resnet152, 60_192_808, 2048),
        (heads.efficientnet_b1, 7_794_184, 1280),
        (heads.mobilenet_v2, 3_504_872, 1280),
    ],
)
def test_backbones_have_the_published_sizes(make: Any, whole: int, channels: int) -> None:
    with torch.device("meta"):
        backbone = make()
        features = backbone(torch.empty(1, 3, 224, 224))
        motion = make(2)
    assert backbone.channels == channels
    assert parameters(backbone) + 1000 * (channels + 1) == whole
    assert features.shape == (1, channels, 7, 7)
    first = next(motion.parameters())
    assert parameters(backbone) - parameters(motion) == first[:, :1].numel()
    assert motion(torch.empty(1, 2, 224, 224, device="meta")).shape == (1, channels, 7, 7)


@pytest.mark.parametrize(("size", "grid"), [(224, 7), (240, 8), (256, 8)])
def test_efficientnet_pads_as_tensorflow_does(size: int, grid: int) -> None:
    with torch.device("meta"):
        found = heads.efficientnet_b1(3, size)(torch.empty(1, 3, size, size))
    assert found.shape == (1, 1280, grid, grid)


@pytest.mark.parametrize(("make", "count"), [(heads.efficientnet_b1, 69), (heads.mobilenet_v2, 52)])
def test_nets_can_be_trained_from_scratch(make: Any, count: int) -> None:
    norms = [m for m in make().modules() if isinstance(m, nn.BatchNorm2d)]
    assert len(norms) == count
    assert all(torch.all(m.weight == 1) and m.momentum == 0.1 for m in norms)


@pytest.mark.parametrize("make", [heads.efficientnet_b1, heads.mobilenet_v2])
def test_maps_of_untrained_nets_do_not_vanish(make: Any) -> None:
    # Running statistics are 0 and 1 still: nothing makes up for weights that are too small.
    torch.manual_seed(0)
    net = make().eval()
    depthwise = [m for m in net.modules() if isinstance(m, nn.Conv2d) and m.groups > 1]
    for conv in depthwise:  # each channel sees its own k x k weights alone: variance 2 / k^2
        assert conv.weight.var().item() == pytest.approx(2 / conv.weight[0].numel(), rel=0.25)
    with torch.no_grad():
        assert net(torch.randn(1, 3, 64, 64)).abs().max() > 1e-6


def test_own_module_as_backbone() -> None:
    stream = heads.Stream(heads.Backbone(nn.Conv2d(4, 6, 3), 4, 6), CLASSES)
    assert stream(torch.rand(2, 3, 4, 8, 8)).shape == (2, CLASSES)
    with pytest.raises(ValueError, match=r"expected images \(B, 4, H, W\), got \(6, 3, 8, 8\)"):
        stream(torch.rand(2, 3, 3, 8, 8))
    with pytest.raises(ValueError, match="videos, segments"):
        stream(torch.rand(2, 4, 8, 8))


# --- published checkpoints --------------------------------------------------------------------


@pytest.mark.parametrize(("depth", "channels"), [(18, 2), (152, 3)])
def test_coviar_checkpoints_load_and_compute_the_same(depth: int, channels: int) -> None:
    published = torchvision_resnet(depth, channels, CLASSES)
    state = {f"module.base_model.{name}": value for name, value in published.items()}
    x = torch.randn(2, channels, 64, 64)
    backbone = heads.resnet18(channels) if depth == 18 else heads.resnet152(channels)
    stream = heads.Stream(backbone, CLASSES, data_bn=depth == 18).eval()
    expected = x
    if depth == 18:
        extra = {"weight": [1.5, 2], "bias": [0.1, 0], "running_mean": [1, 0]}
        extra |= {"running_var": [2, 3]}
        tensors = {k: torch.tensor(v, dtype=torch.float32) for k, v in extra.items()}
        state |= {f"module.data_bn.{k}": v for k, v in tensors.items()}
        state["module.data_bn.num_batches_tracked"] = torch.tensor(1)
        expected = F.batch_norm(
            x, tensors["running_mean"], tensors["running_var"], tensors["weight"], tensors["bias"]
        )
    stream.load_state_dict(heads.coviar_state_dict({"epoch": 3, "state_dict": state}))
    with torch.no_grad():
        found = stream(x.unsqueeze(1))
    torch.testing.assert_close(found, resnet(expected, published, depth), rtol=1e-4, atol=1e-4)


def test_imagenet_weights_and_tsn_names() -> None:
    published = torchvision_resnet(18, 3, CLASSES)
    heads.resnet18().load_state_dict(heads.imagenet_resnet_state_dict(published))
    renamed = {
        f"module.{k.replace('fc.', 'new_fc.') if k[:3] == 'fc.' else 'base_model.' + k}": v
        for k, v in published.items()
    }
    stream = heads.Stream(heads.resnet18(), CLASSES)
    stream.load_state_dict(heads.coviar_state_dict(renamed))
    assert torch.equal(stream.fc.weight, published["fc.weight"])
    with pytest.raises(KeyError, match="layer1"):
        heads.coviar_state_dict({"base_model.layer1.0.what.weight": torch.zeros(1)})
    with pytest.raises(KeyError, match="CoViAR"):
        heads.coviar_state_dict({"head.weight": torch.zeros(1)})


def test_mfnet_checkpoints_load_and_compute_the_same() -> None:
    published = mfnet_state(CLASSES)
    state = {f"module.{name}": value for name, value in published.items()}
    net = heads.MFNet3D(CLASSES).eval()
    net.load_state_dict(heads.mfnet_state_dict({"state_dict": state}))
    clip = torch.randn(1, 3, 6, 32, 48)
    with torch.no_grad():
        found = net(clip)
    torch.testing.assert_close(found, mfnet(clip, published), rtol=1e-4, atol=1e-4)
    left = net.load_state_dict(heads.mfnet_state_dict(state, classifier=False), strict=False)
    assert left.missing_keys == ["classifier.weight", "classifier.bias"]


# --- CoViAR -----------------------------------------------------------------------------------


def test_consensus_and_fusion() -> None:
    logits = torch.tensor([[1.0, 0], [3, 0], [5, 2], [5, 4]])
    assert heads.consensus(logits, 2).tolist() == [[2, 0], [5, 3]]
    scores = [torch.tensor([[1.0, 2]]), torch.tensor([[10.0, 0]]), torch.tensor([[0.0, 7]])]
    assert heads.fuse_scores(scores, (2, 1, 1)).tolist() == [[12, 11]]
    with pytest.raises(ValueError, match="3 scores but 2 weights"):
        heads.fuse_scores(scores, (1, 1))


def test_coviar_fuses_two_to_one_to_one() -> None:
    net = heads.small_coviar(CLASSES).eval()
    inputs = (torch.rand(2, 3, 3, 32, 32), torch.rand(2, 3, 2, 32, 32), torch.rand(2, 1, 3, 32, 32))
    with torch.no_grad():
        each = net.scores(*inputs)
        torch.testing.assert_close(net(*inputs), 2 * each.iframe + each.mv + each.residual)


@pytest.mark.parametrize("image", [False, True])
def test_coviar_parameter_groups(image: bool) -> None:
    with torch.device("meta"):
        stream = heads.Stream(heads.resnet18(2), CLASSES, data_bn=True)
    groups = heads.parameter_groups(stream, 0.5, image=image)
    found = {id(p): (g["lr"], g["weight_decay"]) for g in groups for p in g["params"]}
    assert len(found) == len(list(stream.parameters()))
    stem = 0.005 if image else 0.05
    embedder = stream.backbone.body.embedder.embedder
    block = stream.backbone.body.encoder.stages[0].layers[0].layer[0]
    for parameter, expected in [
        (stream.fc.weight, (0.5, 1e-4)),
        (stream.fc.bias, (0.5, 0)),
        (stream.data_bn.weight, (stem, 1e-4)),
        (stream.data_bn.bias, (stem, 0)),
        (embedder.convolution.weight, (stem, 1e-4)),
        (embedder.normalization.bias, (stem, 0)),
        (block.convolution.weight, (0.005, 1e-4)),
        (block.normalization.bias, (0.005, 0)),
    ]:
        assert found[id(parameter)] == pytest.approx(expected)


@pytest.mark.parametrize(
    "make",
    [heads.efficientnet_b1, heads.mobilenet_v2, heads.resnet152, heads.small_cnn],
)
def test_every_backbone_names_its_stem(make: Any) -> None:
    with torch.device("meta"):
        stream = heads.Stream(make(2), CLASSES)
    groups = {g["lr"]: g for g in heads.parameter_groups(stream, 1.0) if g["weight_decay"]}
    shapes = [tuple(p.shape) for p in groups[0.1]["params"]]
    assert [s for s in shapes if len(s) == 4] == [(shapes[0][0], 2, *shapes[0][2:])]


# --- DMC-Net ----------------------------------------------------------------------------------


def test_generator_is_dense_and_adds_to_motion() -> None:
    generator = heads.Generator()
    # 3x3 kernels: 5->8, 13->8, 21->6, 27->4, 31->2, 33->2, and biases.
    by_hand = 9 * (5 * 8 + 13 * 8 + 21 * 6 + 27 * 4 + 31 * 2 + 33 * 2) + 8 + 8 + 6 + 4 + 2 + 2
    assert parameters(generator) == by_hand == 4584
    mv, residual = torch.randn(2, 2, 12, 10), torch.randn(2, 3, 12, 10)
    s = generator.state_dict()
    x = torch.cat([mv, residual], 1)
    for n in range(5):
        y = F.conv2d(x, s[f"layers.{n}.weight"], s[f"layers.{n}.bias"], 1, 1)
        x = torch.cat([torch.where(y > 0, y, 0.1 * y), x], 1)
    expected = mv + F.conv2d(x, s["predict.weight"], s["predict.bias"], 1, 1)
    torch.testing.assert_close(generator(mv, residual), expected)


def test_discriminator_layers() -> None:
    discriminator = heads.Discriminator()
    convs = [m for m in discriminator.layers if isinstance(m, nn.Conv2d)]
    assert [c.out_channels for c in convs] == [16] * 3 + [32] * 3 + [64] * 3 + [128] * 3
    assert [c.stride[0] for c in convs] == [2, 1, 1] * 4
    norms = [m for m in discriminator.layers if isinstance(m, nn.BatchNorm2d)]
    assert [n.eps for n in norms] == [0.8] * 11
    assert isinstance(discriminator.layers[3], nn.Conv2d)  # nothing is normalised after the first
    assert discriminator.fc.in_features == 128 * 14 * 14
    with pytest.raises(ValueError, match="multiple of 16"):
        heads.Discriminator(100)


def test_block_mean() -> None:
    flow = torch.randn(2, 2, 32, 48)
    found = heads.block_mean(flow, 16).numpy()
    for y, x in itertools.product(range(32), range(48)):
        block = flow[:, :, y // 16 * 16 : y // 16 * 16 + 16, x // 16 * 16 : x // 16 * 16 + 16]
        np.testing.assert_allclose(found[:, :, y, x], block.mean((2, 3)), atol=1e-5)
    with pytest.raises(ValueError, match="48 x 24"):
        heads.block_mean(torch.zeros(1, 2, 24, 48))


@pytest.fixture
def dmc() -> tuple[Any, ...]:
    model, discriminator = heads.small_dmcnet(CLASSES, 32)
    inputs = (torch.randn(2, 2, 2, 32, 32), torch.randn(2, 2, 3, 32, 32))
    return model, discriminator, (*inputs, torch.randn(2, 2, 2, 32, 32), torch.tensor([0, 1]))


def reached(loss: torch.Tensor, module: nn.Module) -> bool:
    """Whether any gradient of the loss arrives at the module."""
    leaves = list(module.parameters())
    gradients = torch.autograd.grad(loss, leaves, retain_graph=True, allow_unused=True)
    return any(g is not None and bool(g.abs().sum() > 0) for g in gradients)


def test_dmcnet_stage_1_keeps_cross_entropy_from_the_generator(dmc: Any) -> None:
    model, _, batch = dmc
    losses = heads.stage1_loss(model, *batch)
    assert not reached(losses.classification, model.generator)
    assert reached(losses.classification, model.classifier)
    assert reached(losses.flow, model.generator)
    assert not reached(losses.flow, model.classifier)
    mv, residual, flow, labels = batch
    cues = model.run(mv, residual)
    coarse = heads.block_mean(flow.flatten(0, 1))
    expected = F.cross_entropy(cues.logits, labels) + 10 * ((cues.flow - coarse) ** 2).mean()
    torch.testing.assert_close(losses.total, expected)
    first = heads.stage1_loss(model, *batch, generator_only=True)
    assert not reached(first.total, model.classifier)
    torch.testing.assert_close(first.total, 10 * first.flow)


def test_dmcnet_stage_2_alternates(dmc: Any) -> None:
    model, discriminator, batch = dmc
    discriminator.eval()  # no dropout, so that the expectation can be computed
    even = heads.stage2_classifier_loss(model, discriminator, *batch)
    assert not reached(even.total, model.generator)
    assert reached(even.total, model.classifier)
    assert reached(even.adversarial, discriminator)
    odd = heads.stage2_generator_loss(model, discriminator, *batch)
    for part in (odd.classification, odd.flow, odd.adversarial):
        assert reached(part, model.generator)
    mv, residual, flow, labels = batch
    out = model.run(mv, residual)
    fake = torch.log_softmax(discriminator(out.flow), -1)
    real = torch.log_softmax(discriminator(flow.flatten(0, 1)), -1)
    ce = F.cross_entropy(out.logits, labels)
    torch.testing.assert_close(even.total, ce - 0.01 * (fake[:, 0].mean() + real[:, 1].mean()) / 2)
    mse = ((out.flow - flow.flatten(0, 1)) ** 2).mean()
    torch.testing.assert_close(odd.total, ce - fake[:, 1].mean() + 10 * mse)


def test_dmcnet_discriminator_learns_which_flow_is_real(dmc: Any) -> None:
    # An untrained Discriminator scores all flows alike; this one does not.
    model, _, batch = dmc
    torch.manual_seed(0)
    judge: Any = nn.Sequential(nn.Flatten(), nn.Linear(2 * 32 * 32, 2))
    found = heads.stage2_classifier_loss(model, judge, *batch).adversarial
    mv, residual, flow, _ = batch
    fake = torch.log_softmax(judge(model.run(mv, residual).flow), -1).mean(0)
    real = torch.log_softmax(judge(flow.flatten(0, 1)), -1).mean(0)
    assert abs(fake[0] + real[1] - fake[1] - real[0]) > 0.01
    torch.testing.assert_close(found, -(fake[0] + real[1]) / 2)


def test_decay_groups() -> None:
    generator = heads.Generator()
    weights, biases = heads.decay_groups(generator, 0.01, 1e-4)
    assert len(weights["params"]) == len(biases["params"]) == 6
    assert (weights["lr"], weights["weight_decay"]) == (0.01, 1e-4)
    assert (biases["lr"], biases["weight_decay"]) == (0.01, 0)
    assert {p.dim() for p in biases["params"]} == {1}


# --- pooling and fusion -----------------------------------------------------------------------


def maps(count: int, channels: int = 6) -> list[torch.Tensor]:
    return [torch.randn(2, channels, 3, 4) for _ in range(count)]


@pytest.mark.parametrize("factors", [1, 3])
def test_trilinear_pooling_is_the_sum_of_products(factors: int) -> None:
    pool = heads.TrilinearPooling(6, 5, factors)
    x, y, z = maps(3)
    u, v, w = (p.weight.detach().view(5, factors, 6) for p in (pool.u, pool.v, pool.w))
    expected = torch.zeros(2, 5)
    for b, i, r, c, d in itertools.product(range(2), range(5), range(3), range(4), range(factors)):
        product = torch.dot(u[i, d], x[b, :, r, c]) * torch.dot(v[i, d], y[b, :, r, c])
        expected[b, i] += product * torch.dot(w[i, d], z[b, :, r, c])
    found = pool.with_pair(x, pool.pair(y, z))
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)
    rooted = np.sign(expected.numpy()) * np.sqrt(np.abs(expected.numpy()))
    rooted /= np.linalg.norm(rooted, axis=1, keepdims=True)
    np.testing.assert_allclose(pool(x, y, z).detach().numpy(), rooted, atol=1e-4)


def test_signed_sqrt_has_a_gradient_at_zero() -> None:
    x = torch.tensor([[0.0, 4, -9]], requires_grad=True)
    heads.signed_sqrt_l2(x)[0, 1].backward()
    assert torch.isfinite(x.grad).all()


@pytest.mark.parametrize("dim", [7, 16])
def test_tensor_sketch_is_the_count_sketch_of_the_outer_product(dim: int) -> None:
    pool = heads.CompactBilinearPooling(6, dim, torch.Generator().manual_seed(3))
    x, y = maps(2)
    assert set(pool.sign_x.tolist()) == {-1, 1}
    expected = np.zeros((2, dim))
    for i, j in itertools.product(range(6), range(6)):
        slot = int(pool.hash_x[i] + pool.hash_y[j]) % dim
        sign = float(pool.sign_x[i] * pool.sign_y[j])
        expected[:, slot] += sign * (x[:, i] * y[:, j]).sum((1, 2)).numpy()
    np.testing.assert_allclose(pool.products(x, y).numpy(), expected, atol=1e-4)
    assert torch.linalg.norm(pool(x, y), dim=1).tolist() == pytest.approx([1, 1])


def test_sketches_estimate_inner_products() -> None:
    """E <sketch(x, y), sketch(a, b)> = <x, a> <y, b> (Pham and Pagh, 2013)."""
    x, y, a, b = (torch.randn(1, 6, 1, 1) for _ in range(4))
    found = []
    for n in range(400):
        pool = heads.CompactBilinearPooling(6, 64, torch.Generator().manual_seed(n))
        found.append(float((pool.products(x, y) * pool.products(a, b)).sum()))
    expected = float((x * a).sum() * (y * b).sum())
    error = np.std(found) / np.sqrt(len(found))
    assert abs(np.mean(found) - expected) < 4 * error


def test_late_fusion_adds_scores_of_means() -> None:
    head = heads.LateFusion(6, CLASSES)
    inputs = maps(3)
    expected = sum(fc(x.mean((2, 3))) for fc, x in zip(head.fcs, inputs, strict=True))
    torch.testing.assert_close(head(*inputs), expected)


def test_concatenation_is_as_large_as_trilinear_pooling() -> None:
    for channels, classes in [(64, 18), (1280, 51)]:
        with torch.device("meta"):
            mlp = heads.ConcatMLP(channels, classes)
            head = heads.TrilinearHead(channels, classes)
        assert parameters(mlp) == pytest.approx(parameters(head), rel=0.002)
    assert heads.ConcatMLP(6, CLASSES, 1000)(*maps(3)).shape == (2, CLASSES)


def test_bilinear_head_sums_three_pairs() -> None:
    head = heads.BilinearHead(6, CLASSES, 32)
    x, y, z = maps(3)
    pairs = [(x, y), (x, z), (y, z)]
    expected = sum(
        fc(pool(*pair)) for fc, pool, pair in zip(head.fcs, head.pools, pairs, strict=True)
    )
    torch.testing.assert_close(head(x, y, z), expected)
    assert not torch.equal(head.pools[0].hash_x, head.pools[1].hash_x)


def test_temporal_trilinear_pooling_adds_the_adjacent_iframe() -> None:
    head = heads.TrilinearHead(6, CLASSES, 16)
    now, then, mv, residual = maps(4)
    expected = head.fc(head.pool(now, mv, residual) + head.pool(then, mv, residual))
    torch.testing.assert_close(head(now, mv, residual, then), expected)
    torch.testing.assert_close(head(now, mv, residual), head.fc(head.pool(now, mv, residual)))


def test_three_streams_meet_at_the_same_positions() -> None:
    net = heads.small_three_stream(heads.TrilinearHead(64, CLASSES, 32), mv_stem_stride=1).eval()
    iframe, residual = torch.rand(2, 3, 3, 56, 56), torch.rand(2, 3, 3, 56, 56)
    mv, adjacent = torch.rand(2, 3, 2, 28, 28), torch.rand(2, 3, 3, 56, 56)
    found = [tuple(m.shape) for m in net.maps(iframe, mv, residual, adjacent)]
    assert found == [(6, 64, 7, 7)] * 4
    with torch.no_grad():
        maps = net.maps(iframe, mv, residual, adjacent)
        torch.testing.assert_close(maps[3], net.iframe(adjacent.flatten(0, 1)))
        expected = net.head(*maps).view(2, 3, CLASSES).mean(1)
        torch.testing.assert_close(net(iframe, mv, residual, adjacent), expected)


# --- ATTP -------------------------------------------------------------------------------------


def test_attp_teacher_is_frozen_and_motion_is_pulled_to_it() -> None:
    net = heads.small_attp(CLASSES, 32)
    stream = heads.Stream(heads.small_cnn(2), CLASSES)
    teacher = heads.FlowTeacher(stream).train()
    assert not stream.training
    before = {k: v.clone() for k, v in teacher.state_dict().items()}
    iframe, mv, residual, adjacent, flow = (torch.rand(2, 2, c, 56, 56) for c in (3, 2, 3, 3, 2))
    out = net.run(iframe, mv, residual, adjacent)
    known = teacher(flow)
    assert [tuple(t.shape) for t in known] == [(4, 64), (4, CLASSES)]
    labels = torch.tensor([1, 2])
    loss = heads.attp_loss(out, labels, known, weight=0.5)
    parts = ((out.mv_pooled - known[0]) ** 2).mean() + ((out.mv_logits - known[1]) ** 2).mean()
    torch.testing.assert_close(loss, F.cross_entropy(out.logits, labels) + 0.5 * parts)
    assert reached(parts, net.mv)
    assert reached(parts, net.mv_fc)
    assert not reached(parts, net.iframe)
    loss.backward()
    assert all(p.grad is None for p in teacher.parameters())
    assert all(torch.equal(before[k], v) for k, v in teacher.state_dict().items())
    assert reached(net(iframe, mv, residual, adjacent).sum(), net.mv)


def test_alignment_ablation() -> None:
    student = (torch.randn(3, 4), torch.randn(3, 5))
    teacher = (torch.randn(3, 4), torch.randn(3, 5))
    found = {k: float(heads.alignment_loss(student, teacher, k, 3.0)) for k in ("none", "fc", "kd")}
    s, t = ((x[1] / 3).double().softmax(-1).numpy() for x in (student, teacher))
    assert found["none"] == 0
    assert found["fc"] == pytest.approx(float(((student[1] - teacher[1]) ** 2).mean()))
    assert found["kd"] == pytest.approx(9 * (t * np.log(t / s)).sum() / 3, rel=1e-4)


# --- MFNet-3D and MFCD-Net --------------------------------------------------------------------


def test_mfnet_shapes_and_size() -> None:
    with torch.device("meta"):
        net = heads.MFNet3D(400)
        logits, hints = net.run(torch.empty(1, 3, 12, 224, 224))
    assert logits.shape == (1, 400)
    assert [tuple(h.shape[1:]) for h in hints] == [
        (96, 6, 56, 56), (192, 6, 28, 28), (384, 6, 14, 14), (768, 6, 7, 7),
    ]  # fmt: skip
    assert sum(v.numel() for k, v in mfnet_state(400).items() if "running" not in k) - len(
        [k for k in mfnet_state(400) if "tracked" in k]
    ) == parameters(net)
    assert round(parameters(net) / 1e6, 1) == 8.0
    with pytest.raises(ValueError, match="3 groups do not divide"):
        heads.MFNet3D(4, groups=3)
    with pytest.raises(ValueError, match="clips"):
        net(torch.empty(1, 2, 12, 224, 224, device="meta"))


def test_compressed_clip_by_hand() -> None:
    iframe = torch.tensor([200, 100, 50], dtype=torch.uint8).view(1, 3, 1, 1)
    residual = torch.tensor([-20, 0, 30], dtype=torch.int16).view(1, 1, 3, 1, 1)
    mean = [124, 117, 104]

    def coded(values: list[float]) -> list[float]:
        return [(v - m) * 0.0167 for v, m in zip(values, mean, strict=True)]

    found = heads.compressed_clip(iframe, residual)
    assert found.shape == (1, 3, 2, 1, 1)
    assert found[0, :, 0].flatten().tolist() == pytest.approx(coded([200, 100, 50]))
    assert found[0, :, 1].flatten().tolist() == pytest.approx(coded([90, 50, 40]))
    plain = heads.compressed_clip(iframe, residual, "residual", offset=128)
    assert plain[0, :, 1].flatten().tolist() == pytest.approx(coded([108, 128, 158]))
    alone = heads.compressed_clip(iframe, residual, "residual_only")
    assert alone[0, :, 0].flatten().tolist() == pytest.approx(coded([-20, 0, 30]))
    assert alone[0, :, 1].flatten().tolist() == pytest.approx(coded([-20, 0, 30]))


def test_mimic_loss_by_hand() -> None:
    ys, yt = torch.randn(3, 4), torch.randn(3, 4)
    hs, ht = [torch.randn(3, 2, 5), torch.randn(3, 7)], [torch.randn(3, 2, 5), torch.randn(3, 7)]
    labels = torch.tensor([0, 3, 2])
    losses = heads.mimic_loss((ys, hs), (yt, ht), labels, hint_weight=2, soft_weight=3, tau=2)

    def soft(y: torch.Tensor) -> Any:
        e = np.exp(y.double().numpy() / 2)
        return e / e.sum(1, keepdims=True)

    s, t = soft(ys), soft(yt)
    hints = sum(float(((a - b) ** 2).mean()) for a, b in zip(hs, ht, strict=True))
    printed = (s * np.log(s / t)).sum() / 3
    ce = float(F.cross_entropy(ys, labels))
    assert float(losses.hints) == pytest.approx(hints, rel=1e-5)
    assert float(losses.soft) == pytest.approx(printed, rel=1e-4)
    assert float(losses.total) == pytest.approx(ce + 2 * hints + 3 * printed, rel=1e-4)
    hinton = heads.mimic_loss((ys, hs), (yt, ht), labels, tau=2, hinton=True)
    assert float(hinton.soft) == pytest.approx(4 * (t * np.log(t / s)).sum() / 3, rel=1e-4)


def test_rgb_teacher_is_frozen() -> None:
    net = heads.small_mfnet(CLASSES)
    student = heads.small_mfnet(CLASSES)
    student.load_state_dict(net.state_dict())
    teacher = heads.RgbTeacher(net).train()
    assert not net.training
    frames = torch.rand(2, 3, 4, 32, 32)
    loss = heads.mimic_loss(student.run(frames * 0.9), teacher(frames), torch.tensor([0, 1]))
    loss.total.backward()
    assert all(p.grad is None for p in net.parameters())
    assert all(p.grad is not None for p in student.parameters())


@pytest.mark.parametrize(
    "make",
    [
        lambda: heads.small_coviar(CLASSES),
        lambda: heads.small_dmcnet(CLASSES, 32)[0],
        lambda: heads.small_attp(CLASSES, 32),
        lambda: heads.small_mfnet(CLASSES),
        lambda: heads.small_three_stream(heads.BilinearHead(64, CLASSES, 32)),
    ],
)
def test_state_dicts_save_and_load(make: Any) -> None:
    one, two = make(), make()
    file = io.BytesIO()
    torch.save(one.state_dict(), file)
    file.seek(0)
    two.load_state_dict(torch.load(file, weights_only=True))
    for a, b in zip(one.state_dict().values(), two.state_dict().values(), strict=True):
        assert torch.equal(a, b)
