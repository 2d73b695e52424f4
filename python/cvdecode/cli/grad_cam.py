"""Show where a recogniser looked: Grad-CAM maps over the pictures of clips, as PNG or HTML."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cvdecode.cli._inputs import command
from cvdecode.cli._study_grid import known_models

if TYPE_CHECKING:
    import numpy.typing as npt
    import torch

SHOWN = 8
"""Pictures of a clip at the most."""
TILE = 112
"""Samples: smaller pictures are enlarged to about this."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", help="a name from `cvdecode study models`, or module:function")
    parser.add_argument(
        "videos", nargs="+", metavar="video", help="several: compressed, enhanced, original, ..."
    )
    parser.add_argument("-o", "--out", required=True, type=Path, help="a .png or .html file")
    parser.add_argument("--weights", help="local file or folder with the trained weights")
    parser.add_argument(
        "--label", help="name or number of the class to explain (default: each video's best)"
    )
    parser.add_argument(
        "--layer", help="name of a module (default: the last one that gives a map of features)"
    )
    parser.add_argument("--device", default="cpu", help="(default: cpu)")
    parser.add_argument("--json", action="store_true", help="print the result as JSON")


def run(arguments: argparse.Namespace) -> int:
    try:
        import torch

        from cvdecode.enhance import grad_cam
        from cvdecode.study import clips, models
    except ImportError as error:
        raise OSError(f"{error}: Grad-CAM needs pip install 'cvdecode[torch]'") from None
    a = arguments
    if a.out.suffix not in (".png", ".html"):
        raise ValueError(f"{a.out}: the output is a .png or .html file")
    known = known_models()
    if a.model in known and not a.weights:
        raise ValueError(f"{a.model} needs --weights: untrained it only guesses")
    names = _class_names(a.weights)
    model = models.resolve(a.model, a.weights, len(names) or 400, known)
    net: Any = model.call
    if not models.is_module(net) or model.spec.layout == "slowfast":
        raise ValueError(f"{a.model}: Grad-CAM wants a torch module of one clip at a time")
    net = net.to(a.device).eval()
    layer, sheets, said = a.layer, [], []
    for video in a.videos:
        batch = clips.pack(
            [clips.preprocess(clips.load(video, model.spec), model.spec)], model.spec
        )
        images = torch.from_numpy(batch).to(a.device)
        layer = layer or last_map(net, images)
        modules = dict(net.named_modules())
        if layer not in modules:
            raise ValueError(
                f"{a.model} has no module {layer!r}; some: {', '.join(filter(None, modules))[:500]}"
            )
        with torch.no_grad():
            out = net(images)
        share = getattr(out, "logits", out)[0].softmax(0)
        best = int(share.argmax())
        shown = best if a.label is None else _class_number(a.label, names, len(share))
        cam = grad_cam(_plain(net), modules[layer], images, torch.tensor([shown]).to(a.device))
        sheets.append(_sheet(images, cam.reshape(-1, *cam.shape[-2:]), model.spec))
        told = {"video": video, "class": shown, "share": float(share[shown]), "best": best}
        told |= {"label": names[shown] if names else str(shown), "layer": layer}
        said.append(told | {"best_label": names[best] if names else str(best)})
    _write(a.out, sheets, said, a.model)
    print(json.dumps({"out": str(a.out), "videos": said}) if a.json else a.out)
    return 0


def _class_names(weights: str | None) -> list[str]:
    """Names of the classes in a file of `cvdecode study train`; [] elsewhere."""
    import torch

    if weights is None or not Path(weights).is_file():
        return []
    found = torch.load(weights, map_location="cpu", weights_only=True)
    return list(found.get("names", [])) if isinstance(found, dict) else []


def _class_number(text: str, names: list[str], classes: int) -> int:
    if text in names:
        return names.index(text)
    if text.isdigit() and int(text) < classes:
        return int(text)
    raise ValueError(f"there is no class {text!r} of {classes}: {', '.join(names) or 'no names'}")


