"""Enhance a compressed video with a trained network: luma only, frame by frame, constant memory."""

from __future__ import annotations

import argparse
import json
import os
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cvdecode
from cvdecode.cli._terminal import progress

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import numpy as np
    import numpy.typing as npt

    from cvdecode.enhance import Enhancer

    Picture = npt.NDArray[np.uint8]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("video", help="a video file, 8-bit 4:2:0")
    parser.add_argument("out", help="the enhanced video; its suffix chooses the container")
    parser.add_argument(
        "--checkpoint", required=True, metavar="FILE", help="torch.save(enhance.checkpoint(model))"
    )
    parser.add_argument(
        "--crf", type=int, default=10, help="of x264, which codes the output; 0 = lossless"
    )
    parser.add_argument("--device", default="cpu", help="of the network, e.g. cuda (default: cpu)")
    parser.add_argument("--json", action="store_true", help="print the result as JSON")


def load(checkpoint: str, device: str) -> tuple[Enhancer, tuple[str, ...]]:
    """The network in a file, and the planes that it takes beside pictures."""
    import torch

    from cvdecode.enhance import FrameRecurrent, from_checkpoint

    saved = torch.load(checkpoint, map_location=device, weights_only=True)
    model = from_checkpoint(saved).to(device)
    by_vectors = isinstance(model, FrameRecurrent) and model.fnet is None
    return model, ("mv", "ref") if by_vectors else ()


def run(arguments: argparse.Namespace) -> int:
    source, out = Path(arguments.video), Path(arguments.out)
    if out.exists() and out.samefile(source):
        raise ValueError(f"{out}: the output would overwrite the input")
    model, planes = load(arguments.checkpoint, arguments.device)
    with cvdecode.VideoReader(source, planes=planes) as video, progress() as bar:
        task = bar.add_task("enhancing", total=len(video))
        count = enhance_file(
            video,
            source,
            out,
            model,
            arguments.device,
            arguments.crf,
            on_frame=lambda: bar.advance(task),
        )
    if arguments.json:
        said = {"out": str(out), "frames": count, "network": type(model).__name__}
        print(json.dumps(said))
    else:
        print(out)
    return 0


