"""cvdecode study transcode, measure, models, evaluate."""

from __future__ import annotations

import argparse
import json
import os
import sys
from typing import TYPE_CHECKING, Any

from cvdecode.cli._inputs import command, expand
from cvdecode.cli._terminal import print_table, progress, readable

if TYPE_CHECKING:
    from cvdecode.study.models import Entry
    from cvdecode.study.survey import Flow
    from cvdecode.study.transcode import Estimate


def numbers(text: str) -> list[int]:
    try:
        return [int(part) for part in text.split(",") if part.strip()]
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r}: whole numbers, separated by commas") from None


def names(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]


def transcode_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("source", help="a video, a folder of videos, or a .txt list")
    parser.add_argument("out", help="output folder; the same command goes on where it stopped")
    parser.add_argument("--codec", choices=("h264", "hevc", "jpeg"), default="h264")
    rates = parser.add_mutually_exclusive_group()
    values = "LIST"
    rates.add_argument("--crf", type=numbers, metavar=values, help="(default: 0,10,20,30,40,50)")
    rates.add_argument("--qp", type=numbers, metavar=values, help="QP of every macroblock")
    rates.add_argument("--bitrate", type=numbers, metavar=values, help="kbit/s, one pass")
    rates.add_argument("--strength", type=numbers, metavar=values, help="JPEG: 0 to 100")
    rates.add_argument("--quality", type=numbers, metavar=values, help="JPEG: 1 to 100")
    parser.add_argument("--gop", type=numbers, default=[12], metavar=values, help="(default: 12)")
    parser.add_argument(
        "--preset", type=names, default=["medium"], metavar=values, help="(default: medium)"
    )
    parser.add_argument(
        "--bframes", type=numbers, default=[None], metavar=values, help="(default: the encoder's)"
    )
    parser.add_argument(
        "--short-side",
        type=int,
        default=360,
        help="scale a clip whose short side is longer to this; 0 = never (default: 360)",
    )
    parser.add_argument(
        "--join",
        action="store_true",
        help="send small clips of equal size through one encoder process with CRF and bitrate "
        "too; its rate control then carries over from clip to clip",
    )
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="clips at a time")


def transcode(arguments: argparse.Namespace) -> int:
    """Encode every clip with every setting of a grid: parallel, resumable, verified."""
    from cvdecode.study.grid import RATES, grid
    from cvdecode.study.transcode import transcode as work

    codec = arguments.codec
    given = {
        rate: getattr(arguments, rate)
        for rate in ("crf", "qp", "bitrate", "strength", "quality")
        if getattr(arguments, rate)
    }
    usual = {"strength": list(range(0, 101, 10))} if codec == "jpeg" else {}
    rate, values = next(iter((given or usual or {"crf": [0, 10, 20, 30, 40, 50]}).items()))
    if rate not in RATES[codec]:
        raise ValueError(f"--{rate} does not go with --codec {codec}: {', '.join(RATES[codec])}")
    settings = grid(
        codec,
        rate,
        values,
        arguments.gop,
        presets=arguments.preset,
        bframes=arguments.bframes,
        short_side=arguments.short_side or None,
    )

    def tell(estimate: Estimate) -> None:
        print(
            f"{estimate.items} outputs to write, about {readable(estimate.bytes)}; "
            f"{estimate.done_before} done before; {readable(estimate.free)} free",
            file=sys.stderr,
        )

    with progress() as bar:
        task = bar.add_task("transcoding", total=None)

        def show(done: int, total: int) -> None:
            bar.update(task, completed=done, total=total)

        summary = work(
            expand([arguments.source]),
            settings,
            arguments.out,
            jobs=arguments.jobs,
            join=arguments.join,
            command=command(),
            on_estimate=tell,
            on_progress=show,
        )
    rows = cell_rows(summary.records)
    if arguments.json:
        said = {"cells": rows, "failed": summary.failed, "done_before": summary.done_before}
        print(json.dumps(said))
        return 1 if summary.failed else 0
    print_table(
        f"{arguments.out}: one folder a setting",
        ("setting", "clips", "frames", "size", "kbit/s", "mean QP"),
        [
            (
                r["setting"],
                str(r["clips"]),
                str(r["frames"]),
                readable(r["bytes"]),
                f"{r['kbps']:.1f}",
                "" if r["mean_qp"] is None else f"{r['mean_qp']:.2f}",
            )
            for r in rows
        ],
    )
    if summary.failed:
        print_table(
            "not made",
            ("clip", "setting", "why"),
            [(f["source"], f["setting"] or "", f["error"]) for f in summary.failed],
        )
    return 1 if summary.failed else 0


