"""The still-image network of Johnston et al., plain, deeper, and told the QP of its input."""

from __future__ import annotations

import itertools
from typing import Literal

import torch
from torch import Tensor, nn

Conditioning = Literal["none", "plane", "film"]

MAX_QP = 51
"""Of H.264 at 8 bits: the QP that a network is told is divided by it."""
FILM_HIDDEN = 32


class JohnstonNet(nn.Module):
    """conv5x5-64, maxpool3x3, conv5x5-64, maxpool3x3, fc384, fc192, linear; ReLU (section III-B).

    Convolutions keep the size, pooling has stride 2 and keeps a last odd row and column, as in the
    tutorial network that the layers are those of; there is no local response normalisation, which
    the paper does not list.

    The paper's deeper network has "an additional conv5-64 layer"; where it stands is not told:
    here it follows the second pooling, without a pooling of its own.

    A network that is told the QP is the paper's future work and our design: "plane" is a fourth
    input channel, the QP of each sample over 51; "film" scales and shifts each convolution's
    channels, before its ReLU, by what a small MLP makes of the mean QP over 51 (it starts as the
    identity, so at first the network is the plain one).

    Args:
        num_classes: C.
        size: (H, W) of the input; 28 x 28 in the paper (crops of 32 x 32).
        channels: of the convolutions.
        hidden: of the two fully connected layers.
        deeper: with the third convolution.
        qp: how the network is told the QP.
    """

    def __init__(
        self,
        num_classes: int,
        size: tuple[int, int] = (28, 28),
        *,
        channels: int = 64,
        hidden: tuple[int, int] = (384, 192),
        deeper: bool = False,
        qp: Conditioning = "none",
    ) -> None:
        super().__init__()
        self.qp: Conditioning = qp
        widths = [4 if qp == "plane" else 3, channels, channels, *([channels] if deeper else [])]
        self.convs = nn.ModuleList(
            nn.Conv2d(a, b, 5, padding=2) for a, b in itertools.pairwise(widths)
        )
        self.pool = nn.MaxPool2d(3, 2, padding=1)
        height, width = (((edge + 1) // 2 + 1) // 2 for edge in size)
        self.fc1 = nn.Linear(channels * height * width, hidden[0])
        self.fc2 = nn.Linear(*hidden)
        self.classifier = nn.Linear(hidden[1], num_classes)
        self.film: nn.Sequential | None = None
        if qp == "film":
            identity = nn.Linear(FILM_HIDDEN, 2 * channels * len(self.convs))
            nn.init.zeros_(identity.weight)
            nn.init.zeros_(identity.bias)
            self.film = nn.Sequential(nn.Linear(1, FILM_HIDDEN), nn.ReLU(), identity)
        for module in (*self.convs, self.fc1, self.fc2):
            nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
            nn.init.zeros_(module.bias)
        nn.init.normal_(self.classifier.weight, std=1 / hidden[1])
        nn.init.zeros_(self.classifier.bias)

    def forward(self, x: Tensor, qp: Tensor | None = None) -> Tensor:
        """Logits (N, C).

        Args:
            x: (N, 3, H, W), Y, U and V, normalised.
            qp: (N, H, W), the QP that each sample was coded with, 0 to 51; 0 where it was not
                coded. A plain network is given none.
        """
        if (qp is None) != (self.qp == "none"):
            given = "missing" if qp is None else "given"
            raise ValueError(f"conditioning is {self.qp!r}, and the QP is {given}")
        film: Tensor | None = None
        if qp is not None:
            if qp.shape != (x.shape[0], *x.shape[2:]):
                raise ValueError(f"qp is {tuple(qp.shape)} beside pictures {tuple(x.shape)}")
            told = qp.to(x.dtype) / MAX_QP
            if self.film is None:
                x = torch.cat([x, told[:, None]], 1)
            else:
                # (N, convolutions, scale or shift, channels, 1, 1)
                film = self.film(told.mean((1, 2))[:, None])
                film = film.view(len(x), len(self.convs), 2, -1, 1, 1)
        for number, conv in enumerate(self.convs):
            x = conv(x)
            if film is not None:
                x = x * (1 + film[:, number, 0]) + film[:, number, 1]
            if number < 2:
                x = self.pool(x)  # before the ReLU: the same maxima, at a quarter of the work
            x = torch.relu(x)
        x = torch.relu(self.fc1(x.flatten(1)))
        logits: Tensor = self.classifier(torch.relu(self.fc2(x)))
        return logits
