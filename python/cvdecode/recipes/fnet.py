"""The flow of a trained enhancer's FNet, for those who measure with it."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from cvdecode import enhance
from cvdecode.study.errors import StudyError

Luma = npt.NDArray[np.uint8]


def load_flow(
    path: str | os.PathLike[str], device: str = "cpu"
) -> Callable[[Luma, Luma], npt.NDArray[np.float32]]:
    """The FNet in a checkpoint of `cvdecode enhance-train`.

    Returns:
        A function of two luma frames, uint8 (H, W), now and before: float32 (2 (x, y), H, W),
        samples, source in the frame before = here + flow.

    Raises:
        StudyError: the file is no such checkpoint, or its network has no FNet.
    """
    try:
        model = enhance.from_checkpoint(torch.load(path, map_location=device, weights_only=True))
    except OSError:
        raise
    except Exception as error:  # torch raises many kinds for a file that is something else
        raise StudyError(f"{path} is no checkpoint of cvdecode enhance-train") from error
    fnet: Any = getattr(model, "fnet", None)
    if fnet is None:
        raise StudyError(
            f"{path} has no FNet: train one with cvdecode enhance-train --architecture recurrent "
            "or window"
        )
    fnet.to(device)

    def flow(now: Luma, before: Luma) -> npt.NDArray[np.float32]:
        pair = (torch.from_numpy(x.copy())[None, None].to(device) / 255 for x in (now, before))
        with torch.no_grad():
            found: npt.NDArray[np.float32] = enhance.flow_in_samples(fnet(*pair))[0].cpu().numpy()
        return found

    return flow
