"""Enhancement: PSNR gained over the compressed video, and what alignment costs.

Luma of synthetic actions, small networks trained from scratch with the pixel loss. Rows hold PSNR
(dB) of each test clip, so that differences of rows are gains.
"""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

import cvdecode
from cvdecode.study import ffmpeg
from cvdecode.study.motion import temporal_consistency
from evidence import record
from evidence.actions import SIZE, actions, draw
from evidence.encode import encode

FULL = {
    "train": 24, "test": 24, "frames": 12, "iterations": 250, "batch": 4, "steps": 6, "patch": 48,
    "rate": 1e-3, "crf": 35, "seeds": [0],
}  # fmt: skip
QUICK = {**FULL, "iterations": 5}
CODECS = {
    "x265": ("-c:v", "libx265", "-x265-params", "log-level=error:pools=1"),
    "x264": ("-c:v", "libx264"),
}
ROWS = ("x265 recurrent", "x264 recurrent", "x264 vectors", "x264 unaligned")


def clips(split: str, codec: str, settings: dict[str, Any], seed: int, folder: Path) -> Any:
    """(original, compressed, flow) as tensors (clips, T, 1 or 2, 112, 112); flow by x264 alone."""
    import torch

    from cvdecode import enhance

    count, frames = settings[split], settings["frames"]
    original = np.stack([draw(a, frames, seed) for a in actions(split, count, 8, 3)])
    path = folder / f"{split}_{codec}.mp4"
    encode(original, path, frames, (*CODECS[codec], "-crf", str(settings["crf"])))
    decoded = np.stack(list(ffmpeg.frames(path, (SIZE * 3 // 2, SIZE), "yuv420p")))[:, :SIZE]
    shape = (count, frames, 1, SIZE, SIZE)
    pair = [torch.from_numpy(x.reshape(shape)).float() / 255 for x in (original, decoded)]
    flow, cost = torch.zeros(count * frames, 2, SIZE, SIZE), 0.0
    if codec == "x264":
        with cvdecode.VideoReader(path, planes=("mv", "ref")) as video:
            begin = time.process_time()
            for t in range(len(video)):
                acc = cvdecode.accumulate(video, [t], anchors=[max(0, t - 1)])
                arrays = (torch.from_numpy(a) for a in (acc.displacement, acc.anchor))
                flow[t] = enhance.stream_flow(*arrays, torch.tensor([t]))[0][0]  # type: ignore[call-arg]
            cost = 1000 * (time.process_time() - begin) / len(video)
    return (*pair, flow.view(count, frames, 2, SIZE, SIZE)), cost


def trained(row: str, data: Any, settings: dict[str, Any], seed: int, progress: Any) -> Any:
    """A small network after `iterations` steps."""
    import torch

    from cvdecode import enhance

    torch.manual_seed(seed)
    model: Any = enhance.small_enhancer(
        "recurrent" if row.endswith("recurrent") else "vectors", settings["patch"]
    )
    optimiser = torch.optim.Adam(model.parameters(), settings["rate"])
    rng = np.random.default_rng([seed, 5])
    for k in range(settings["iterations"]):
        found = []
        for _ in range(settings["batch"]):
            clip = int(rng.integers(len(data[0])))
            start = int(rng.integers(settings["frames"] - settings["steps"] + 1))
            part = (tensor[clip, start : start + settings["steps"]] for tensor in data)
            found.append(enhance.random_patches(settings["patch"], *part))
        original, compressed, flow = (torch.stack(x) for x in zip(*found, strict=True))
        inputs = (compressed,) if row.endswith("recurrent") else (compressed, flow)
        loss = enhance.train_step(model, optimiser, enhance.pixel_loss, original, *inputs)
        if k % 50 == 49:
            progress(f"seed {seed}  {row}: step {k + 1}, loss {float(loss):.6f}")
    return model


def judged(row: str, model: Any, data: Any) -> tuple[Any, Any]:
    """PSNR of each clip, and the enhanced clips (clips, T, 112, 112) in 8 bits / 255."""
    import torch

    with torch.no_grad():
        given = data[1:2] if row.endswith("recurrent") else data[1:]
        enhanced = (model(*given) * 255).round().clamp(0, 255) / 255
    return gain(enhanced, data[0]), enhanced[:, :, 0].numpy()


def gain(shown: Any, original: Any) -> Any:
    return -10 * (shown - original).square().mean((1, 2, 3, 4)).log10().numpy()


def consistency(frames: Any, flow: Any) -> float:
    """Temporal consistency, dB, along the x264 stream's own motion; the mean over clips."""
    from cvdecode import enhance

    samples = enhance.flow_in_samples(flow).numpy()
    pairs = zip(frames, samples, strict=True)
    return float(np.mean([temporal_consistency(clip, motion) for clip, motion in pairs]))


def milliseconds(row: str, model: Any, data: Any) -> float:
    """CPU time of a frame, median over clips."""
    times = []
    for clip in range(min(8, len(data[1]))):
        given = data[1:2] if row.endswith("recurrent") else data[1:]
        begin = time.process_time()
        for _ in model.stream(*(x[clip][:, None] for x in given)):
            pass
        times.append((time.process_time() - begin) / len(data[1][clip]))
    return 1000 * float(np.median(times))


def run(book: record.Book, settings: dict[str, Any], progress: Any = print) -> None:
    import torch

    torch.set_num_threads(1)
    for seed in settings["seeds"]:
        if all(book.has(row, seed) for row in ROWS):
            continue
        with tempfile.TemporaryDirectory() as folder:
            sets = {
                (split, codec): clips(split, codec, settings, seed, Path(folder))
                for split in ("train", "test")
                for codec in CODECS
            }
        for row in ROWS:
            codec = row.split()[0]
            (train, _), (test, cost) = sets["train", codec], sets["test", codec]
            if row.endswith("unaligned"):
                train, test = ((*x[:2], torch.zeros_like(x[2])) for x in (train, test))
            model = trained(row, train, settings, seed, progress)
            scores, enhanced = judged(row, model, test)
            flow = sets["test", "x264"][0][2]
            more = {"tc": consistency(enhanced, flow)} if codec == "x264" else {}
            if row.endswith("vectors"):
                more["vectors_ms"] = cost
            base = f"{codec} compressed"
            if not book.has(base, seed):
                shown = consistency(test[1][:, :, 0].numpy(), flow) if codec == "x264" else None
                book.add(base, seed, gain(test[1], test[0]), tc=shown)
            took = milliseconds(row, model, test)
            book.add(row, seed, scores, ms=took, **more)
            progress(f"seed {seed}  {row:16s} {scores.mean():.2f} dB")


def report(book: record.Book) -> str:
    s = book.settings
    section = record.expected("enhancement")
    last = {r["row"]: r for r in book.rows}
    lines = ["| row | PSNR, dB | gain, dB | TC, dB | network, ms a frame |"]
    lines.append("|---|---|---|---|---|")
    for name, scores in book.scores().items():
        base = book.scores()[f"{name.split()[0]} compressed"]
        tc, took = last[name].get("tc"), last[name].get("ms")
        lines.append(
            f"| {name} | {scores.mean():.2f} | {(scores - base).mean():+.2f} | "
            f"{'' if tc is None else f'{tc:.2f}'} | {'' if took is None else f'{took:.1f}'} |"
        )
    verdicts = ["| expected before the run | difference, dB (95 %) | verdict | why |"]
    verdicts.append("|---|---|---|---|")
    for line in record.judge(section, book.scores()):
        found = line.get("comparison")
        apart = f"{found.difference:+.2f} ({found.low:+.2f} to {found.high:+.2f})" if found else ""
        order = line["order"].split(" within")[0]  # the margin, in dB, is told in `why`
        verdicts.append(f"| {order} | {apart} | **{line['verdict']}** | {line['why']} |")
    cost = last.get("x264 vectors", {}).get("vectors_ms", float("nan"))
    return "\n\n".join(
        [
            "## Enhancement: what it gains, and what alignment costs",
            f"{section['why']} Synthetic clips of {s['frames']} pictures of 112x112, CRF "
            f"{s['crf']}, encoders at their defaults; small networks (ENet 16 channels, 4 blocks) "
            f"from scratch, pixel loss, {s['iterations']} steps of {s['batch']} sequences of "
            f"{s['steps']} patches of {s['patch']}; {s['train']} training and {s['test']} test "
            f"clips, seeds {book.seeds}: the intervals are over clips, not over "
            "trainings. Perceptual and adversarial losses, other rates, frame by frame, "
            "multi-frame and recognition: not run.",
            "\n".join(lines),
            "TC: PSNR of each frame against the one before it, moved along the x264 stream's own "
            "vectors. Time: CPU, one thread, a busy machine, one network after the other; reading "
            f"and accumulating the vectors took {cost:.1f} ms a frame beside it.",
            "\n".join(verdicts),
        ]
    )
