"""cvdecode.enhance: losses, training steps and Grad-CAM against figures worked by hand."""

from __future__ import annotations

import copy
import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cvdecode import enhance


@pytest.fixture(autouse=True)
def seed() -> None:
    torch.manual_seed(0)


def sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-x))


def test_relativistic_losses_by_hand() -> None:
    real, fake = torch.tensor([[2.0], [0.0]]), torch.tensor([[1.0], [-3.0]])
    # mean C(real) = 1, mean C(fake) = -1.
    d_real = [sigmoid(3), sigmoid(1)]
    d_fake = [sigmoid(0), sigmoid(-4)]
    right = -sum(map(math.log, d_real)) / 2 - sum(math.log(1 - p) for p in d_fake) / 2
    fooled = -sum(math.log(1 - p) for p in d_real) / 2 - sum(map(math.log, d_fake)) / 2
    assert float(enhance.discriminator_loss(real, fake)) == pytest.approx(right)
    assert float(enhance.adversarial_loss(real, fake)) == pytest.approx(fooled)
    # The discriminator wants originals higher; the enhancer wants its own higher.
    real.requires_grad_()
    fake.requires_grad_()
    enhance.discriminator_loss(real, fake).backward()
    assert real.grad is not None
    assert fake.grad is not None
    assert float(real.grad.sum()) < 0 < float(fake.grad.sum())
    real.grad = fake.grad = None
    enhance.adversarial_loss(real, fake).backward()
    assert real.grad is None
    assert fake.grad is not None
    assert float(fake.grad.sum()) < 0


def test_pixel_and_perceptual_losses_by_hand() -> None:
    enhanced = torch.tensor([[0.5, 0.25], [0.0, 1.0]]).view(1, 1, 1, 2, 2)
    original = torch.tensor([[0.0, 0.25], [0.5, 0.5]]).view(1, 1, 1, 2, 2)
    assert float(enhance.pixel_loss(enhanced, original)) == 0.75 / 4

    def phi(x: Tensor) -> Tensor:  # row sums, doubled
        assert x.shape == (1, 1, 2, 2)
        return 2 * x.sum(-1)

    # 2 * |0.75 - 0.25| = 1 and 2 * |1 - 1| = 0.
    assert float(enhance.perceptual_loss(phi, enhanced, original)) == 0.5


def test_gan_loss_weighs_its_parts() -> None:
    enhanced, original = torch.rand(2, 2, 3, 1, 4, 4).unbind()

    def phi(x: Tensor) -> Tensor:
        return x * 3

    def judge(x: Tensor) -> Tensor:
        return x.mean((1, 2, 3))[:, None]

    losses = enhance.gan_loss(phi, judge, enhanced, original)
    difference = float((enhanced - original).abs().mean())
    assert float(losses.perceptual) == pytest.approx(3 * difference)
    assert float(losses.pixel) == pytest.approx(difference)
    means = [clip.flatten(0, 1).mean((1, 2, 3))[:, None] for clip in (original, enhanced)]
    assert float(losses.adversarial) == pytest.approx(float(enhance.adversarial_loss(*means)))
    parts = 3 * difference + 0.01 * difference + 0.005 * float(losses.adversarial)
    assert float(losses.total) == pytest.approx(parts)


def test_patches_are_the_same_window_everywhere() -> None:
    height, width = 12, 20
    places = torch.arange(height * width).view(height, width)
    original = places.expand(2, 3, 1, height, width)
    flow = torch.stack([places / 1.0, -places / 1.0]).expand(2, 3, 2, height, width)
    corners = set()
    for k in range(200):
        generator = torch.Generator().manual_seed(k)
        a, b, c = enhance.random_patches(8, original, original + 1000, flow, generator=generator)
        assert a.shape == (2, 3, 1, 8, 8)
        corner = int(a[0, 0, 0, 0, 0])
        top, left = divmod(corner, width)
        corners.add((top, left))
        window = places[top : top + 8, left : left + 8]
        assert torch.equal(a, window.expand_as(a))
        assert torch.equal(b, a + 1000)
        # As many samples as before: 20 / 8 as many units of a patch 8 wide, 12 / 8 of its height.
        torch.testing.assert_close(c[1, 2, 0], window * 2.5)
        torch.testing.assert_close(c[1, 2, 1], window * -1.5)
    assert {top for top, _ in corners} == set(range(5))
    assert {left for _, left in corners} == set(range(13))
    with pytest.raises(ValueError, match="no patch of 16"):
        enhance.random_patches(16, original, original)
    with pytest.raises(ValueError, match="sizes differ"):
        enhance.random_patches(8, original, original[..., 1:])


def test_a_network_learns_to_take_away_what_was_added() -> None:
    model = enhance.FrameRecurrent(4, 1, None)
    optimiser = torch.optim.Adam(model.parameters(), 1e-2)
    original = torch.rand(2, 3, 1, 8, 8)
    flow = torch.zeros(2, 3, 2, 8, 8)
    losses = [
        float(enhance.train_step(
            model, optimiser, enhance.pixel_loss, original, original + 0.2, flow
        ))
        for _ in range(40)
    ]  # fmt: skip
    assert min(losses[-5:]) < 0.1 * losses[0]


