"""Johnston's networks, trained on one quality of still images and tested on another."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import cvdecode
from cvdecode.cli import main
from cvdecode.study import stills
from cvdecode.study.errors import StudyError

pytest.importorskip("torch")
import torch

from cvdecode.heads import JohnstonNet
from cvdecode.recipes import stills as recipe

# Parameters of each layer, weights and biases, counted by hand from section III-B of the paper.
CONV1 = 64 * 3 * 25 + 64  # 4,864
CONV = 64 * 64 * 25 + 64  # 102,464
FC2 = 384 * 192 + 192  # 73,920
LAST = 192 * 10 + 10


def layers(net: Any) -> dict[str, int]:
    counts: dict[str, int] = {}
    for name, p in net.named_parameters():
        layer = name.rsplit(".", 1)[0]
        counts[layer] = counts.get(layer, 0) + p.numel()
    return counts


def test_layers_by_hand() -> None:
    # 28 -> 14 -> 7: 64 maps of 7 x 7
    plain = {"convs.0": CONV1, "convs.1": CONV, "fc1": 64 * 49 * 384 + 384, "fc2": FC2,
             "classifier": LAST}  # fmt: skip
    assert layers(JohnstonNet(10)) == plain
    assert sum(plain.values()) == 1_387_786
    # 56 -> 28 -> 14, and one more convolution that keeps the size
    deeper = {**plain, "convs.2": CONV, "fc1": 64 * 196 * 384 + 384}
    assert layers(JohnstonNet(10, (56, 56), deeper=True)) == deeper
    assert layers(JohnstonNet(10, qp="plane")) == {**plain, "convs.0": CONV1 + 64 * 25}
    # An MLP 1-32-256: scale and shift of 64 channels of two convolutions.
    film = {"film.0": 32 + 32, "film.2": 32 * 256 + 256}
    assert layers(JohnstonNet(10, qp="film")) == {**plain, **film}
    odd = JohnstonNet(3, (21, 30))  # 21 -> 11 -> 6, 30 -> 15 -> 8
    assert odd.fc1.in_features == 64 * 6 * 8
    assert odd(torch.zeros(2, 3, 21, 30)).shape == (2, 3)


def test_forward_pass_in_numpy() -> None:
    """Layer by layer with loops, FiLM included, at a size that loops can do."""
    torch.manual_seed(0)
    net = JohnstonNet(3, (6, 5), channels=2, hidden=(5, 4), deeper=True, qp="film")
    assert net.film is not None
    torch.nn.init.normal_(net.film[2].weight)
    x, qp = torch.randn(1, 3, 6, 5), torch.full((1, 6, 5), 34.0)
    w = {k: v.detach().numpy().astype(float) for k, v in net.named_parameters()}

    def conv(a: Any, name: str) -> Any:
        padded = np.pad(a, ((0, 0), (2, 2), (2, 2)))
        out = np.empty((2, *a.shape[1:]))
        for o, i, j in np.ndindex(*out.shape):
            window = padded[:, i : i + 5, j : j + 5]
            out[o, i, j] = (window * w[f"{name}.weight"][o]).sum() + w[f"{name}.bias"][o]
        return out

    def pool(a: Any) -> Any:
        c, h, wide = a.shape
        out = np.empty((c, -(-h // 2), -(-wide // 2)))
        for k, i, j in np.ndindex(*out.shape):
            rows = slice(max(0, 2 * i - 1), 2 * i + 2)
            out[k, i, j] = a[k, rows, max(0, 2 * j - 1) : 2 * j + 2].max()
        return out

    def relu(a: Any) -> Any:
        return np.maximum(a, 0)

    hidden = relu(w["film.0.weight"][:, 0] * 34 / 51 + w["film.0.bias"])
    film = (w["film.2.weight"] @ hidden + w["film.2.bias"]).reshape(3, 2, 2)
    a = x[0].numpy().astype(float)
    for n in range(3):
        scale, shift = film[n]
        a = relu(conv(a, f"convs.{n}") * (1 + scale[:, None, None]) + shift[:, None, None])
        a = pool(a) if n < 2 else a
    for name in ("fc1", "fc2"):
        a = relu(w[f"{name}.weight"] @ a.ravel() + w[f"{name}.bias"])
    expected = w["classifier.weight"] @ a + w["classifier.bias"]
    np.testing.assert_allclose(net(x, qp)[0].detach().numpy(), expected, rtol=1e-4, atol=1e-5)


def test_networks_hear_the_qp_as_they_say() -> None:
    torch.manual_seed(0)
    x = torch.randn(2, 3, 28, 28)
    low, high = (torch.full((2, 28, 28), float(q)) for q in (10, 50))
    plane = JohnstonNet(4, channels=4, qp="plane")
    assert not torch.equal(plane(x, low), plane(x, high))
    film = JohnstonNet(4, channels=4, qp="film")
    assert torch.equal(film(x, low), film(x, high)), "the identity at first"
    torch.nn.init.normal_(film.film[2].weight)
    assert not torch.equal(film(x, low), film(x, high))
    with pytest.raises(ValueError, match="'plane', and the QP is missing"):
        plane(x)
    with pytest.raises(ValueError, match="'none', and the QP is given"):
        JohnstonNet(4, channels=4)(x, low)
    with pytest.raises(ValueError, match=r"qp is \(2, 1\)"):
        film(x, low[:, :1, 0])


def striped(count: int, seed: int, contrast: float = 60) -> tuple[np.ndarray, np.ndarray]:
    """Grey pictures of horizontal (0) or vertical (1) stripes."""
    rng = np.random.default_rng(seed)
    labels = np.arange(count) % 2
    waves = np.sin(np.arange(32) * np.pi / 3 + rng.uniform(0, 6, (count, 1)))
    lines = np.where(labels[:, None, None] == 1, waves[:, None, :], waves[:, :, None])
    noisy = 128 + contrast * lines + rng.normal(0, 20, (count, 32, 32))
    return np.clip(noisy, 0, 255).astype(np.uint8), labels


SMALL = recipe.Schedule(steps=40, batch=16, channels=4, hidden=(16, 8), lr=5e-3)


def test_fit_learns_and_repeats() -> None:
    images, labels = striped(120, 0)
    quality = recipe.uncoded(stills.to_yuv(images))
    rows = np.arange(120)
    model = recipe.fit([quality[rows[:80]]], labels[:80], 2, SMALL, 0)
    right = model.logits(quality[rows[80:]]).argmax(1) == labels[80:]
    assert right.mean() > 0.9
    again = recipe.fit([quality[rows[:80]]], labels[:80], 2, SMALL, 0)
    assert np.array_equal(model.logits(quality), again.logits(quality))
    # All qualities alike: the network of one, because draws of pictures do not depend on how many.
    pooled = recipe.fit([quality[rows[:80]]] * 3, labels[:80], 2, SMALL, 0)
    np.testing.assert_allclose(pooled.logits(quality), model.logits(quality), atol=1e-3)
    # Going on from a network leaves that one as it is.
    before = model.logits(quality)
    swapped = recipe.fit([quality[rows[:80]]], 1 - labels[:80], 2, SMALL, 1, start=model)
    assert np.array_equal(model.logits(quality), before)
    assert (swapped.logits(quality).argmax(1) == 1 - labels).mean() > 0.9
    assert swapped.scale == model.scale
    assert model.mean[1:] == pytest.approx([128, 128])


def test_crops_are_central_in_testing() -> None:
    seen: list[Any] = []

    class Spy(torch.nn.Module):
        qp = "plane"

        def __init__(self) -> None:
            super().__init__()
            self.weight = torch.nn.Parameter(torch.zeros(1))

        def forward(self, x: Any, qp: Any) -> Any:
            seen.append((x, qp))
            return x.new_zeros(len(x), 2)

    images = np.arange(2 * 3 * 32 * 32).reshape(2, 3, 32, 32).astype(np.uint8)
    told = np.arange(2 * 32 * 32).reshape(2, 32, 32).astype(np.uint8)
    model = recipe.Recogniser(Spy(), np.array([1.0, 2, 3]), 2.0, (28, 28))  # type: ignore[arg-type]
    assert model.logits(recipe.Quality(images, told)).shape == (2, 2)
    x, qp = (t.numpy() for t in seen[0])
    assert np.array_equal(qp, told[:, 2:30, 2:30])
    for c in range(3):
        assert np.array_equal(x[:, c], (images[:, c, 2:30, 2:30].astype(float) - c - 1) / 2)


def test_split_keeps_classes_apart() -> None:
    labels = np.array([0] * 10 + [1] * 23)
    learn, held = recipe.split(labels)
    assert np.bincount(labels[held]).tolist() == [2, 4]
    assert sorted([*learn, *held]) == list(range(33))
    assert recipe.split(labels)[1].tolist() == held.tolist()
    with pytest.raises(StudyError, match="class 1 has 4 pictures, fewer than 5"):
        recipe.split(np.array([0] * 10 + [1] * 4))


def test_coded_qp_is_that_of_the_stream(tmp_path: Path) -> None:
    """A bitrate gives macroblocks of different QP; each image sees those under it."""
    yuv = stills.to_yuv(striped(4, 2)[0])
    stills.encode(yuv, tmp_path / "b.264", kbps=40)
    found = stills.coded_qp(tmp_path / "b.264", (32, 32))
    assert found.shape == (4, 7, 32, 32)
    clip = cvdecode.read(tmp_path / "b.264", planes=("qp",))
    # The image covers samples 8 to 39 of 48: macroblock n covers 16 n to 16 n + 15.
    for t in (0, 2, 27):
        for y, x in ((0, 0), (0, 7), (7, 8), (8, 8), (23, 24), (31, 31)):
            assert found[t // 7, t % 7, y, x] == clip.qp[t, (y + 8) // 16, (x + 8) // 16]
    assert len(np.unique(found)) > 1
    stills.encode(yuv, tmp_path / "q.264", qp=37)
    assert np.unique(stills.coded_qp(tmp_path / "q.264", (32, 32))).tolist() == [37]


def test_matrix_from_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("torchmetrics")
    pytest.importorskip("matplotlib")
    images, labels = striped(60, 1)
    np.savez(tmp_path / "set.npz", images=images, labels=labels * 7)  # numbers need not be dense
    folder = tmp_path / "stills"
    make = ["study", "stills", str(tmp_path / "set.npz"), str(folder), "--qp", "25,50"]
    assert main([*make, "--frames", "0,3"]) == 0
    small = ["--steps", "12", "--batch", "8", "--channels", "4", "--no-flip"]
    command = ["study", "matrix", str(folder), *small, "--json"]
    capsys.readouterr()
    assert main([*command, "--pretrain", "yuv444,q50_f0"]) == 0
    found = json.loads(capsys.readouterr().out)
    cross = {(r["trained_on"], r["tested_on"]): r for r in found if r["kind"] == "cross"}
    tested = ["yuv444", "q25_f0", "q50_f0"]
    assert list(cross) == [(a, b) for a in (*tested, *recipe.ALL) for b in tested]
    assert all(r["clips"] == 12 and 0 <= r["top1"] <= 1 for r in cross.values())
    tuned = {(r["trained_on"], r["tested_on"]) for r in found if r["kind"] == "fine_tuned"}
    assert len(tuned) == 12
    path = folder / "matrix.jsonl"
    before = path.read_bytes()
    assert main([*command, "--pretrain", "yuv444,q50_f0"]) == 0
    assert path.read_bytes() == before, "nothing left to do"
    # A run that was cut off goes on with the network it was at, and ends with the same cells.
    lines = before.splitlines(keepends=True)
    kept = [n for n, line in enumerate(lines) if b'"cross"' in line][-2]
    path.write_bytes(b"".join(lines[:kept]))
    capsys.readouterr()
    assert main(command[:-1]) == 0
    assert "all+film" in capsys.readouterr().out
    again = [json.loads(line) for line in path.read_bytes().splitlines()]
    assert [r for r in again if r["kind"] == "cross"] == list(cross.values())
    with pytest.raises(StudyError, match="another schedule"):
        recipe.matrix(folder, path, SMALL)
    with pytest.raises(StudyError, match=r"no variant q37_f0; it has yuv444, .*q25_f0, q25_f3"):
        recipe.matrix(folder, tmp_path / "x.jsonl", SMALL, tested_on=["q37_f0"])
    page = tmp_path / "page.html"
    path.write_bytes(before)
    assert main(["study", "report", str(page), str(path), str(folder / "stills.jsonl")]) == 0
    text = page.read_text()
    for title in (
        "Trained on one, tested on another",
        "Fine-tuned",
        "First-layer filters, trained on all+plane",
        "Coded QP",
    ):
        assert title in text, title


def test_a_folder_without_labels_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StudyError, match="run `cvdecode study stills` first"):
        recipe.Variants(tmp_path)
    np.save(tmp_path / "labels.npy", np.zeros(5, np.int64))
    with pytest.raises(StudyError, match="two classes"):
        recipe.Variants(tmp_path)