def _plain(net: Any) -> Any:
    """The network with plain scores, for those that wrap them in an object."""
    import torch

    class Scores(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net = net

        def forward(self, images: torch.Tensor) -> torch.Tensor:
            out = self.net(images)
            scores: torch.Tensor = getattr(out, "logits", out)
            return scores

    return Scores()


def last_map(net: torch.nn.Module, images: torch.Tensor) -> str:
    """Name of the module that is the last to give a map: (B, K, h, w) or (B, K, t, h, w).

    Raises:
        ValueError: there is none, as in a transformer.
    """
    import torch

    found: list[str] = []

    def look(name: str) -> Any:
        def hook(module: Any, inputs: Any, output: Any) -> None:
            shape = getattr(output, "shape", ())
            if len(shape) in (4, 5) and min(shape[-2:]) > 1:
                found.append(name)

        return hook

    hooks = [m.register_forward_hook(look(name)) for name, m in net.named_modules() if name]
    try:
        with torch.no_grad():
            net(images)
    finally:
        for hook in hooks:
            hook.remove()
    once = [name for name in found if found.count(name) == 1]
    if not once:
        raise ValueError(
            "no module of this network gives a map of features, (B, K, h, w) or (B, K, t, h, w), "
            "once: Grad-CAM is for convolutional networks; name a module with --layer"
        )
    return once[-1]


def _sheet(images: torch.Tensor, cam: torch.Tensor, spec: Any) -> npt.NDArray[Any]:
    """The clip above, the map over it below: (H, W, 3) uint8. One map serves all pictures."""
    import numpy as np
    import torch

    from cvdecode.enhance import cam_picture
    from cvdecode.study.pictures import beside

    clip = images[0] if spec.layout == "btchw" else images[0].transpose(0, 1)  # (T, 3, H, W)
    mean, std = (torch.tensor(v).view(3, 1, 1).to(clip) for v in (spec.mean, spec.std))
    pictures = (clip * std + mean).clamp(0, 1)
    over = cam_picture(pictures, cam.expand(len(pictures), *cam.shape[-2:]).to(clip))
    picked = np.linspace(0, len(pictures) - 1, min(SHOWN, len(pictures))).round().astype(int)
    times = max(1, round(TILE / pictures.shape[-1]))
    rows = []
    for tensor in (pictures, over):
        frames = (tensor[picked] * 255).round().byte().permute(0, 2, 3, 1).cpu().numpy()
        frames = frames.repeat(times, axis=1).repeat(times, axis=2)
        rows.append(beside(list(frames)))
    white = np.full((4, rows[0].shape[1], 3), 255, np.uint8)
    return np.concatenate([rows[0], white, rows[1]])


def _write(out: Path, sheets: list[Any], said: list[dict[str, Any]], model: str) -> None:
    import numpy as np

    from cvdecode.study.pictures import picture, png
    from cvdecode.study.records import write_atomic

    if out.suffix == ".png":
        white = np.full((12, sheets[0].shape[1], 3), 255, np.uint8)
        parts = [part for sheet in sheets for part in (sheet, white)]
        write_atomic(out, png(np.concatenate(parts[:-1])))
        return
    from cvdecode.recipes.records import versions
    from cvdecode.report.study import write_page

    head = {"kind": "study", "model": model, "command": command(), "versions": versions()}
    records: list[dict[str, Any]] = [head]
    for sheet, told in zip(sheets, said, strict=True):
        seen = f"seen as {told['best_label']}"
        records.append(
            picture(
                str(told["video"]),
                sheet,
                f"{seen}; map for {told['label']} ({100 * told['share']:.1f} %), layer "
                f"{told['layer']}: blue nothing, green half, red most of what spoke for it",
            )
        )
    write_page(records, out, title=f"Where {model} looked")