def test_adversarial_step_moves_each_network_by_its_own_loss() -> None:
    """Against the two steps written out, with plain gradient descent."""
    model = enhance.FrameByFrame(4, 1)
    judge = nn.Sequential(nn.Conv2d(1, 3, 3), nn.Flatten(), nn.Linear(3 * 36, 1))
    original, compressed = torch.rand(2, 2, 2, 1, 8, 8).unbind()

    def phi(x: Tensor) -> Tensor:
        return F.avg_pool2d(x, 2)

    other, critic = copy.deepcopy(model), copy.deepcopy(judge)
    found = enhance.gan_step(
        model, judge, phi,
        torch.optim.SGD(model.parameters(), 0.5), torch.optim.SGD(judge.parameters(), 0.25),
        original, compressed,
    )  # fmt: skip
    enhanced = other(compressed)
    total = enhance.gan_loss(phi, critic, enhanced, original).total
    ours = torch.autograd.grad(total, list(other.parameters()))
    judged = enhance.discriminator_loss(
        critic(original.flatten(0, 1)), critic(enhanced.detach().flatten(0, 1))
    )
    theirs = torch.autograd.grad(judged, list(critic.parameters()))
    assert float(found.total) == pytest.approx(float(total.detach()))
    assert float(found.discriminator) == pytest.approx(float(judged.detach()))
    for moved, before, gradient in zip(model.parameters(), other.parameters(), ours, strict=True):
        torch.testing.assert_close(moved, before - 0.5 * gradient)
    for moved, before, gradient in zip(
        judge.parameters(), critic.parameters(), theirs, strict=True
    ):
        torch.testing.assert_close(moved, before - 0.25 * gradient)
    assert all(p.requires_grad for p in judge.parameters())


def test_discriminator_learns_to_tell_originals() -> None:
    model = enhance.small_enhancer("frame")
    judge = enhance.Discriminator(32, 4)
    first = torch.optim.SGD(model.parameters(), 0.0)
    second = torch.optim.Adam(judge.parameters(), 1e-2)
    original = torch.rand(4, 1, 1, 32, 32)
    compressed = F.avg_pool2d(original[:, 0], 3, 1, 1)[:, None]
    losses = [
        float(
            enhance.gan_step(model, judge, nn.Identity(), first, second, original, compressed)[-1]
        )
        for _ in range(10)
    ]
    assert losses[-1] < 0.5 * losses[0]


# --- Grad-CAM ------------------------------------------------------------------------------------


class Recogniser(nn.Module):
    """Two channels that are passed on as they are, averaged and weighed: w = ((4, -2), (-1, 1))."""

    def __init__(self, inplace: bool = False) -> None:
        super().__init__()
        self.layer = nn.Identity()
        self.activation = nn.ReLU(inplace)
        self.fc = nn.Linear(2, 2, bias=False)
        self.fc.weight.data = torch.tensor([[4.0, -2.0], [-1.0, 1.0]])

    def forward(self, x: Tensor) -> Tensor:
        scores: Tensor = self.fc(self.activation(self.layer(x)).flatten(2).mean(2))
        return scores


MAPS = torch.tensor([[[[1.0, 2.0], [3.0, 1.0]], [[1.0, 5.0], [0.5, 4.0]]]])


@pytest.mark.parametrize("inplace", [False, True])
def test_grad_cam_by_hand(inplace: bool) -> None:
    """Gradients are w / 4; class 0: relu(4 A1 - 2 A2) / 4 = ((2, 0), (11, 0)) / 4, of maximum 1."""
    model = Recogniser(inplace).train()
    # Scores: 4 * 7/4 - 2 * 10.5/4 = 1.75 and -7/4 + 10.5/4 = 0.875, so class 0 is the default.
    found = enhance.grad_cam(model, model.layer, MAPS.clone())
    torch.testing.assert_close(found, torch.tensor([[[2 / 11, 0.0], [1.0, 0.0]]]))
    second = enhance.grad_cam(model, model.layer, MAPS.clone(), torch.tensor([1]))
    torch.testing.assert_close(second, torch.tensor([[[0.0, 1.0], [0.0, 1.0]]]))
    assert model.training
    assert model.fc.weight.grad is None


def test_grad_cam_in_time_and_at_the_inputs_size() -> None:
    class Clip(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.pool = nn.AvgPool3d((1, 2, 2))

        def forward(self, x: Tensor) -> Tensor:
            return self.pool(x).mean((2, 3, 4))

    clip = torch.zeros(2, 1, 3, 4, 4)
    clip[0, 0, 1] = 1
    model = Clip()
    cam = enhance.grad_cam(model, model.pool, clip, torch.zeros(2, dtype=torch.int64))
    assert cam.shape == (2, 3, 4, 4)
    assert cam[0].mean((1, 2)).tolist() == [0, 1, 0]
    assert cam[1].abs().sum() == 0, "nothing speaks for it: 0, not NaN"


def test_grad_cam_refuses_other_layers() -> None:
    model = Recogniser()
    with pytest.raises(ValueError, match=r"gave outputs \[\(1, 2\)\]"):
        enhance.grad_cam(model, model.fc, MAPS)
    model.unused = nn.Identity()
    with pytest.raises(ValueError, match="gave outputs"):
        enhance.grad_cam(model, model.unused, MAPS)


def test_cam_picture_by_hand() -> None:
    image = torch.tensor([0.2, 0.4, 0.6]).view(3, 1, 1).expand(3, 1, 4)
    picture = enhance.cam_picture(image, torch.tensor([[0.0, 0.25, 0.5, 1.0]]))
    heat = torch.tensor([[0.0, 0, 1], [0, 0.5, 0.5], [0, 1, 0], [1, 0, 0]]).T[:, None]
    torch.testing.assert_close(picture, (image + heat) / 2)
