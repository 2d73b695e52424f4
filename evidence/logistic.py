"""Multinomial logistic regression, to its optimum: no seed, no schedule."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import torch

Array = npt.NDArray[Any]


class Logistic:
    """Standardised inputs, penalty ``decay`` / 2 times the squared weights (not the bias)."""

    def __init__(self, x: Array, y: Array, classes: int, decay: float) -> None:
        self.mean = x.mean(0)
        self.scale = x.std(0) + 1e-6
        inputs = torch.from_numpy((x - self.mean) / self.scale).double()
        labels = torch.from_numpy(y)
        self.weight = torch.zeros(x.shape[1], classes, dtype=torch.float64, requires_grad=True)
        self.bias = torch.zeros(classes, dtype=torch.float64, requires_grad=True)
        solver = torch.optim.LBFGS(
            [self.weight, self.bias], max_iter=100, line_search_fn="strong_wolfe"
        )

        def loss() -> torch.Tensor:
            solver.zero_grad()
            scores = inputs @ self.weight + self.bias
            value = torch.nn.functional.cross_entropy(scores, labels)
            value = value + decay / 2 * self.weight.square().sum()
            value.backward()
            return value

        solver.step(loss)

    def scores(self, x: Array) -> Array:
        with torch.no_grad():
            inputs = torch.from_numpy((x - self.mean) / self.scale).double()
            return (inputs @ self.weight + self.bias).numpy()

    def right(self, x: Array, y: Array) -> Array:
        """1.0 where the class is right, float64 (len(x),)."""
        return (self.scores(x).argmax(1) == y).astype(np.float64)


def fit(x: Array, y: Array, x_val: Array, y_val: Array, classes: int) -> Logistic:
    """The penalty of four that does best on the validation set; of equals the strongest."""
    models = [Logistic(x, y, classes, decay) for decay in (1.0, 0.1, 0.01, 0.001)]
    return max(models, key=lambda model: model.right(x_val, y_val).mean())
