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
    parser.add_argument(
        "model",
        help="of cvdecode train or study train: a file; or a name from `cvdecode study models`, or "
        "module:function, with --weights",
    )
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
    from cvdecode.recipes import looks, saved
    from cvdecode.recipes.checkpoint import Trained
    from cvdecode.study.models import resolve

    a = arguments
    if a.out.suffix not in (".png", ".html"):
        raise ValueError(f"{a.out}: the output is a .png or .html file")
    known = known_models()
    found: Any
    if Path(a.model).exists():
        if a.weights:
            raise ValueError(f"{a.model} is a network with its weights: --weights is for names")
        found = saved.load(a.model)
        found, names = (found, found.classes) if isinstance(found, Trained) else found
    else:
        if a.model in known and not a.weights:
            raise ValueError(f"{a.model} needs --weights: untrained it only guesses")
        names = saved.names_in(a.weights) if a.weights else []
        found = resolve(a.model, a.weights, len(names) or 400, known)
    look: Any = looks.looks_of_system if isinstance(found, Trained) else looks.looks_of_model

    def choose(scores: torch.Tensor) -> int:
        return int(scores.argmax()) if a.label is None else _number(a.label, names, len(scores))

    layer, sheets, said = a.layer, [], []
    for video in a.videos:
        seen = look(found, video, choose, layer=layer, device=a.device)
        layer, share = seen.layer, seen.scores.softmax(0)
        best = int(share.argmax())
        sheets.append(_sheet(seen.pictures, seen.maps))
        told = {"video": video, "class": seen.chosen, "share": float(share[seen.chosen])}
        told |= {"label": names[seen.chosen] if names else str(seen.chosen), "layer": layer}
        said.append(told | {"best": best, "best_label": names[best] if names else str(best)})
    _write(a.out, sheets, said, a.model)
    print(json.dumps({"out": str(a.out), "videos": said}) if a.json else a.out)
    return 0


def _number(text: str, names: list[str], classes: int) -> int:
    if text in names:
        return names.index(text)
    if text.isdigit() and int(text) < classes:
        return int(text)
    raise ValueError(f"there is no class {text!r} of {classes}: {', '.join(names) or 'no names'}")


def _sheet(pictures: torch.Tensor, maps: torch.Tensor) -> npt.NDArray[Any]:
    """(T, 3, H, W) above, the maps (T, H, W) over them below: (H, W, 3) uint8."""
    import numpy as np

    from cvdecode.enhance import cam_picture
    from cvdecode.study.pictures import beside

    over = cam_picture(pictures, maps)
    picked = np.linspace(0, len(pictures) - 1, min(SHOWN, len(pictures))).round().astype(int)
    times = max(1, round(TILE / pictures.shape[-1]))
    rows = []
    for tensor in (pictures, over):
        frames = (tensor[picked] * 255).round().byte().permute(0, 2, 3, 1).numpy()
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

    head: dict[str, Any] = {"kind": "study", "model": model, "command": command(), "videos": said}
    head |= {"versions": versions()}
    records = [head]
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
