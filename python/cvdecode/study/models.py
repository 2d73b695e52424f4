"""Video models behind one call: paths of clips in, scores out.

A model is anything callable on a batch in its layout (see ClipSpec) that returns (B, K) scores.
Those named here come with the clip settings of Otani et al., Table 1, and are built by their own
library where that imports; `tested` says whether we ever ran one with its true library.
"""

from __future__ import annotations

import dataclasses
import importlib
import importlib.util
import inspect
import os
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

import numpy as np
import numpy.typing as npt

from .clips import ClipSpec, load, pack, preprocess
from .errors import StudyError, ToolMissing

IMAGENET = {"mean": (0.485, 0.456, 0.406), "std": (0.229, 0.224, 0.225)}

Call = Callable[[Any], Any]


@dataclasses.dataclass(frozen=True)
class Model:
    """A classifier of clips: `call` takes a batch in `spec`'s layout, gives (B, K) scores."""

    name: str
    spec: ClipSpec
    call: Call

    def scores(self, batch: Any) -> npt.NDArray[np.float64]:
        """(B, K) logits, or any scores whose softmax is meant.

        Raises:
            StudyError: what came back is not (B, K) finite numbers.
        """
        size = len(batch[0] if isinstance(batch, list) else batch)
        found = np.asarray(self.call(batch), np.float64)
        if found.ndim != 2 or len(found) != size or not np.isfinite(found).all():
            raise StudyError(
                f"{self.name} gave scores of shape {found.shape} for {size} clips"
                + ("" if np.isfinite(found).all() else " with values that are no finite numbers")
                + f"; ({size}, classes) is wanted"
            )
        return found

    def load(self, path: str | os.PathLike[str]) -> npt.NDArray[np.float32]:
        """The model's clip of one video, (3, T, S, S)."""
        return preprocess(load(path, self.spec), self.spec)

    def prepare(self, paths: Sequence[str | os.PathLike[str]]) -> Any:
        """The batch of these videos, in the model's layout."""
        return pack([self.load(path) for path in paths], self.spec)

    def __call__(self, paths: Sequence[str | os.PathLike[str]]) -> npt.NDArray[np.float64]:
        """Scores (B, K) of videos."""
        return self.scores(self.prepare(paths))


def torch_call(module: Any, device: str = "cpu") -> Call:
    """A torch module as a call on arrays: no gradients, evaluation mode, `.logits` taken.

    Needs torch, which is imported here.
    """
    import torch

    module = module.to(device).eval()

    def call(batch: Any) -> Any:
        arrays = batch if isinstance(batch, list) else [batch]
        tensors = [torch.from_numpy(np.ascontiguousarray(a)).to(device) for a in arrays]
        with torch.inference_mode():
            out = module(tensors if isinstance(batch, list) else tensors[0])
        return getattr(out, "logits", out).float().cpu().numpy()

    return call


@dataclasses.dataclass(frozen=True)
class Entry:
    """A model that is known by name."""

    spec: ClipSpec
    library: str
    build: Callable[[str | None, int], Any]
    """(weights or None for random ones, number of classes) -> a torch module."""
    tested: bool
    """We ran it with its true library."""

    @property
    def imports(self) -> bool:
        """Whether its library is installed (not whether it works)."""
        return importlib.util.find_spec(self.library) is not None


def _library(name: str, module: str) -> Any:
    try:
        return importlib.import_module(module)
    except (ImportError, RuntimeError) as error:
        raise ToolMissing(f"{name} needs {module.split('.')[0]}, which fails: {error}") from error


def with_weights(module: Any, weights: str | None) -> Any:
    """The torch module with a file's weights, all of which must fit."""
    if weights is not None:
        import torch

        state = torch.load(weights, map_location="cpu", weights_only=True)
        try:
            module.load_state_dict(state.get("model_state", state))
        except RuntimeError as error:
            said = " ".join(str(error).split())[:300]
            raise StudyError(f"{weights} is not of this network: {said}") from None
    return module


def _transformers(kind: str, spec: ClipSpec) -> Callable[[str | None, int], Any]:
    def build(weights: str | None, classes: int) -> Any:
        library = _library(kind, "transformers")
        model = getattr(library, f"{kind}ForVideoClassification")
        if weights is not None and os.path.isdir(weights):
            return model.from_pretrained(weights)
        config = getattr(library, f"{kind}Config")
        sizes = {"num_frames": spec.frames, "image_size": spec.crop, "num_labels": classes}
        return with_weights(model(config(**sizes)), weights)

    return build


def _torchvision(name: str) -> Callable[[str | None, int], Any]:
    def build(weights: str | None, classes: int) -> Any:
        library = _library(name, "torchvision.models.video")
        return with_weights(getattr(library, name)(weights=None, num_classes=classes), weights)

    return build


def _pytorchvideo(name: str) -> Callable[[str | None, int], Any]:
    def build(weights: str | None, classes: int) -> Any:
        library = _library(name, "pytorchvideo.models.hub")
        module = getattr(library, name)(pretrained=False, model_num_class=classes)
        return with_weights(module, weights)

    return build


