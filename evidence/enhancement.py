"""Enhancement: PSNR gained over the compressed video, recognition after it, cost of alignment.

Luma of synthetic actions, small networks trained from scratch with the pixel loss. Rows of PSNR
(dB) and of recognition hold a score for each test clip, so that differences of rows are gains.
"""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

import cvdecode
from cvdecode import enhance
from cvdecode.study import ffmpeg
from cvdecode.study.clips import preprocess
from cvdecode.study.motion import temporal_consistency
from evidence import otani, record
from evidence.actions import APPEARANCES, MOTIONS, SIZE, actions, draw
from evidence.encode import encode

FULL = {
    "train": 48, "test": 48, "frames": 9, "iterations": 150, "batch": 4, "steps": 4, "patch": 32,
    "rate": 1e-3, "seeds": [0, 1, 2], "recogniser": otani.FULL,
}  # fmt: skip
QUICK = {
    **FULL, "train": 8, "test": 8, "iterations": 2, "seeds": [0], "recogniser": otani.QUICK,
}  # fmt: skip
CODECS = {
    "x265": ("-c:v", "libx265", "-x265-params", "log-level=error:pools=none:frame-threads=1"),
    "x264": ("-c:v", "libx264"),
}
# Codec and CRF, network; the most wanted first.
ROWS = (
    ("x265 CRF 35", "recurrent"),
    ("x265 CRF 45", "recurrent"),
    ("x265 CRF 25", "recurrent"),
    ("x264 CRF 35", "recurrent"),
    ("x264 CRF 35", "vectors"),
    ("x264 CRF 35", "unaligned"),
)


