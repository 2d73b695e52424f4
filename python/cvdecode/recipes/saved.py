"""A trained network by its file, whichever command wrote it."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from cvdecode.data import Entry
from cvdecode.recipes import checkpoint, clip_training, inputs
from cvdecode.recipes.checkpoint import Trained
from cvdecode.recipes.evaluate import evaluate
from cvdecode.study.errors import StudyError
from cvdecode.study.evaluate import Predict
from cvdecode.study.models import Model, torch_call


def names_in(path: str | os.PathLike[str]) -> list[str]:
    """Names of the classes in a file of `cvdecode study train`; [] in another file or a folder."""
    if not Path(path).is_file():
        return []
    found = torch.load(path, map_location="cpu", weights_only=True)
    return list(found.get("names", [])) if isinstance(found, dict) else []


def load(path: str | os.PathLike[str]) -> Trained | tuple[Model, list[str]]:
    """What a file holds, or the folder of a `cvdecode train`.

    Returns:
        Of `cvdecode train` what checkpoint.load() gives; of `cvdecode study train` the model, whose
        call is the torch module in evaluation mode, and the names of its classes.

    Raises:
        StudyError: it is neither.
    """
    found: Any = None
    if Path(path).is_file():
        try:
            found = torch.load(path, map_location="cpu", weights_only=True)
        except Exception as error:  # torch raises many kinds for a file that is something else
            raise StudyError(f"{path} is no network of cvdecode, nor of torch") from error
    if found is None or (isinstance(found, dict) and "recipe" in found):
        try:
            return checkpoint.load(path)
        except ValueError as error:
            raise StudyError(str(error)) from error
    if not isinstance(found, dict) or "made_of" not in found or "names" not in found:
        raise StudyError(
            f"{path} is neither of `cvdecode train` nor of `cvdecode study train`; give other "
            "weights with --weights, after the name of their model"
        )
    made_of, names = found["made_of"], list(found["names"])
    spec, net, _ = clip_training.network(made_of["model"], made_of["weights"], len(names))
    net.load_state_dict(found["model_state"])
    return Model(made_of["model"], spec, net.eval()), names


def recogniser(
    path: str | os.PathLike[str], classes: Sequence[str], device: str = "cpu"
) -> Predict:
    """What load() gives, as a call from paths of videos to scores of these classes.

    Raises:
        StudyError: it knows other classes, or in another order.
    """
    found = load(path)
    names = found.classes if isinstance(found, Trained) else found[1]
    if list(classes) != names:
        raise StudyError(
            f"{path} knows the classes {', '.join(names)}; the labels are {', '.join(classes)}"
        )
    if isinstance(found, Trained):
        return Scores(found, device)
    return dataclasses.replace(found[0], call=torch_call(found[0].call, device))


class Scores:
    """A network of `cvdecode train` as a call from paths of videos to scores (B, C)."""

    def __init__(self, trained: Trained, device: str = "cpu") -> None:
        self.trained, self.device = trained, device

    def __call__(self, paths: Sequence[str | os.PathLike[str]]) -> npt.NDArray[np.float64]:
        """Averaged over the segments and crops of the recipe.

        Raises:
            cvdecode.Error: a video cannot be read, or lacks what the network takes.
        """
        videos = inputs.Videos([Entry(os.fspath(p), 0) for p in paths], "", self.trained.classes)
        found = evaluate([self.trained.system], [self.trained.recipe], videos, device=self.device)
        return found.scores.double().numpy()