# (short side, crop, frames, stride): Otani et al., Table 1; the last three are their libraries'.
X3D_XS = ClipSpec(181, 160, 4, 12)
X3D_S = ClipSpec(181, 160, 13, 6)
X3D_M = ClipSpec(256, 224, 16, 5)
SLOWFAST = ClipSpec(256, 224, 32, 2, "slowfast")
R50_3D = ClipSpec(256, 224, 8, 8)
TIMESFORMER = ClipSpec(256, 224, 8, 32, "btchw")
VIDEO_SWIN = ClipSpec(256, 224, 32, 2, **IMAGENET)  # type: ignore[arg-type]
VIDEOMAE = ClipSpec(256, 224, 16, 4, "btchw", **IMAGENET)  # type: ignore[arg-type]
RESNET_3D = ClipSpec(
    128, 112, 16, 2, mean=(0.43216, 0.394666, 0.37645), std=(0.22803, 0.22145, 0.216989)
)

PRESETS: dict[str, ClipSpec] = {
    "x3d_xs": X3D_XS,
    "x3d_s": X3D_S,
    "x3d_m": X3D_M,
    "slowfast": SLOWFAST,
    "r50_3d": R50_3D,
    "timesformer": TIMESFORMER,
    "video_swin": VIDEO_SWIN,
    "videomae": VIDEOMAE,
    "resnet_3d": RESNET_3D,
}

MODELS: dict[str, Entry] = {
    "x3d_xs": Entry(X3D_XS, "pytorchvideo", _pytorchvideo("x3d_xs"), False),
    "x3d_s": Entry(X3D_S, "pytorchvideo", _pytorchvideo("x3d_s"), False),
    "x3d_m": Entry(X3D_M, "pytorchvideo", _pytorchvideo("x3d_m"), False),
    "slowfast_r101": Entry(SLOWFAST, "pytorchvideo", _pytorchvideo("slowfast_r101"), False),
    "slow_r50": Entry(R50_3D, "pytorchvideo", _pytorchvideo("slow_r50"), False),
    "swin3d_b": Entry(VIDEO_SWIN, "torchvision", _torchvision("swin3d_b"), False),
    "swin3d_t": Entry(VIDEO_SWIN, "torchvision", _torchvision("swin3d_t"), False),
    "r3d_18": Entry(RESNET_3D, "torchvision", _torchvision("r3d_18"), False),
    "r2plus1d_18": Entry(RESNET_3D, "torchvision", _torchvision("r2plus1d_18"), False),
    "timesformer": Entry(
        TIMESFORMER, "transformers", _transformers("Timesformer", TIMESFORMER), True
    ),
    "videomae": Entry(VIDEOMAE, "transformers", _transformers("VideoMAE", VIDEOMAE), True),
}


def resolve(
    name: str,
    weights: str | None = None,
    classes: int = 400,
    more: Mapping[str, Entry] = MappingProxyType({}),
) -> Model:
    """As build(), but a call that is a torch module stays one: it can be trained."""
    known = {**MODELS, **more}
    if name in known:
        entry = known[name]
        return Model(name, entry.spec, entry.build(weights, classes))
    place, _, preset = name.partition("@")
    module, _, function = place.partition(":")
    if not function or (preset and preset not in PRESETS):
        raise StudyError(
            f"no model {name!r}: one of {', '.join(known)}, or package.module:function with "
            f"@preset of {', '.join(PRESETS)}"
        )
    make = getattr(_library(name, module), function, None)
    if make is None:
        raise StudyError(f"no model {name!r}: {module} has no {function}")
    asks = "classes" in inspect.signature(make).parameters
    made = make(weights, classes=classes) if asks else make(weights)
    if isinstance(made, Model):
        return made
    if not preset:
        raise StudyError(f"{name}: say the clip settings, as in {place}@x3d_m")
    return Model(place, PRESETS[preset], made)


def is_module(call: Any) -> bool:
    """Whether it is a torch module, said without importing torch."""
    return hasattr(call, "load_state_dict") and hasattr(call, "parameters")


def build(
    name: str,
    weights: str | None = None,
    classes: int = 400,
    device: str = "cpu",
    more: Mapping[str, Entry] = MappingProxyType({}),
) -> Model:
    """A model by name: from MODELS or `more`, or "package.module:function".

    Args:
        name: in the second form the function, called with `weights` (and with `classes`, where it
            has an argument of that name), returns a torch module or any other call for the preset
            named after "@": "mine.nets:make@x3d_m"; or a Model, whose call is either.
        weights: a local file (state dict) or folder (transformers); None = random weights.
        more: further models by name.

    Raises:
        StudyError: there is no such model or preset.
        ToolMissing: its library does not import.
    """
    model = resolve(name, weights, classes, more)
    if not is_module(model.call):
        return model
    return dataclasses.replace(model, call=torch_call(model.call, device))