def enhance_file(
    video: cvdecode.VideoReader,
    source: Path,
    out: Path,
    model: Enhancer,
    device: str,
    crf: int,
    on_frame: Callable[[], None],
) -> int:
    """Writes `out` beside itself and renames it when it is whole; the number of frames."""
    from cvdecode.study import ffmpeg

    form = _form(source)
    _check(video, form)
    width, height = video.metadata.width, video.metadata.height
    part = out.with_name(f".{out.stem}.{os.getpid()}{out.suffix}")
    process = ffmpeg.start(
        [
            *["-hide_banner", "-v", "error", "-y", "-f", "rawvideo", "-pix_fmt", form["pix_fmt"]],
            *["-s", f"{width}x{height}", "-r", form["rate"], "-i", "pipe:0", *form["colour"]],
            *["-c:v", "libx264", "-crf", str(crf), str(part)],
        ],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )
    pictures: Any = ffmpeg.frames(source, (height * 3 // 2, width), form["pix_fmt"])
    written = 0

    def pieces() -> Iterator[bytes]:
        nonlocal written
        for picture in _enhanced(video, pictures, height, model, device):
            yield picture.tobytes()
            written += 1
            on_frame()

    try:
        ffmpeg.feed(process, pieces(), str(out))
        if written != len(video):
            raise cvdecode.CorruptStream(
                f"{source}: it has {len(video)} frames, of which {written} could be decoded"
            )
        part.replace(out)
    finally:
        pictures.close()
        part.unlink(missing_ok=True)
    return written


def _enhanced(
    video: cvdecode.VideoReader, pictures: Any, height: int, model: Enhancer, device: str
) -> Iterator[Picture]:
    """The decoded 4:2:0 pictures with their luma enhanced; chroma bytes are passed on."""
    import torch

    from cvdecode.enhance import FrameRecurrent

    waiting: list[Picture] = []  # as many as the network looks ahead

    def luma() -> Iterator[torch.Tensor]:
        for picture in pictures:
            waiting.append(picture)
            yield torch.from_numpy(picture[:height].copy()).to(device)[None, None].float() / 255

    if isinstance(model, FrameRecurrent) and model.fnet is None:
        frames = model.stream(luma(), _flows(video, device))
    else:
        frames = model.stream(luma())
    for frame in frames:
        picture = waiting.pop(0).copy()
        picture[:height] = (frame[0, 0] * 255).round().clamp(0, 255).byte().cpu().numpy()
        yield picture


def _flows(video: cvdecode.VideoReader, device: str) -> Iterator[Any]:
    """The stream's motion from each frame to the one before it, (1, 2, H, W)."""
    import torch

    from cvdecode.enhance import stream_flow

    for t in range(len(video)):
        acc = cvdecode.accumulate(video, [t], anchors=[max(0, t - 1)])
        displacement = torch.from_numpy(acc.displacement).to(device)
        anchor = torch.from_numpy(acc.anchor).to(device)
        yield stream_flow(displacement, anchor, torch.tensor([t]))[0]


def _form(source: Path) -> dict[str, Any]:
    """Pixel format, frame rate and the colour options that say the same of the output."""
    wanted = {
        "color_range": "-color_range",
        "color_space": "-colorspace",
        "color_primaries": "-color_primaries",
        "color_transfer": "-color_trc",
    }
    try:
        done = subprocess.run(
            [
                *["ffprobe", "-v", "error", "-select_streams", "v:0", "-of", "json"],
                *["-show_entries", f"stream=pix_fmt,r_frame_rate,{','.join(wanted)}", str(source)],
            ],
            check=True,
            capture_output=True,
        )
    except FileNotFoundError:
        raise OSError("there is no ffprobe on the PATH: sudo apt-get install ffmpeg") from None
    except subprocess.CalledProcessError as error:
        raise cvdecode.CorruptStream(
            f"{source}: ffprobe failed: {error.stderr.decode(errors='replace').strip()}"
        ) from None
    said = json.loads(done.stdout)["streams"][0]
    colour = [
        word
        for key, option in wanted.items()
        if said.get(key, "unknown") not in ("unknown", "reserved")
        for word in (option, said[key])
    ]
    return {"pix_fmt": said["pix_fmt"], "rate": said["r_frame_rate"], "colour": colour}


def _check(video: cvdecode.VideoReader, form: dict[str, Any]) -> None:
    """Refuses what could only be enhanced after a conversion, and says which."""
    meta = video.metadata
    if not len(video):
        raise cvdecode.CorruptStream(f"{meta.source}: there is no frame in it")
    if form["pix_fmt"] not in ("yuv420p", "yuvj420p"):
        raise cvdecode.UnsupportedStream(
            f"{meta.source}: {form['pix_fmt']}; enhancement is for 8-bit 4:2:0: "
            "ffmpeg -i IN -pix_fmt yuv420p OUT"
        )
    if len(video.segments) > 1 or meta.width % 2 or meta.height % 2:
        sizes = ", ".join(f"{s.width}x{s.height}" for s in video.segments)
        raise cvdecode.UnsupportedStream(
            f"{meta.source}: {sizes}; enhancement is for one even size: ffmpeg -i IN -vf scale=..."
        )
    if meta.rotation:
        raise cvdecode.UnsupportedStream(
            f"{meta.source}: it is shown rotated by {meta.rotation:g} degrees; turn its pictures "
            "first: ffmpeg -i IN OUT"
        )
    if form["rate"].startswith("0/"):
        raise cvdecode.UnsupportedStream(f"{meta.source}: it says no frame rate")
