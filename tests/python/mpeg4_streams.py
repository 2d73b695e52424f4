"""MPEG-4 part 2 elementary streams by ffmpeg's encoder, in which every branch of VOPs is met."""

from __future__ import annotations

import subprocess
from pathlib import Path

MOVING = "mandelbrot=size=176x112:rate=25:end_scale=0.02,noise=alls=14:allf=t:all_seed=2"
PANNING = "testsrc2=size=336x224:rate=25,scroll=h=0.11:v=0.07,noise=alls=9:all_seed=5"
CUTS = "testsrc2=size=112x80:rate=25,geq=lum='mod(lum(X,Y)+90*floor(N/3),256)':cb=128:cr=128"

# name -> source, encoder options: what each is for stands in its name.
STREAMS: dict[str, tuple[str, list[str]]] = {
    "plain": (MOVING, ["-q:v", "4"]),
    "escapes_and_fine_quantiser": (MOVING, ["-q:v", "1", "-qmin", "1"]),
    "coarse_quantiser": (MOVING, ["-q:v", "31"]),
    "four_vectors": (MOVING, ["-q:v", "5", "-flags", "+mv4"]),
    "quarter_samples": (MOVING, ["-q:v", "5", "-flags", "+qpel+mv4"]),
    "video_packets": (MOVING, ["-q:v", "4", "-flags", "+mv4", "-ps", "300", "-threads", "1"]),
    "slices": (MOVING, ["-q:v", "4", "-slices", "4", "-threads", "1"]),
    "long_vectors": (PANNING, ["-q:v", "6", "-me_range", "200", "-flags", "+mv4"]),
    "dquant": (MOVING, ["-b:v", "90k", "-mbd", "rd", "-mpv_flags", "+qp_rd", "-flags", "+mv4"]),
    "matrices": (MOVING, ["-q:v", "3", "-mpeg_quant", "1"]),
    "intra_in_p": (CUTS, ["-q:v", "9", "-sc_threshold", "1000000000"]),
    "intra_dc_as_ac": (CUTS, ["-q:v", "24", "-sc_threshold", "1000000000"]),
    "ac_prediction": (MOVING, ["-q:v", "8", "-flags", "+aic"]),
}


def make(path: Path, source: str, options: list[str], frames: int = 16) -> Path:
    """The first `frames` of an ffmpeg source, with an I-VOP every 8."""
    command = ["ffmpeg", "-v", "error", "-y", "-f", "lavfi", "-i", source]
    command += ["-frames:v", str(frames), "-pix_fmt", "yuv420p", "-c:v", "mpeg4", "-g", "8"]
    subprocess.run([*command, *options, str(path)], check=True)
    return path