def cell_rows(records: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """One row a setting from the lines of a manifest."""
    cells: dict[str, list[dict[str, Any]]] = {}
    for record in records:
        cells.setdefault(record["setting"], []).append(record)
    rows = []
    for name, those in cells.items():
        seconds = sum(r["seconds"] for r in those)
        qps = [(r["mean_qp"], r["frames"]) for r in those if r.get("mean_qp") is not None]
        frames = sum(n for _, n in qps)
        rows.append(
            {
                "setting": name,
                "clips": len(those),
                "frames": sum(r["frames"] for r in those),
                "bytes": sum(r["bytes"] for r in those),
                "kbps": 8e-3 * sum(r["video_bytes"] for r in those) / seconds if seconds else 0.0,
                "mean_qp": sum(q * n for q, n in qps) / frames if frames else None,
            }
        )
    return rows


def measure_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("source", help="what the grid was made from")
    parser.add_argument("grid", help="output folder of cvdecode study transcode")
    parser.add_argument("--out", help="JSON lines (default: measures.jsonl in the grid's folder)")
    parser.add_argument(
        "--flow",
        metavar="FILE",
        help="also temporal consistency by the FNet of this checkpoint of enhance-train "
        "(architecture recurrent or window), for every codec",
    )
    parser.add_argument("--lpips", action="store_true", help="needs lpips and its weights")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="clips at a time")


def measure(arguments: argparse.Namespace) -> int:
    """Compare every clip of a grid with its original: MAE, RMSE, PSNR, SSIM, consistency."""
    from cvdecode.study.survey import measure_grid

    flow, name = _flow(arguments.flow) if arguments.flow else (None, "")
    with progress() as bar:
        task = bar.add_task("measuring", total=None)
        records, failed = measure_grid(
            expand([arguments.source]),
            arguments.grid,
            arguments.out,
            perceptual=arguments.lpips,
            flow=flow,
            flow_name=name,
            jobs=arguments.jobs,
            command=command(),
            on_progress=lambda done, total: bar.update(task, completed=done, total=total),
        )
    if arguments.json:
        print(json.dumps({"records": records, "failed": failed}))
        return 1 if failed else 0
    names = ("mae", "rmse", "psnr", "ssim", "psnr_y", "tc", "tc_flow", "lpips")
    cells: dict[str, list[dict[str, Any]]] = {}
    for record in records:
        cells.setdefault(record["setting"], []).append(record)
    shown = [n for n in names if any(n in r for r in records)]
    print_table(
        "means over clips; tc: by each stream's own vectors"
        + (f"; tc_flow: by the {name}" if name else ""),
        ("setting", *(f"{n}, dB" if n in DECIBEL else n for n in shown)),
        [(name, *(_mean(rs, n) for n in shown)) for name, rs in cells.items()],
    )
    if failed:
        print_table("failed", ("clip", "setting", "why"), [why(f) for f in failed])
    return 1 if failed else 0


DECIBEL = ("psnr", "psnr_y", "tc", "tc_flow")


def _flow(checkpoint: str) -> tuple[Flow, str]:
    """The FNet of a checkpoint, and what it is called."""
    from cvdecode.recipes.fnet import load_flow
    from cvdecode.study.sources import digest_of

    found = load_flow(checkpoint)
    return found, f"FNet of {os.path.basename(checkpoint)} ({digest_of(checkpoint)[:12]})"


def _mean(records: list[dict[str, Any]], name: str) -> str:
    values = [r[name] for r in records if r.get(name) is not None]
    if not values and any(name in r for r in records):
        return "equal"  # clips without any difference: infinitely many dB
    digits = 2 if name in DECIBEL else 4
    return f"{sum(values) / len(values):.{digits}f}" if values else ""


def why(failure: dict[str, Any]) -> tuple[str, str, str]:
    return (failure["source"], failure["setting"] or "", failure["error"])


def known_models() -> dict[str, Entry]:
    """Every model that has a name; our own need torch."""
    from cvdecode.study.models import MODELS

    try:
        from cvdecode.recipes.clip_nets import NETS
    except ImportError:
        return MODELS
    return {**MODELS, **NETS}


def models_arguments(parser: argparse.ArgumentParser) -> None:
    pass


