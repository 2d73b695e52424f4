"""Our own networks of decoded clips, by name, beside those of `cvdecode.study.models`."""

from __future__ import annotations

from torch import Tensor, nn

from cvdecode import heads
from cvdecode.study.clips import ClipSpec
from cvdecode.study.models import Entry, with_weights

_GREY = (0.45, 0.45, 0.45), (0.225, 0.225, 0.225)
SMALL = ClipSpec(64, 56, 8, 2, "btchw", *_GREY)
"""For two CPU cores: eight pictures of 56x56, every second one."""
MFNET = ClipSpec(
    256, 224, 16, 2, mean=(124 / 255, 117 / 255, 104 / 255), std=(1 / (255 * 0.0167),) * 3
)
"""MFNet's own normalisation, which `heads.normalise_clip` does to samples of 0 to 255."""


class Frames(nn.Module):
    """A small residual net of single pictures; scores are averaged over those of a clip."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.net = heads.Stream(heads.small_cnn(3), classes, dropout=0.2)

    def forward(self, clips: Tensor) -> Tensor:
        """(B, T, 3, H, W) to scores (B, C)."""
        scores: Tensor = self.net(clips)
        return scores


class Stack(nn.Module):
    """The same net with the pictures of a clip as its input channels: its first layer sees motion.

    What moves between the pictures is told from the first layer on, at the cost of one picture.
    """

    def __init__(self, classes: int, frames: int) -> None:
        super().__init__()
        self.net = heads.Stream(heads.small_cnn(3 * frames), classes, dropout=0.2)

    def forward(self, clips: Tensor) -> Tensor:
        """(B, T, 3, H, W) to scores (B, C)."""
        scores: Tensor = self.net(clips.flatten(1, 2)[:, None])
        return scores


NETS: dict[str, Entry] = {
    "small_frames": Entry(SMALL, "cvdecode", lambda w, n: with_weights(Frames(n), w), True),
    "small_stack": Entry(
        SMALL, "cvdecode", lambda w, n: with_weights(Stack(n, SMALL.frames), w), True
    ),
    "mfnet3d": Entry(MFNET, "cvdecode", lambda w, n: with_weights(heads.MFNet3D(n), w), True),
}
"""Known to `cvdecode study models, evaluate, train` and `cvdecode grad-cam`."""