def clips(split: str, stream: str, settings: dict[str, Any], seed: int, folder: Path) -> Any:
    """((original, compressed, flow), CPU milliseconds a frame that the flow took).

    Tensors (clips, T, 1 or 2, 112, 112); flow of x264 alone.
    """
    count, frames = settings[split], settings["frames"]
    codec, _, crf = stream.split()
    todo = actions(split, count, len(MOTIONS), settings["recogniser"]["textures"])
    original = np.stack([draw(a, frames, seed) for a in todo])
    path = folder / f"{split}_{stream.replace(' ', '')}.mp4"
    encode(original, path, frames, (*CODECS[codec], "-crf", crf))
    decoded = np.stack(list(ffmpeg.frames(path, (SIZE * 3 // 2, SIZE), "yuv420p")))[:, :SIZE]
    shape = (count, frames, 1, SIZE, SIZE)
    pair = [torch.from_numpy(x.reshape(shape)).float() / 255 for x in (original, decoded)]
    flow, cost = torch.zeros(count * frames, 2, SIZE, SIZE), 0.0
    if codec == "x264":
        with cvdecode.VideoReader(path, planes=("mv", "ref")) as video:
            begin = time.process_time()
            for t in range(len(video)):
                acc = cvdecode.accumulate(video, [t], anchors=[max(0, t - 1)])
                arrays = torch.from_numpy(acc.displacement), torch.from_numpy(acc.anchor)
                flow[t] = enhance.stream_flow(*arrays, torch.tensor([t]))[0][0]
            cost = 1000 * (time.process_time() - begin) / len(video)
    return (*pair, flow.view(count, frames, 2, SIZE, SIZE)), cost


def trained(network: str, data: Any, settings: dict[str, Any], seed: int) -> Any:
    """A small network after `iterations` steps."""
    torch.manual_seed(seed)
    kind: Any = "recurrent" if network == "recurrent" else "vectors"
    model: Any = enhance.small_enhancer(kind, settings["patch"])
    optimiser = torch.optim.Adam(model.parameters(), settings["rate"])
    rng = np.random.default_rng([seed, 5])
    for _ in range(settings["iterations"]):
        found = []
        for _ in range(settings["batch"]):
            clip = int(rng.integers(len(data[0])))
            start = int(rng.integers(settings["frames"] - settings["steps"] + 1))
            part = (tensor[clip, start : start + settings["steps"]] for tensor in data)
            found.append(enhance.random_patches(settings["patch"], *part))
        original, compressed, flow = (torch.stack(x) for x in zip(*found, strict=True))
        inputs = (compressed,) if network == "recurrent" else (compressed, flow)
        enhance.train_step(model, optimiser, enhance.pixel_loss, original, *inputs)
    return model


@torch.no_grad()
def enhanced(network: str, model: Any, data: Any) -> tuple[Any, float]:
    """The clips in 8 bits / 255, and CPU milliseconds a frame, the median over clips."""
    shown, times = [], []
    for clip in range(len(data[0])):
        given = [x[clip : clip + 1] for x in (data[1:2] if network == "recurrent" else data[1:])]
        begin = time.process_time()
        shown.append((model(*given) * 255).round().clamp(0, 255) / 255)
        times.append((time.process_time() - begin) / data[0].shape[1])
    return torch.cat(shown), 1000 * float(np.median(times))


def psnr(shown: Any, original: Any) -> Any:
    return -10 * (shown - original).square().mean((1, 2, 3, 4)).log10().numpy()


def consistency(frames: Any, flow: Any) -> float:
    """Temporal consistency, dB, along the x264 stream's own motion; the mean over clips."""
    samples = enhance.flow_in_samples(flow).numpy()
    pairs = zip(frames[:, :, 0].numpy(), samples, strict=True)
    return float(np.mean([temporal_consistency(clip, motion) for clip, motion in pairs]))


def recognised(net: Any, kind: str, frames: Any, label: Any) -> Any:
    """Right or wrong of each clip; luma as the reader would give it in RGB."""
    spec = otani.SPECS[kind]
    where = [k * spec.stride for k in range(spec.frames)]
    levels = (frames[:, where] * 255).numpy().astype(np.float64)
    rgb = np.rint(np.clip((levels - 16) * 255 / 219, 0, 255)).astype(np.uint8).repeat(3, 2)
    batch = np.stack([preprocess(clip, spec).transpose(1, 0, 2, 3) for clip in rgb])
    return (net.scores(batch).argmax(1) == label).astype(np.float64)


def run(book: record.Book, settings: dict[str, Any], progress: Any = print) -> None:
    torch.set_num_threads(1)
    for seed in settings["seeds"]:
        todo = [row for row in ROWS if not book.has(f"temporal {' '.join(row)}", seed)]
        if not todo:
            continue
        made = otani.originals(seed, settings["recogniser"])
        nets = {
            kind: otani.recogniser(kind, made, settings["recogniser"], seed) for kind in otani.SPECS
        }
        textures = settings["recogniser"]["textures"]
        todo_clips = actions("test", settings["test"], len(MOTIONS), textures)
        labels = {
            "temporal": np.array([a.motion for a in todo_clips]),
            "spatial": np.array([a.appearance for a in todo_clips]),
        }

        def judge(
            row: str, shown: Any, original: Any, seed: int = seed, nets: Any = nets,
            labels: Any = labels, **more: Any,
        ) -> None:  # fmt: skip
            if not book.has(f"psnr {row}", seed):
                book.add(f"psnr {row}", seed, psnr(shown, original).clip(max=99), **more)
            right = {}
            for kind, net in nets.items():
                right[kind] = recognised(net, kind, shown, labels[kind])
                if not book.has(f"{kind} {row}", seed):
                    book.add(f"{kind} {row}", seed, right[kind])
            told = ", ".join(f"{kind} {100 * r.mean():.1f} %" for kind, r in right.items())
            progress(f"seed {seed}  {row}: {psnr(shown, original).mean():.2f} dB, {told}")

        for stream, network in todo:
            with tempfile.TemporaryDirectory() as folder:
                train, _ = clips("train", stream, settings, seed, Path(folder))
                test, cost = clips("test", stream, settings, seed, Path(folder))
            by_vectors = stream.startswith("x264")
            if not book.has("temporal original", seed):
                judge("original", test[0], test[0])
            if not book.has(f"temporal {stream} compressed", seed):
                more = {"tc": consistency(test[1], test[2])} if by_vectors else {}
                judge(f"{stream} compressed", test[1], test[0], **more)
            flow = test[2]
            if network == "unaligned":
                train, test = ((*x[:2], torch.zeros_like(x[2])) for x in (train, test))
            model = trained(network, train, settings, seed)
            shown, took = enhanced(network, model, test)
            more = {"tc": consistency(shown, flow)} if by_vectors else {}
            judge(f"{stream} {network}", shown, test[0], ms=took, vectors_ms=cost, **more)


def with_gains(scores: dict[str, Any]) -> dict[str, Any]:
    """PSNR rows, and "<stream> gain": what the recurrent network adds to the compressed clip."""
    gains = {
        name.replace("recurrent", "gain"): value - scores[name.replace("recurrent", "compressed")]
        for name, value in scores.items()
        if name.endswith("recurrent")
    }
    return {**scores, **gains}


def decibels(section: dict[str, Any], scores: dict[str, Any]) -> str:
    """Verdicts in dB; the margin of a null is told in its reason."""
    lines = ["| expected before the run | difference, dB (95 %) | adjusted p | verdict | why |"]
    lines.append("|---|---|---|---|---|")
    for line in record.judge(section, scores):
        found = line.get("comparison")
        apart = f"{found.difference:+.2f} ({found.low:+.2f} to {found.high:+.2f})" if found else ""
        few = f" ({found.seeds} of 3 seeds)" if found and found.seeds < 3 else ""
        p = f"{line['adjusted_p']:.4f}" if "adjusted_p" in line else ""
        order = line["order"].split(" within")[0]
        lines.append(f"| {order} | {apart} | {p} | **{line['verdict']}**{few} | {line['why']} |")
    return "\n".join(lines)


def report(book: record.Book) -> str:
    s = book.settings
    parts = {kind: record.part(book, f"{kind} ") for kind in ("psnr", *otani.SPECS)}
    scores = {kind: part.scores() for kind, part in parts.items()}
    last = {r["row"]: r for r in parts["psnr"].rows}
    lines = ["| row | PSNR, dB | gain, dB | TC, dB | spatial, % | temporal, % | ms a frame |"]
    lines.append("|---|---|---|---|---|---|---|")
    for name, found in scores["psnr"].items():
        right = " | ".join(f"{100 * scores[k][name].mean():.1f}" for k in ("spatial", "temporal"))
        if name == "original":
            lines.append(f"| original | | | | {right} | |")
            continue
        base = scores["psnr"][f"{name.rsplit(' ', 1)[0]} compressed"]
        tc, took = last[name].get("tc"), last[name].get("ms")
        lines.append(
            f"| {name} | {found.mean():.2f} | {(found - base).mean():+.2f} | "
            f"{'' if tc is None else f'{tc:.2f}'} | {right} | "
            f"{'' if took is None else f'{took:.1f}'} |"
        )
    cost = last.get("x264 CRF 35 vectors", {}).get("vectors_ms", float("nan"))
    nets = s["recogniser"]
    return "\n\n".join(
        [
            "## Enhancement: what it gains, and what alignment costs",
            f"Synthetic clips (8 motions x {len(APPEARANCES)} textures) of {s['frames']} pictures "
            f"of {SIZE}x{SIZE}, encoders at their defaults; small networks (ENet 16 channels, 4 "
            f"blocks) from scratch, pixel loss, {s['iterations']} steps of {s['batch']} sequences "
            f"of {s['steps']} patches of {s['patch']}: far less than the paper's 150 epochs. "
            f"{s['train']} training and {s['test']} test clips, other ones each seed, seeds "
            f"{book.seeds}. Recognisers: those of otani.md, trained on {nets['train']} originals "
            "and never on compressed or enhanced clips; spatial tells the texture from single "
            "pictures (chance 16.7 %), temporal the motion from eight (12.5 %). Not run: "
            "perceptual and adversarial losses, frame by frame, multi-frame. An earlier run with "
            "longer training at one rate, x264 and the stream's vectors among it, is "
            "[enhancement_first](enhancement_first.md).",
            "\n".join(lines),
            "Time: CPU, one thread, a busy machine. TC: PSNR of each frame against the one before "
            "it, moved along the x264 stream's own vectors"
            + (f", which took {cost:.1f} ms a frame beside it." if cost == cost else "."),
            decibels(record.expected("enhancement", "psnr"), with_gains(scores["psnr"])),
            *(
                f"### Recognition after enhancement: {kind}\n\n"
                + record.verdicts(record.expected("enhancement", kind), scores[kind])
                for kind in ("spatial", "temporal")
            ),
        ]
    )


def draw_figure(book: record.Book, path: Path) -> None:
    """PSNR and accuracy of x265 over CRF, compressed and enhanced."""
    import matplotlib

    matplotlib.use("agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(1, 3, figsize=(13, 3.7))
    for axis, (kind, scale) in zip(
        axes, (("psnr", 1), ("spatial", 100), ("temporal", 100)), strict=True
    ):
        scores = record.part(book, f"{kind} ").scores()
        for network, style in (("compressed", "o--"), ("recurrent", "s-")):
            rates = sorted(int(n.split()[2]) for n in scores if n.endswith(network) and "x265" in n)
            found = [scale * scores[f"x265 CRF {crf} {network}"].mean() for crf in rates]
            axis.plot(rates, found, style, label=network)
        if kind != "psnr":
            level = 100 * scores["original"].mean()
            axis.axhline(level, color="#888", linestyle=":", label="original")
        axis.set_title("PSNR, dB" if kind == "psnr" else f"{kind}, % right", fontsize=10)
        axis.set_xlabel("CRF of x265")
        axis.grid(alpha=0.3)
        axis.spines[["top", "right"]].set_visible(False)
        axis.legend(fontsize=8)
    figure.tight_layout()
    figure.savefig(path, dpi=90)
    pyplot.close(figure)