def models(arguments: argparse.Namespace) -> int:
    """List the models known by name, their clip settings, and whether we ran them."""
    rows = [
        {
            "model": name,
            "library": entry.library,
            "installed": entry.imports,
            "state": "tested" if entry.tested else "untested",
            "short_side": entry.spec.short_side,
            "crop": entry.spec.crop,
            "frames": entry.spec.frames,
            "stride": entry.spec.stride,
            "layout": entry.spec.layout,
        }
        for name, entry in known_models().items()
    ]
    if arguments.json:
        print(json.dumps(rows))
        return 0
    print_table(
        "untested: never run by us with its true library, only a stand-in; absent: not installed",
        ("model", "library", "", "side/crop", "frames", "layout"),
        [
            (
                str(r["model"]),
                str(r["library"]),
                str(r["state"]) + ("" if r["installed"] else ", absent"),
                f"{r['short_side']}/{r['crop']}",
                f"{r['frames']}x{r['stride']}",
                str(r["layout"]),
            )
            for r in rows
        ],
    )
    return 0


def evaluate_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "model",
        help="of cvdecode train or study train: a file; or a name from `cvdecode study models`, or "
        "module:function, with --weights",
    )
    parser.add_argument("grid", help="output folder of cvdecode study transcode")
    parser.add_argument("--labels", required=True, help="CSV with the columns path and label")
    parser.add_argument("--weights", help="local file or folder with the trained weights")
    parser.add_argument("--originals", help="what the grid was made from, as a cell of its own")
    parser.add_argument("--out", default="evaluation.jsonl", help="(default: %(default)s)")
    parser.add_argument("--batch", type=int, default=8, help="clips to one call (default: 8)")
    parser.add_argument("--device", default="cpu", help="(default: cpu)")
    parser.add_argument("--seed", type=int, default=0, help="written beside the results")


def _recogniser(arguments: argparse.Namespace, classes: list[str]) -> tuple[Any, str]:
    """What gives scores of these classes, and a digest of its weights."""
    from cvdecode.study.models import build
    from cvdecode.study.sources import digest_of

    name, weights, known = arguments.model, arguments.weights, known_models()
    if os.path.exists(name):
        if weights:
            raise ValueError(f"{name} is a network with its weights: --weights is for names")
        from cvdecode.recipes import saved

        return saved.recogniser(name, classes, arguments.device), digest_of(name)
    if name in known and not weights:
        raise ValueError(f"{name} needs --weights: untrained it only guesses")
    found = build(name, weights, len(classes), arguments.device, known)
    return found, digest_of(weights) if weights else ""


def evaluate(arguments: argparse.Namespace) -> int:
    """Run a trained model over every cell of a grid: accuracy beside size, QP and bits."""
    from cvdecode.study.evaluate import evaluate as work
    from cvdecode.study.evaluate import read_labels
    from cvdecode.study.manifest import load_manifest
    from cvdecode.study.records import read_lines

    names = sorted({r["source"] for r in load_manifest(arguments.grid)})
    labels, classes = read_labels(arguments.labels, names)
    model, digest = _recogniser(arguments, classes)
    with progress() as bar:
        task = bar.add_task("evaluating", total=None)
        cells = work(
            model,
            arguments.grid,
            labels,
            arguments.out,
            name=arguments.model,
            weights=digest,
            originals=expand([arguments.originals]) if arguments.originals else (),
            classes=classes,
            batch=arguments.batch,
            seed=arguments.seed,
            command=command(),
            on_progress=lambda done, total: bar.update(task, completed=done, total=total),
        )
    if arguments.json:
        print(json.dumps(cells))
        return 1 if any(c["failed"] for c in cells) else 0
    print_table(
        f"{arguments.model}; every clip in {arguments.out}",
        ("setting", "clips", "top-1", "top-5", "log loss", "size"),
        [
            (
                c["setting"],
                f"{c['clips']}" + (f" (+{c['failed']} failed)" if c["failed"] else ""),
                *(f"{100 * c[k]:.2f} %" if k in c else "" for k in ("top1", "top5")),
                f"{c['log_loss']:.4f}" if "log_loss" in c else "",
                readable(c.get("bytes", 0)),
            )
            for c in cells
        ],
    )
    why = {r["setting"]: r["error"] for r in read_lines(arguments.out) if r["kind"] == "failed"}
    if why:
        print_table("failed, one of each setting", ("setting", "why"), list(why.items()))
    return 1 if why else 0
